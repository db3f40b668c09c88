/* Exercises the thread pool and the scratch cache directly; prints nothing and returns 0 when all is well. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"
#include "thread.h"
#include "workspace.h"

#define CHECK(condition)                                                    \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); \
      exit(1);                                                              \
    }                                                                       \
  } while (0)

#define MOST 200

struct job {
  _Atomic int runs[MOST];
  int tasks;
  int nested;
};

static int count_nested(int task, struct tw_group* group, void* closure) {
  (void)task;
  CHECK(group->num_task == 3 || group->num_task == 1);
  ++*(int*)closure; /* in one thread: no lock */
  return 0;
}

static int count(int task, struct tw_group* group, void* closure) {
  struct job* job = closure;
  CHECK(group->num_task == job->tasks);
  CHECK(task >= 0 && task < job->tasks);
  atomic_fetch_add(&job->runs[task], 1);
  if (job->nested) {
    int here = 0;
    CHECK(tw_parallel_launch(count_nested, &here, 3) == 0 && here == 3);
    CHECK(tw_parallel_launch(count_nested, &here, 0) == 0 && here == 4);
  }
  return 0;
}

static void launch(int num_task, int tasks, int nested) {
  static struct job job;
  memset(&job, 0, sizeof job);
  job.tasks = tasks;
  job.nested = nested;
  CHECK(tw_parallel_launch(count, &job, num_task) == 0);
  for (int i = 0; i < tasks; ++i) CHECK(atomic_load(&job.runs[i]) == 1);
}

static void test_every_task_runs_once(int threads) {
  struct tw_pool* pool = tw_pool_create(threads);
  CHECK(pool);
  tw_pool_enter(pool);
  for (int round = 0; round < 400; ++round) {
    launch(0, threads, round % 3 == 0);
    launch(1 + round % MOST, 1 + round % MOST, 0);
    if (round % 100 == 50) usleep(1000); /* long enough for the workers to fall asleep */
  }
  tw_pool_leave();
  launch(0, 1, 1); /* outside a run: in this thread */
  tw_pool_free(pool);
}

static int fail_in_one(int task, struct tw_group* group, void* closure) {
  (void)group, (void)closure;
  return task == 2 ? -7 : 0;
}

static void test_a_failure_comes_back(void) {
  for (int threads = 1; threads <= 4; ++threads) {
    struct tw_pool* pool = tw_pool_create(threads);
    tw_pool_enter(pool);
    CHECK(tw_parallel_launch(fail_in_one, NULL, 5) == -7);
    launch(0, threads, 0);
    tw_pool_leave();
    tw_pool_free(pool);
  }
}

/* More workers than launches, created and stopped while some of them spin, sleep or have not started. */
static void test_stopping_at_any_time(void) {
  for (int round = 0; round < 60; ++round) {
    struct tw_pool* pool = tw_pool_create(1 + round % 9);
    tw_pool_enter(pool);
    for (int i = 0; i < round % 4; ++i) launch(0, 1 + round % 9, 0);
    tw_pool_leave();
    if (round % 5 == 0) usleep(300);
    tw_pool_free(pool);
  }
}

static double processor_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6 + (double)usage.ru_stime.tv_sec +
         (double)usage.ru_stime.tv_usec * 1e-6;
}

static int sleep_in_last(int task, struct tw_group* group, void* closure) {
  (void)closure;
  if (task == group->num_task - 1) usleep(200000);
  return 0;
}

static void test_nobody_burns_while_waiting(void) {
  struct tw_pool* pool = tw_pool_create(4);
  tw_pool_enter(pool);
  launch(0, 4, 0);
  double before = processor_seconds();
  usleep(200000);                             /* idle workers */
  tw_parallel_launch(sleep_in_last, NULL, 0); /* a caller (or worker) that waits for a slow one */
  CHECK(processor_seconds() - before < 0.05);
  tw_pool_leave();
  tw_pool_free(pool);
}

static int take_and_give(int task, struct tw_group* group, void* closure) {
  (void)group, (void)closure;
  void* large = tw_workspace_take(tw_thread.workspace, 100000);
  void* small = tw_workspace_take(tw_thread.workspace, 1000 + (size_t)task);
  CHECK(large && small && (uintptr_t)large % 64 == 0 && (uintptr_t)small % 64 == 0);
  memset(large, task, 100000);
  memset(small, task + 1, 1000 + (size_t)task);
  CHECK(*(char*)large == (char)task && *(char*)small == (char)(task + 1));
  tw_workspace_give(tw_thread.workspace, small);
  tw_workspace_give(tw_thread.workspace, large);
  return 0;
}

static _Atomic long allocations;

int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  *memory = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  return *memory ? 0 : 12;
}

static void test_scratch_is_kept(void) {
  atomic_store(&allocations, 0);
  struct tw_pool* pool = tw_pool_create(3);
  tw_pool_enter(pool);
  for (int i = 0; i < 200; ++i) tw_parallel_launch(take_and_give, NULL, 24);
  long before = atomic_load(&allocations);
  tw_pool_leave();
  /* Each thread has at most one large block, and a small one that grew at most once for each task. */
  CHECK(before < 3 * (2 + 24) + 8);
  tw_pool_enter(pool);
  for (int i = 0; i < 200; ++i) CHECK(take_and_give(23, NULL, NULL) == 0);
  CHECK(atomic_load(&allocations) <= before + 2);
  tw_pool_leave();
  tw_pool_free(pool);
}

static void test_more_blocks_than_are_kept(void) {
  static struct tw_workspace workspace;
  void* taken[TW_BLOCKS + 3];
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < TW_BLOCKS + 3; ++i) {
      CHECK((taken[i] = tw_workspace_take(&workspace, 64u << i)));
      memset(taken[i], i, 64u << i);
    }
    for (int i = 0; i < TW_BLOCKS + 3; ++i) {
      CHECK(((char*)taken[i])[(64u << i) - 1] == i);
      tw_workspace_give(&workspace, taken[i]);
    }
  }
  CHECK((taken[0] = tw_workspace_take(NULL, 10)));
  tw_workspace_give(NULL, taken[0]);
  tw_workspace_clear(&workspace);
}

static void test_after_fork_the_child_works_alone(void) {
  struct tw_pool* pool = tw_pool_create(4);
  tw_pool_enter(pool);
  launch(0, 4, 0);
  tw_pool_leave();
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    tw_pool_enter(pool);
    launch(0, 1, 0);
    launch(9, 9, 0);
    tw_pool_leave();
    tw_pool_free(pool);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  tw_pool_enter(pool);
  launch(0, 4, 0);
  tw_pool_leave();
  tw_pool_free(pool);
}

static void test_the_affinity_mask_counts(void) {
  cpu_set_t before, one;
  CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(tw_processors() == CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &before)) {
      CPU_SET(i, &one);
      break;
    }
  }
  CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(tw_processors() == 1);
  test_every_task_runs_once(6); /* six threads on one processor: nobody may spin for another */
  CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
}

int main(void) {
  for (int threads = 1; threads <= 9; threads += 2) test_every_task_runs_once(threads);
  test_a_failure_comes_back();
  test_stopping_at_any_time();
  test_nobody_burns_while_waiting();
  test_scratch_is_kept();
  test_more_blocks_than_are_kept();
  test_after_fork_the_child_works_alone();
  test_the_affinity_mask_counts();
  return 0;
}
