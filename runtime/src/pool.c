/* Every thread has a slot that holds the number of its tasks not yet taken. A launch fills the slots; a thread empties
 * its own slot and then helps with others. Taking a task is one compare-and-swap. The job (lambda, closure) is read
 * only after a task was taken, and it is rewritten only when all tasks are done, so a thread that comes late does no
 * harm: it takes a task of the job that is current, or none. Thread k taking task k keeps its share of a tensor in its
 * own cache from one kernel to the next.
 *
 * Waiting is spinning for SPIN_NANOSECONDS, then sleeping on a futex; with fewer processors than threads, sleeping at
 * once. A sleeper first says so and then looks again, a waker first writes and then asks who sleeps; a full fence
 * between the two on both sides makes one of them see the other.
 *
 * After fork the child has no workers. Its caller takes every task itself, so runs stay correct, on one thread.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "futex.h"
#include "thread.h"
#include "workspace.h"

#define SPIN_NANOSECONDS 100000
#define SPINS_PER_LOOK_AT_THE_CLOCK 32

struct slot {
  _Alignas(TW_CACHE_LINE) _Atomic uint32_t ready; /* tasks not yet taken: task s + (ready - 1) * count is next */
  _Atomic uint32_t asleep;
};

struct worker {
  pthread_t thread;
  struct tw_pool* pool;
  int32_t index;
};

struct tw_pool {
  _Alignas(TW_CACHE_LINE) tw_task task; /* the job: constant while a task of it is unfinished */
  void* closure;
  struct tw_group group;
  int32_t count;
  int64_t spin;
  pid_t pid;
  int32_t started;
  struct slot* slots;
  struct tw_workspace* workspaces;
  struct worker* workers;
  _Alignas(TW_CACHE_LINE) _Atomic uint32_t unfinished;
  _Atomic uint32_t caller_asleep;
  _Atomic int failure;
  _Alignas(TW_CACHE_LINE) _Atomic uint32_t sleepers;
  _Atomic uint32_t stop;
};

_Thread_local struct tw_thread tw_thread;

int32_t tw_processors(void) {
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 4) {
    cpu_set_t* mask = CPU_ALLOC(capacity);
    size_t bytes = CPU_ALLOC_SIZE(capacity);
    if (!mask) break;
    int count = sched_getaffinity(0, bytes, mask) ? 0 : CPU_COUNT_S(bytes, mask);
    CPU_FREE(mask);
    if (count > 0) return count;
  }
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int32_t)online : 1;
}

