/* A loaded library with one instance, and the buffers of a run. */
#ifndef TILEWRIGHT_RUNNER_MODEL_H
#define TILEWRIGHT_RUNNER_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "tilewright.h"

struct model {
  void* library;
  const tilewright_model* info;
  tilewright_instance* instance;
  void** inputs;
  void** outputs;
  int32_t (*set_shapes)(tilewright_instance*, const int64_t* const*);
  int32_t (*output_shape)(const tilewright_instance*, int32_t, int64_t*);
  int32_t (*run)(tilewright_instance*, const void* const*, void* const*);
  int32_t (*profile)(tilewright_instance*, const void* const*, void* const*, double*);
  const char* (*error)(const tilewright_instance*);
  void (*free)(tilewright_instance*);
};

/* Load a library and make an instance and buffers of the largest sizes. Returns 0, or 1 with a sentence in error. */
int model_open(struct model* model, const char* path, int32_t threads, char* error, size_t bytes);

/* Run once; seconds receives the time, steps (or NULL) the time of each step. Returns 0, or 1 with a sentence. */
int model_run(struct model* model, double* seconds, double* steps, char* error, size_t bytes);

/* The bytes of a tensor of a shape. */
uint64_t tensor_bytes(const tilewright_tensor* tensor, const int64_t* shape);

void model_close(struct model* model);

#endif
