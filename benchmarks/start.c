/* How long a C program waits for a library, and the memory it takes.
 *
 *   start LIBRARY  ->  {"open_seconds": ..., "first_run_seconds": ..., "peak_bytes": ..., ...}
 *
 * The file is read once before the clock starts, so that dlopen finds it in the page cache: what is timed is dlopen and
 * tilewright_create, not the disk. Then the model runs once on zeros, and the peak of the resident set is read.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tilewright.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char* what) {
  fprintf(stderr, "start: %s\n", what ? what : "unknown failure");
  exit(1);
}

static void read_whole_file(const char* path) {
  static char block[1 << 16];
  FILE* file = fopen(path, "rb");
  if (!file) die("cannot read the library");
  while (fread(block, 1, sizeof block, file) > 0) {
  }
  fclose(file);
}

/* The value of a line of /proc/self/status, in bytes. */
static long status_bytes(const char* key) {
  char line[256];
  long kilobytes = -1;
  FILE* file = fopen("/proc/self/status", "r");
  if (!file) die("cannot read the status of the process");
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, key, strlen(key))) kilobytes = strtol(line + strlen(key) + 1, NULL, 10);
  fclose(file);
  return kilobytes * 1024;
}

static void** buffers(const tilewright_tensor* tensors, int32_t count) {
  void** made = calloc((size_t)count + 1, sizeof *made);
  for (int32_t i = 0; made && i < count; ++i) {
    made[i] = calloc(1, tensors[i].bytes ? tensors[i].bytes : 1);
    if (!made[i]) die("out of memory");
  }
  if (!made) die("out of memory");
  return made;
}

int main(int argc, char** argv) {
  if (argc != 2) die("usage: start LIBRARY");
  read_whole_file(argv[1]);
  const long before = status_bytes("VmHWM");

  const double start = now();
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) die(dlerror());
  __typeof__(&tilewright_info) info;
  __typeof__(&tilewright_create) create;
  __typeof__(&tilewright_run) run;
  __typeof__(&tilewright_error) error;
  __typeof__(&tilewright_free) release;
  *(void**)&info = dlsym(library, "tilewright_info");
  *(void**)&create = dlsym(library, "tilewright_create");
  *(void**)&run = dlsym(library, "tilewright_run");
  *(void**)&error = dlsym(library, "tilewright_error");
  *(void**)&release = dlsym(library, "tilewright_free");
  if (!info || !create || !run || !error || !release) die("a function is missing");
  tilewright_instance* instance;
  if (create(1, NULL, &instance) != TILEWRIGHT_OK) die(error(NULL));
  const double opened = now() - start;

  const tilewright_model* model = info();
  void** inputs = buffers(model->inputs, model->num_inputs);
  void** outputs = buffers(model->outputs, model->num_outputs);
  const double run_start = now();
  if (run(instance, (const void* const*)inputs, outputs) != TILEWRIGHT_OK) die(error(instance));
  const double first = now() - run_start;
  if (run(instance, (const void* const*)inputs, outputs) != TILEWRIGHT_OK) die(error(instance));

  printf("{\"open_seconds\": %.9f, \"first_run_seconds\": %.9f, \"peak_bytes\": %ld, \"bytes_before\": %ld, "
         "\"weight_bytes\": %llu, \"arena_bytes\": %llu}\n",
         opened, first, status_bytes("VmHWM"), before, (unsigned long long)model->weight_bytes,
         (unsigned long long)model->arena_bytes);
  release(instance);
  return 0;
}
