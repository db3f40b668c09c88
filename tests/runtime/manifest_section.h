/* A plan's manifest: the JSON and, in the library's section for it, a header before it that is sealed after the link. */
#ifndef MANIFEST_SECTION_H
#define MANIFEST_SECTION_H

#include <stdint.h>

#define MANIFEST_SECTION(json)                                                    \
  __attribute__((section(".tilewright"), used, aligned(8))) static const struct { \
    char magic[8];                                                                \
    uint32_t version, length;                                                     \
    uint64_t size;                                                                \
    uint8_t digest[32];                                                           \
    char text[sizeof(json)];                                                      \
  } MANIFEST = {{'T', 'I', 'L', 'E', 'W', 'R', 'G', 'T'}, 1, sizeof(json) - 1, 0, {0}, json}

#endif