static inline void pause_processor(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#endif
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Spin until `(*word != 0) == wanted`; return 0 when the time is up first. */
static int spin_until(_Atomic uint32_t* word, int wanted, int64_t nanoseconds) {
  int64_t deadline = 0;
  for (;;) {
    for (int i = 0; i < SPINS_PER_LOOK_AT_THE_CLOCK; ++i) {
      if ((atomic_load_explicit(word, memory_order_acquire) != 0) == wanted) return 1;
      if (!nanoseconds) return 0;
      pause_processor();
    }
    int64_t time = now();
    if (!deadline) deadline = time + nanoseconds;
    if (time >= deadline) return 0;
  }
}

/* Take one task out of a slot; return its number or -1. */
static int take_from(struct tw_pool* pool, int32_t index) {
  struct slot* slot = &pool->slots[index];
  uint32_t ready = atomic_load_explicit(&slot->ready, memory_order_relaxed);
  while (ready) {
    if (atomic_compare_exchange_weak_explicit(&slot->ready, &ready, ready - 1, memory_order_acquire,
                                              memory_order_relaxed)) {
      return (int)(index + (int32_t)(ready - 1) * pool->count);
    }
  }
  return -1;
}

/* Take a task of this thread, else one of the next thread that has any. */
static int take(struct tw_pool* pool, int32_t self) {
  for (int32_t i = 0; i < pool->count; ++i) {
    int32_t index = self + i < pool->count ? self + i : self + i - pool->count;
    int task = take_from(pool, index);
    if (task >= 0) return task;
  }
  return -1;
}

static void work(struct tw_pool* pool, int32_t self) {
  for (int task = take(pool, self); task >= 0; task = take(pool, self)) {
    int failure = pool->task(task, &pool->group, pool->closure);
    if (failure) atomic_store_explicit(&pool->failure, failure, memory_order_relaxed);
    if (atomic_fetch_sub(&pool->unfinished, 1) == 1 && atomic_load(&pool->caller_asleep)) {
      tw_futex_wake(&pool->unfinished);
    }
  }
}

static void sleep_in(struct tw_pool* pool, struct slot* slot) {
  atomic_store(&slot->asleep, 1);
  atomic_fetch_add(&pool->sleepers, 1);
  atomic_thread_fence(memory_order_seq_cst);
  while (!atomic_load(&slot->ready) && !atomic_load(&pool->stop) && atomic_load(&slot->asleep)) {
    tw_futex_wait(&slot->asleep, 1);
  }
  atomic_fetch_sub(&pool->sleepers, 1);
  atomic_store(&slot->asleep, 0);
}

static void wake(struct slot* slot) {
  if (atomic_load(&slot->asleep) && atomic_exchange(&slot->asleep, 0)) tw_futex_wake(&slot->asleep);
}

static void* worker_main(void* argument) {
  struct worker* worker = argument;
  struct tw_pool* pool = worker->pool;
  struct slot* slot = &pool->slots[worker->index];
  tw_thread.workspace = &pool->workspaces[worker->index];
  while (!atomic_load_explicit(&pool->stop, memory_order_acquire)) {
    if (spin_until(&slot->ready, 1, pool->spin)) {
      work(pool, worker->index);
    } else {
      sleep_in(pool, slot);
    }
  }
  return NULL;
}

static void fill_slots(struct tw_pool* pool, int32_t tasks) {
  int32_t count = pool->count;
  for (int32_t i = 0; i < count && i < tasks; ++i) {
    uint32_t share = (uint32_t)((tasks - i + count - 1) / count);
    atomic_store_explicit(&pool->slots[i].ready, share, memory_order_release);
  }
  atomic_thread_fence(memory_order_seq_cst);
  if (!atomic_load_explicit(&pool->sleepers, memory_order_relaxed)) return;
  for (int32_t i = 1; i < count && i < tasks; ++i) wake(&pool->slots[i]);
}

static void wait_for_all(struct tw_pool* pool) {
  if (spin_until(&pool->unfinished, 0, pool->spin)) return;
  atomic_store(&pool->caller_asleep, 1);
  for (uint32_t left; (left = atomic_load(&pool->unfinished)) != 0;) tw_futex_wait(&pool->unfinished, left);
  atomic_store(&pool->caller_asleep, 0);
}

static int launch_here(tw_task task, void* closure, int num_task) {
  struct tw_group group = {NULL, num_task ? num_task : 1};
  for (int i = 0; i < group.num_task; ++i) {
    int failure = task(i, &group, closure);
    if (failure) return failure;
  }
  return 0;
}

int tw_parallel_launch(tw_task task, void* closure, int num_task) {
  struct tw_pool* pool = tw_thread.pool;
  if (!pool || pool->count == 1 || num_task == 1) return launch_here(task, closure, num_task);
  pool->task = task;
  pool->closure = closure;
  pool->group = (struct tw_group){NULL, num_task ? num_task : pool->count};
  atomic_store_explicit(&pool->failure, 0, memory_order_relaxed);
  atomic_store_explicit(&pool->unfinished, (uint32_t)pool->group.num_task, memory_order_relaxed);
  fill_slots(pool, pool->group.num_task);
  tw_thread.pool = NULL;
  work(pool, 0);
  tw_thread.pool = pool;
  wait_for_all(pool);
  return atomic_load_explicit(&pool->failure, memory_order_relaxed);
}

void tw_pool_enter(struct tw_pool* pool) {
  tw_thread.pool = pool->pid == getpid() ? pool : NULL;
  tw_thread.workspace = &pool->workspaces[0];
}

void tw_pool_leave(void) { tw_thread = (struct tw_thread){NULL, NULL}; }

/* Start the workers with all signals blocked: the program's handlers run in the program's threads. */
static int start_workers(struct tw_pool* pool) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = 0;
  for (int32_t i = 1; i < pool->count && !failed; ++i) {
    pool->workers[i] = (struct worker){.pool = pool, .index = i};
    failed = pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]);
    if (!failed) pool->started = i;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed;
}

static void* allocate_zeros(size_t bytes) {
  void* memory = NULL;
  if (posix_memalign(&memory, TW_CACHE_LINE, bytes)) return NULL;
  return memset(memory, 0, bytes);
}

struct tw_pool* tw_pool_create(int32_t count) {
  struct tw_pool* pool = allocate_zeros(sizeof *pool);
  if (!pool) return NULL;
  pool->count = count;
  pool->pid = getpid();
  pool->spin = count <= tw_processors() ? SPIN_NANOSECONDS : 0;
  pool->slots = allocate_zeros((size_t)count * sizeof *pool->slots);
  pool->workspaces = allocate_zeros((size_t)count * sizeof *pool->workspaces);
  pool->workers = allocate_zeros((size_t)count * sizeof *pool->workers);
  if (!pool->slots || !pool->workspaces || !pool->workers || start_workers(pool)) {
    tw_pool_free(pool);
    return NULL;
  }
  return pool;
}

static void stop_workers(struct tw_pool* pool) {
  atomic_store(&pool->stop, 1);
  for (int32_t i = 1; i <= pool->started; ++i) wake(&pool->slots[i]);
  for (int32_t i = 1; i <= pool->started; ++i) pthread_join(pool->workers[i].thread, NULL);
}

void tw_pool_free(struct tw_pool* pool) {
  if (!pool) return;
  if (pool->pid == getpid()) stop_workers(pool);
  for (int32_t i = 0; pool->workspaces && i < pool->count; ++i) tw_workspace_clear(&pool->workspaces[i]);
  free(pool->workers);
  free(pool->workspaces);
  free(pool->slots);
  free(pool);
}
