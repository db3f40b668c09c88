/* Load a compiled model at run time, run it and print its outputs.
 *
 *   run_model [-t THREADS] [-r REPEAT] [-o PREFIX] LIBRARY [INPUT.bin ...]
 *
 * An INPUT.bin holds the raw elements of one input, in the model's order; without files the inputs are filled with a
 * pattern. -o writes the raw elements of output i to PREFIX<i>.bin.
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tensors.h"
#include "tilewright.h"

/* The functions of the library that this program uses. */
struct api {
  const tilewright_model* (*info)(void);
  int32_t (*create)(int32_t num_threads, void* arena, tilewright_instance** instance);
  int32_t (*run)(tilewright_instance* instance, const void* const* inputs, void* const* outputs);
  const char* (*error)(const tilewright_instance* instance);
  void (*free)(tilewright_instance* instance);
};

struct options {
  const char* library;
  const char* prefix; /* of output files, or NULL */
  char** files;       /* one for each input, or none */
  int num_files;
  int threads;
  int repeat;
};

/* Write the address of a function through a pointer to void*: ISO C converts no object pointer to a function. */
static int find(void* library, const char* name, void* function) {
  void* address = dlsym(library, name);
  memcpy(function, &address, sizeof address);
  if (!address) fprintf(stderr, "not a library made by Tilewright: it has no %s\n", name);
  return !address;
}

static int find_all(void* library, struct api* api) {
  return find(library, "tilewright_info", &api->info) || find(library, "tilewright_create", &api->create) ||
         find(library, "tilewright_run", &api->run) || find(library, "tilewright_error", &api->error) ||
         find(library, "tilewright_free", &api->free);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int prepare_inputs(const tilewright_model* model, const struct options* options, void** inputs) {
  if (options->num_files && options->num_files != model->num_inputs) {
    fprintf(stderr, "the model has %" PRId32 " inputs and %d files are given\n", model->num_inputs, options->num_files);
    return 1;
  }
  for (int32_t i = 0; i < model->num_inputs; ++i) {
    if (!options->num_files) {
      tensor_fill(&model->inputs[i], inputs[i]);
    } else if (tensor_read(&model->inputs[i], inputs[i], options->files[i])) {
      return 1;
    }
  }
  return 0;
}

static int report_outputs(const tilewright_model* model, const struct options* options, void** outputs) {
  int failed = 0;
  for (int32_t i = 0; i < model->num_outputs; ++i) {
    char path[4096];
    tensor_print(&model->outputs[i], outputs[i]);
    if (options->prefix) {
      snprintf(path, sizeof path, "%s%" PRId32 ".bin", options->prefix, i);
      failed |= tensor_write(&model->outputs[i], outputs[i], path);
    }
  }
  return failed;
}

static int run(const struct api* api, const struct options* options, tilewright_instance* instance) {
  const tilewright_model* model = api->info();
  void** inputs = tensors_allocate(model->inputs, model->num_inputs);
  void** outputs = tensors_allocate(model->outputs, model->num_outputs);
  int failed = prepare_inputs(model, options, inputs);
  double best = 1e30;
  for (int i = 0; i < options->repeat && !failed; ++i) {
    const double start = now();
    failed = api->run(instance, (const void* const*)inputs, outputs) != TILEWRIGHT_OK;
    const double seconds = now() - start;
    if (seconds < best) best = seconds;
    if (failed) fprintf(stderr, "%s\n", api->error(instance));
  }
  if (!failed) {
    failed = report_outputs(model, options, outputs);
    printf("%s for %s: %.3f ms (best of %d)\n", model->name, model->target, 1e3 * best, options->repeat);
  }
  tensors_free(outputs, model->num_outputs);
  tensors_free(inputs, model->num_inputs);
  return failed;
}

static int load_and_run(const struct options* options) {
  struct api api;
  tilewright_instance* instance;
  void* library = dlopen(options->library, RTLD_NOW | RTLD_LOCAL);
  int failed = 1;
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  if (find_all(library, &api)) {
    fprintf(stderr, "%s cannot be used\n", options->library);
  } else if (api.info()->abi_version != TILEWRIGHT_ABI_VERSION) {
    fprintf(stderr, "%s has version %" PRIu32 " of the interface, this program has %u\n", options->library,
            api.info()->abi_version, TILEWRIGHT_ABI_VERSION);
  } else if (api.create(options->threads, NULL, &instance) != TILEWRIGHT_OK) {
    fprintf(stderr, "%s\n", api.error(NULL));
  } else {
    failed = run(&api, options, instance);
    api.free(instance);
  }
  dlclose(library);
  return failed;
}

int main(int argc, char** argv) {
  struct options options = {.repeat = 1};
  int option, wrong = 0;
  while ((option = getopt(argc, argv, "t:r:o:")) != -1) {
    if (option == 't') options.threads = atoi(optarg);
    if (option == 'r') options.repeat = atoi(optarg);
    if (option == 'o') options.prefix = optarg;
    wrong |= option == '?';
  }
  if (wrong || optind == argc || options.repeat < 1) {
    fprintf(stderr, "usage: %s [-t THREADS] [-r REPEAT] [-o PREFIX] LIBRARY [INPUT.bin ...]\n", argv[0]);
    return 2;
  }
  options.library = argv[optind];
  options.files = argv + optind + 1;
  options.num_files = argc - optind - 1;
  return load_and_run(&options);
}
