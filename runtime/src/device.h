/* What a plan for a device gives the runtime, and what a driver does for it. */
#ifndef TILEWRIGHT_DEVICE_H
#define TILEWRIGHT_DEVICE_H

#include <stddef.h>
#include <stdint.h>

/* A part of the device's arena (space 0) or of the weights (space 1), in bytes. */
struct tw_buffer {
  uint32_t space;
  uint64_t offset;
  uint64_t bytes;
};

/* A kernel and its threads; kernel NULL copies the first operand of the step to the second. */
struct tw_launch {
  const char* kernel;
  uint32_t grid[3];  /* blocks */
  uint32_t block[3]; /* threads of a block */
};

/* A step: launches one after another, each over all operands of the step. */
struct tw_device_step {
  int32_t first_operand, num_operands; /* in operands */
  int32_t first_launch, num_launches;  /* in launches */
};

struct tw_device_plan {
  const uint8_t* program; /* what the driver takes: OpenCL C, or a cubin */
  uint64_t program_bytes;
  const char* options;   /* for the driver's compiler */
  uint64_t arena_bytes;
  uint64_t alignment;    /* of every buffer, in bytes */
  const struct tw_buffer* buffers;
  int32_t num_buffers;
  const int32_t* operands; /* numbers of buffers */
  const struct tw_launch* launches;
  int32_t num_launches;
  const struct tw_device_step* steps;
  const uint64_t* input_offsets;  /* of every input in the arena */
  const uint64_t* output_offsets; /* of every output */
};

/* Where a driver writes the sentence of a failure. */
struct tw_words {
  char* text;
  size_t bytes;
};

/* A way to run a plan. All functions return 0 or the code of a failure, whose sentence they have written. */
struct tw_driver {
  /* Find a device, take its memory, load the program. */
  int32_t (*open)(void** device, struct tw_words error);
  /* Copy the inputs there, run all steps, copy the outputs back; seconds is NULL or receives what each step took. */
  int32_t (*run)(void* device, const void* const* inputs, void* const* outputs, double* seconds, struct tw_words error);
  void (*close)(void* device);
};

extern const struct tw_driver tw_driver_opencl;
extern const struct tw_driver tw_driver_cuda;

#endif
