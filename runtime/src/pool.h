/* A pool of threads for one instance: the caller and count - 1 workers. */
#ifndef TILEWRIGHT_POOL_H
#define TILEWRIGHT_POOL_H

#include <stdint.h>

/* The interface of a kernel's parallel loops, as LLVM objects made by TVM call it. */
struct tw_group {
  void* sync_handle;
  int32_t num_task;
};
typedef int (*tw_task)(int task_id, struct tw_group* group, void* closure);

struct tw_pool;

/* How many processors the calling thread may run on. */
int32_t tw_processors(void);

/* Make a pool of count threads, 1 at least, the caller's included; NULL when memory or threads run out. */
struct tw_pool* tw_pool_create(int32_t count);

/* Stop the workers and release everything; NULL is allowed. */
void tw_pool_free(struct tw_pool* pool);

/* Make the calling thread the pool's caller, until tw_pool_leave. */
void tw_pool_enter(struct tw_pool* pool);
void tw_pool_leave(void);

/* Run task(0..num_task-1), num_task 0 meaning one for each thread; return 0 or what a failing task returned. */
int tw_parallel_launch(tw_task task, void* closure, int num_task);

#endif
