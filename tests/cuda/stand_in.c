/* A stand-in for NVIDIA's driver library: it runs the program's own text, compiled as C++ for this CPU, thread by thread.
 * The shipped host layer opens it as if it were the real one. Streams are in order at once, except while recording.
 * The threads of a kernel with barriers have stacks of their own and take turns, from barrier to barrier. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define MOST_ARGUMENTS 24
#define EM_CUDA 190
#define MOST_THREADS 1024
#define STACK 32768
#define FAILS(what) (getenv("STAND_IN_FAILS") && !strcmp(getenv("STAND_IN_FAILS"), what))

typedef struct {
  int x, y, z;
} dim3;
typedef struct node {
  struct node* next;
  void (*kernel)(void*, ...);
  unsigned grid[3], block[3];
  int waits;
  void* arguments[MOST_ARGUMENTS];
  void *to, *from;
  size_t bytes;
} node;
typedef struct {
  void (*kernel)(void*, ...);
  int arity, waits;
} function;

static void* kernels;
static dim3 *block_index, *thread_index;
static int recording;
static node *first, *last;

static void call(const node* n) {
  void* const* a = n->arguments;
  n->kernel(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16],
            a[17], a[18], a[19], a[20], a[21], a[22], a[23]);
}

static void at_place(dim3* index, const unsigned* size, unsigned n) {
  *index = (dim3){(int)(n % size[0]), (int)(n / size[0] % size[1]), (int)(n / size[0] / size[1])};
}

static ucontext_t scheduler, threads[MOST_THREADS];
static unsigned running, finished;
static int ended[MOST_THREADS];
static const node* started;
static char* stacks;

static void barrier(void) {
  unsigned self = running;
  swapcontext(&threads[self], &scheduler);
}

static void thread_begins(void) {
  call(started);
  ended[running] = 1;
  ++finished;
}

/* Every turn runs all threads to their next barrier, every other turn backwards, so that a missing one shows. */
static void run_together(const node* n) {
  unsigned count = n->block[0] * n->block[1] * n->block[2];
  if (!stacks) stacks = malloc((size_t)MOST_THREADS * STACK);
  started = n;
  finished = 0;
  for (unsigned t = 0; t < count; ++t) {
    ended[t] = 0;
    getcontext(&threads[t]);
    threads[t].uc_stack.ss_sp = stacks + (size_t)t * STACK;
    threads[t].uc_stack.ss_size = STACK;
    threads[t].uc_link = &scheduler;
    makecontext(&threads[t], thread_begins, 0);
  }
  for (unsigned turn = 0; finished < count; ++turn) {
    unsigned before = finished;
    for (unsigned i = 0; i < count; ++i) {
      running = turn % 2 ? count - 1 - i : i;
      if (ended[running]) continue;
      at_place(thread_index, n->block, running);
      swapcontext(&scheduler, &threads[running]);
    }
    if (finished != before && finished != count) abort(); /* some threads wait for others that are gone */
  }
}

static void run(const node* n) {
  if (!n->kernel) {
    memcpy(n->to, n->from, n->bytes);
    return;
  }
  for (unsigned b = 0; b < n->grid[0] * n->grid[1] * n->grid[2]; ++b) {
    at_place(block_index, n->grid, b);
    if (n->waits) {
      run_together(n);
      continue;
    }
    for (unsigned t = 0; t < n->block[0] * n->block[1] * n->block[2]; ++t) {
      at_place(thread_index, n->block, t);
      call(n);
    }
  }
}

static void add(const node* n) {
  if (!recording) {
    run(n);
    return;
  }
  node* kept = malloc(sizeof *kept);
  *kept = *n;
  kept->next = NULL;
  *(first ? &last->next : &first) = kept;
  last = kept;
}

