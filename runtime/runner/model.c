#define _POSIX_C_SOURCE 200809L
#include "model.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Write the address of a function through a pointer to void*: ISO C converts no object pointer to a function. */
static int find(struct model* model, const char* name, void* function, char* error, size_t bytes) {
  void* address = dlsym(model->library, name);
  memcpy(function, &address, sizeof address);
  if (!address) snprintf(error, bytes, "it is not a library made by Tilewright: it has no %s", name);
  return !address;
}

uint64_t tensor_bytes(const tilewright_tensor* tensor, const int64_t* shape) {
  uint64_t bytes = ((uint64_t)tensor->dtype.bits + 7) / 8;
  for (int32_t axis = 0; axis < tensor->rank; ++axis) bytes *= (uint64_t)shape[axis];
  return bytes;
}

static void** allocate(const tilewright_tensor* tensors, int32_t count) {
  void** buffers = calloc((size_t)count + 1, sizeof *buffers);
  for (int32_t i = 0; buffers && i < count; ++i) {
    if (posix_memalign(&buffers[i], 64, (size_t)tensors[i].bytes + 64)) return NULL;
    memset(buffers[i], 0, (size_t)tensors[i].bytes);
  }
  return buffers;
}

int model_open(struct model* model, const char* path, int32_t threads, char* error, size_t bytes) {
  const tilewright_model* (*info)(void);
  int32_t (*create)(int32_t, void*, tilewright_instance**);
  memset(model, 0, sizeof *model);
  model->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!model->library) {
    snprintf(error, bytes, "the system cannot load the library: %s", dlerror());
    return 1;
  }
  if (find(model, "tilewright_info", &info, error, bytes) || find(model, "tilewright_create", &create, error, bytes) ||
      find(model, "tilewright_set_shapes", &model->set_shapes, error, bytes) ||
      find(model, "tilewright_output_shape", &model->output_shape, error, bytes) ||
      find(model, "tilewright_run", &model->run, error, bytes) ||
      find(model, "tilewright_profile", &model->profile, error, bytes) ||
      find(model, "tilewright_error", &model->error, error, bytes) ||
      find(model, "tilewright_free", &model->free, error, bytes)) {
    return 1;
  }
  model->info = info();
  if (model->info->abi_version != TILEWRIGHT_ABI_VERSION) {
    snprintf(error, bytes, "the library has version %u of the interface and this runner has %u: build both anew",
             (unsigned)model->info->abi_version, (unsigned)TILEWRIGHT_ABI_VERSION);
    return 1;
  }
  if (create(threads, NULL, &model->instance) != TILEWRIGHT_OK) {
    snprintf(error, bytes, "%s", model->error(NULL));
    return 1;
  }
  model->inputs = allocate(model->info->inputs, model->info->num_inputs);
  model->outputs = allocate(model->info->outputs, model->info->num_outputs);
  if (!model->inputs || !model->outputs) {
    snprintf(error, bytes, "no memory for the inputs and outputs");
    return 1;
  }
  return 0;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int model_run(struct model* model, double* seconds, double* steps, char* error, size_t bytes) {
  const void* const* inputs = (const void* const*)model->inputs;
  const double start = now();
  const int32_t code = steps ? model->profile(model->instance, inputs, model->outputs, steps)
                             : model->run(model->instance, inputs, model->outputs);
  *seconds = now() - start;
  if (code != TILEWRIGHT_OK) snprintf(error, bytes, "%s", model->error(model->instance));
  return code != TILEWRIGHT_OK;
}

static void release(void** buffers, int32_t count) {
  for (int32_t i = 0; buffers && i < count; ++i) free(buffers[i]);
  free(buffers);
}

void model_close(struct model* model) {
  if (model->info) {
    release(model->inputs, model->info->num_inputs);
    release(model->outputs, model->info->num_outputs);
  }
  if (model->instance) model->free(model->instance);
  if (model->library) dlclose(model->library);
}
