/* What a thread knows of the instance it works for. */
#ifndef TILEWRIGHT_THREAD_H
#define TILEWRIGHT_THREAD_H

struct tw_pool;
struct tw_workspace;

struct tw_thread {
  struct tw_pool* pool;           /* where a parallel loop goes; NULL runs it in this thread (nested loops do) */
  struct tw_workspace* workspace; /* scratch of this thread; NULL outside a run */
};

/* The default TLS model, not initial-exec: musl refuses to dlopen the latter and glibc has little room for it. */
extern _Thread_local struct tw_thread tw_thread;

#endif
