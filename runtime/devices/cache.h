/* Files that a driver may read instead of doing work again. */
#ifndef TILEWRIGHT_CACHE_H
#define TILEWRIGHT_CACHE_H

#include <stddef.h>
#include <stdint.h>

/* A number that differs, as far as 64 bits can, where any of the texts (NULL at the end) or the data differ. */
uint64_t tw_cache_key(const char* const* texts, const uint8_t* data, uint64_t bytes);

/* Return what was stored under a key, to be freed, and its size; NULL when there is nothing whole. */
uint8_t* tw_cache_load(uint64_t key, size_t* bytes);

/* Store data under a key; whatever fails leaves the cache as it was. */
void tw_cache_store(uint64_t key, const uint8_t* data, size_t bytes);

#endif
