/* The latency of one library in a loop of C, a fresh row (or batch of rows) for every call.
 *
 *   trees LIBRARY ROWS.f32 SECONDS  ->  {"calls": ..., "min_seconds": ..., "median_seconds": ...}
 *
 * ROWS.f32 holds the rows; each call reads the next ones. A round is a pass over the file; its time over its calls is
 * one sample, so that neither the clock nor a cached row counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tilewright.h"

#define MOST_ROUNDS 100000

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void die(const char* what) {
  fprintf(stderr, "trees: %s\n", what ? what : "unknown failure");
  exit(1);
}

static void* find(void* library, const char* name) {
  void* address = dlsym(library, name);
  if (!address) die(dlerror());
  return address;
}

int main(int argc, char** argv) {
  if (argc != 4) die("usage: trees LIBRARY ROWS.f32 SECONDS");
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) die(dlerror());
  const tilewright_model* (*info)(void);
  int32_t (*create)(int32_t, void*, tilewright_instance**);
  int32_t (*run)(tilewright_instance*, const void* const*, void* const*);
  *(void**)&info = find(library, "tilewright_info");
  *(void**)&create = find(library, "tilewright_create");
  *(void**)&run = find(library, "tilewright_run");
  tilewright_instance* instance;
  if (create(1, NULL, &instance)) die("cannot create an instance");
  size_t bytes = info()->inputs[0].bytes;
  FILE* file = fopen(argv[2], "rb");
  if (!file || fseek(file, 0, SEEK_END)) die("cannot read the rows");
  size_t calls = (size_t)ftell(file) / bytes;
  rewind(file);
  char* rows = malloc(calls * bytes + 1);
  void* output = malloc(info()->outputs[0].bytes);
  if (!calls || !rows || !output || fread(rows, bytes, calls, file) != calls) die("cannot read the rows");
  fclose(file);
  static double samples[MOST_ROUNDS];
  int rounds = 0;
  double end = now() + atof(argv[3]);
  while (rounds < MOST_ROUNDS && (rounds < 3 || now() < end)) {
    double start = now();
    for (size_t i = 0; i < calls; ++i) {
      const void* input = rows + i * bytes;
      if (run(instance, &input, &output)) die("a run failed");
    }
    samples[rounds++] = (now() - start) / (double)calls;
  }
  qsort(samples, (size_t)rounds, sizeof *samples, ascending);
  printf("{\"calls\": %zu, \"min_seconds\": %.9g, \"median_seconds\": %.9g}\n", calls * (size_t)rounds, samples[0],
         samples[rounds / 2]);
  return 0;
}
