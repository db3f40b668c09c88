/* Scratch that a kernel allocates inside a parallel loop: one set of blocks for each thread, kept between runs. */
#ifndef TILEWRIGHT_WORKSPACE_H
#define TILEWRIGHT_WORKSPACE_H

#include <stddef.h>

#define TW_CACHE_LINE 128 /* two lines of 64 bytes: x86 fetches them in pairs */
#define TW_BLOCKS 6

struct tw_block {
  void* memory;
  size_t bytes;
  int used;
};

struct tw_workspace {
  _Alignas(TW_CACHE_LINE) struct tw_block blocks[TW_BLOCKS];
};

/* Return memory aligned to 64 bytes, NULL when there is none. workspace may be NULL. */
void* tw_workspace_take(struct tw_workspace* workspace, size_t bytes);

/* Give back what tw_workspace_take returned. */
void tw_workspace_give(struct tw_workspace* workspace, void* memory);

/* Release all blocks. */
void tw_workspace_clear(struct tw_workspace* workspace);

#endif
