/* What kernels call. Every kernel object has a weak definition of these pointers, null; ours are strong and win. */
#include <stdint.h>

#include "pool.h"
#include "thread.h"
#include "workspace.h"

static void* take_workspace(int device_type, int device_id, uint64_t bytes, int type_code, int type_bits) {
  (void)device_type, (void)device_id, (void)type_code, (void)type_bits;
  return bytes <= SIZE_MAX ? tw_workspace_take(tw_thread.workspace, (size_t)bytes) : (void*)0;
}

static int give_workspace(int device_type, int device_id, void* memory) {
  (void)device_type, (void)device_id;
  tw_workspace_give(tw_thread.workspace, memory);
  return 0;
}

int (*__TVMBackendParallelLaunch)(tw_task, void*, int) = tw_parallel_launch;
void* (*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = take_workspace;
int (*__TVMBackendFreeWorkspace)(int, int, void*) = give_workspace;
