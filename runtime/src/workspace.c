#define _POSIX_C_SOURCE 200809L
#include "workspace.h"

#include <stdlib.h>

#define ALIGNMENT 64

static void* allocate(size_t bytes) {
  void* memory = NULL;
  return posix_memalign(&memory, ALIGNMENT, bytes ? bytes : ALIGNMENT) ? NULL : memory;
}

/* The smallest free block that is large enough, else the largest free one (it is replaced), else NULL. */
static struct tw_block* choose(struct tw_workspace* workspace, size_t bytes) {
  struct tw_block* best = NULL;
  for (struct tw_block* block = workspace->blocks; block < workspace->blocks + TW_BLOCKS; ++block) {
    if (block->used) continue;
    int fits = block->bytes >= bytes;
    int best_fits = best && best->bytes >= bytes;
    if (!best || (fits ? !best_fits || block->bytes < best->bytes : !best_fits && block->bytes > best->bytes)) {
      best = block;
    }
  }
  return best;
}

void* tw_workspace_take(struct tw_workspace* workspace, size_t bytes) {
  struct tw_block* block = workspace ? choose(workspace, bytes) : NULL;
  if (!block) return allocate(bytes);
  if (block->bytes < bytes || !block->memory) {
    free(block->memory);
    block->memory = allocate(bytes);
    block->bytes = block->memory ? bytes : 0;
    if (!block->memory) return NULL;
  }
  block->used = 1;
  return block->memory;
}

void tw_workspace_give(struct tw_workspace* workspace, void* memory) {
  for (int i = 0; workspace && i < TW_BLOCKS; ++i) {
    if (workspace->blocks[i].memory == memory) {
      workspace->blocks[i].used = 0;
      return;
    }
  }
  free(memory);
}

void tw_workspace_clear(struct tw_workspace* workspace) {
  for (int i = 0; i < TW_BLOCKS; ++i) free(workspace->blocks[i].memory);
}