int cuInit(unsigned flags) { return flags || FAILS("cuInit") ? 100 : 0; }
int cuDeviceGetCount(int* count) { return *count = !FAILS("cuDeviceGetCount"), 0; }
int cuDeviceGet(int* device, int number) { return *device = number, 0; }
int cuDeviceGetName(char* name, int size, int device) { return (void)device, snprintf(name, (size_t)size, "stand-in"), 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) { return (void)device, *context = &kernels, 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, 0; }
int cuCtxPushCurrent_v2(void* context) { return (void)context, 0; }
int cuCtxPopCurrent_v2(void** context) { return *context = &kernels, 0; }
int cuModuleLoadData(void** module, const void* image) {
  const uint8_t* bytes = image;
  if (memcmp(bytes, "\x7f" "ELF", 4) || bytes[18] != EM_CUDA || FAILS("cuModuleLoadData")) return 209;
  if (!(kernels = dlopen(getenv("STAND_IN_KERNELS"), RTLD_NOW | RTLD_LOCAL))) return 200;
  block_index = dlsym(kernels, "blockIdx");
  thread_index = dlsym(kernels, "threadIdx");
  void (**waiting)(void) = dlsym(kernels, "tw_barrier");
  *waiting = barrier;
  return *module = kernels, 0;
}
int cuModuleUnload(void* module) { return dlclose(module); }
int cuModuleGetFunction(void** made, void* module, const char* name) {
  char arity[512]; /* the name of what is known of the function */
  snprintf(arity, sizeof arity, "%s_arity", name);
  function* f = malloc(sizeof *f);
  void* kernel = dlsym(module, name);
  memcpy(&f->kernel, &kernel, sizeof kernel);
  const int* count = dlsym(module, arity);
  snprintf(arity, sizeof arity, "%s_waits", name);
  const int* waits = dlsym(module, arity);
  if (!kernel || !count || !waits || *count > MOST_ARGUMENTS) return 500;
  f->arity = *count;
  f->waits = *waits;
  return *made = f, 0;
}
int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  void* memory = FAILS("cuMemAlloc") || posix_memalign(&memory, 512, bytes) ? NULL : memory;
  if (!memory) return 2;
  memset(memory, 0xff, bytes); /* not a number */
  return *address = (uint64_t)(uintptr_t)memory, 0;
}
int cuMemFree_v2(uint64_t address) { return free((void*)(uintptr_t)address), 0; }
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) { return memcpy((void*)(uintptr_t)to, from, bytes), 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
  return (void)stream, recording ? 900 : cuMemcpyHtoD_v2(to, from, bytes);
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
  return (void)stream, recording ? 900 : (memcpy(to, (void*)(uintptr_t)from, bytes), 0);
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  node n = {.to = (void*)(uintptr_t)to, .from = (void*)(uintptr_t)from, .bytes = bytes};
  return (void)stream, add(&n), 0;
}
int cuStreamCreate(void** stream, unsigned flags) { return (void)flags, *stream = &first, 0; }
int cuStreamDestroy_v2(void* stream) { return (void)stream, 0; }
int cuStreamSynchronize(void* stream) { return (void)stream, FAILS("cuStreamSynchronize") ? 700 : 0; }
int cuStreamBeginCapture_v2(void* stream, int mode) { return (void)stream, (void)mode, first = NULL, recording = 1, 0; }
int cuStreamEndCapture(void* stream, void** graph) { return (void)stream, recording = 0, *graph = first, 0; }
int cuGraphInstantiateWithFlags(void** made, void* graph, unsigned long long flags) {
  return (void)flags, *made = graph, FAILS("cuGraphInstantiateWithFlags") ? 801 : 0;
}
int cuGraphLaunch(void* graph, void* stream) {
  (void)stream;
  for (const node* n = graph; n; n = n->next) run(n);
  return 0;
}
int cuGraphExecDestroy(void* graph) { return (void)graph, 0; }
int cuGraphDestroy(void* graph) {
  for (node* n = graph; n;) {
    node* next = n->next;
    free(n);
    n = next;
  }
  return 0;
}
int cuLaunchKernel(void* made, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void* stream, void** arguments, void** extra) {
  const function* f = made;
  if (shared || extra || (uint64_t)bx * by * bz > 1024 || !gx || !gy || !gz) return 1;
  node n = {.kernel = f->kernel, .grid = {gx, gy, gz}, .block = {bx, by, bz}, .waits = f->waits};
  for (int i = 0; i < f->arity; ++i) n.arguments[i] = *(void**)arguments[i];
  return (void)stream, add(&n), 0;
}
