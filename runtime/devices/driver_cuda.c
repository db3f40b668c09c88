/* Plans for CUDA: a cubin, one stream, pointers into two allocations, and a graph of all steps. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cuda_api.h"
#include "plan.h"

#define FAIL(code, ...) (snprintf(error.text, error.bytes, __VA_ARGS__), (code))
#define SAYS "CUDA's error %d"
#define MOST_OPERANDS 256

struct device {
  void* library;
  struct tw_cuda cu;
  CUdevice id;
  char name[128];
  CUcontext context;
  int retained;
  CUmodule module;
  CUstream stream;
  CUgraph graph;
  CUgraphExec steps;     /* the graph, ready to run */
  CUdeviceptr memory[2]; /* the arena, the weights */
  CUfunction* functions; /* one for each launch */
};

static int32_t load_library(struct device* d, struct tw_words error) {
  const char* own = getenv("TILEWRIGHT_CUDA");
  const char* name = own && *own ? own : "libcuda.so.1";
  d->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!d->library) {
    return FAIL(TILEWRIGHT_NO_DEVICE, "no CUDA here: '%s' cannot be opened; install NVIDIA's driver", name);
  }
#define LOOK_UP(function, parameters)                                                                                 \
  {                                                                                                                   \
    void* found = dlsym(d->library, #function);                                                                       \
    if (!found) return FAIL(TILEWRIGHT_NO_DEVICE, "'%s' has no " #function ": it is older than CUDA 11.4", name);      \
    memcpy(&d->cu.function, &found, sizeof found);                                                                    \
  }
  TW_CUDA_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
  return TILEWRIGHT_OK;
}

static int32_t find_device(struct device* d, struct tw_words error) {
  int count = 0;
  CUresult code = d->cu.cuInit(0);
  if (!code) code = d->cu.cuDeviceGetCount(&count);
  if (!code && count) code = d->cu.cuDeviceGet(&d->id, 0);
  if (code || !count) return FAIL(TILEWRIGHT_NO_DEVICE, "CUDA has no device here (" SAYS "): is the driver loaded?", code);
  if (d->cu.cuDeviceGetName(d->name, sizeof d->name, d->id)) snprintf(d->name, sizeof d->name, "?");
  code = d->cu.cuDevicePrimaryCtxRetain(&d->context, d->id);
  d->retained = !code;
  if (!code) code = d->cu.cuCtxPushCurrent_v2(d->context);
  return code ? FAIL(TILEWRIGHT_NO_DEVICE, "'%s' cannot be used: " SAYS, d->name, code) : TILEWRIGHT_OK;
}

static int32_t make_memory(struct device* d, struct tw_words error) {
  const uint64_t sizes[2] = {tw_plan.device->arena_bytes, tw_plan.model.weight_bytes};
  CUresult code = d->cu.cuStreamCreate(&d->stream, CU_STREAM_NON_BLOCKING);
  for (int space = 0; space < 2 && !code; ++space) {
    if (sizes[space]) code = d->cu.cuMemAlloc_v2(&d->memory[space], (size_t)sizes[space]);
  }
  if (!code && sizes[1]) code = d->cu.cuMemcpyHtoD_v2(d->memory[1], tw_plan.weights, (size_t)sizes[1]);
  if (!code) return TILEWRIGHT_OK;
  return FAIL(TILEWRIGHT_OUT_OF_MEMORY, "no %" PRIu64 " bytes on '%s': " SAYS, sizes[0] + sizes[1], d->name, code);
}

static int32_t load_program(struct device* d, struct tw_words error) {
  const struct tw_device_plan* plan = tw_plan.device;
  CUresult code = d->cu.cuModuleLoadData(&d->module, plan->program);
  if (code == CUDA_ERROR_NO_BINARY_FOR_GPU) {
    return FAIL(TILEWRIGHT_NO_DEVICE, "'%s' was compiled for %s, which '%s' is not: compile it for this device",
                tw_plan.model.name, tw_plan.model.target, d->name);
  }
  if (!code && !(d->functions = calloc((size_t)plan->num_launches + 1, sizeof *d->functions))) {
    code = CUDA_ERROR_OUT_OF_MEMORY;
  }
  for (int32_t i = 0; i < plan->num_launches && !code; ++i) {
    if (!plan->launches[i].kernel) continue;
    code = d->cu.cuModuleGetFunction(&d->functions[i], d->module, plan->launches[i].kernel);
  }
  return code ? FAIL(TILEWRIGHT_DEVICE_FAILED, "'%s' does not load the kernels: " SAYS, d->name, code) : TILEWRIGHT_OK;
}

static CUdeviceptr address(struct device* d, int32_t operand) {
  const struct tw_buffer* buffer = &tw_plan.device->buffers[tw_plan.device->operands[operand]];
  return d->memory[buffer->space] + buffer->offset;
}

static CUresult launch_step(struct device* d, const struct tw_device_step* step) {
  const struct tw_device_plan* plan = tw_plan.device;
  CUdeviceptr addresses[MOST_OPERANDS];
  void* arguments[MOST_OPERANDS];
  if (step->num_operands > MOST_OPERANDS) return CUDA_ERROR_OUT_OF_MEMORY;
  for (int32_t i = 0; i < step->num_operands; ++i) {
    addresses[i] = address(d, step->first_operand + i);
    arguments[i] = &addresses[i];
  }
  CUresult code = 0;
  for (int32_t i = step->first_launch; i < step->first_launch + step->num_launches && !code; ++i) {
    const struct tw_launch* each = &plan->launches[i];
    const uint32_t *grid = each->grid, *block = each->block;
    if (each->kernel) {
      code = d->cu.cuLaunchKernel(d->functions[i], grid[0], grid[1], grid[2], block[0], block[1], block[2], 0, d->stream,
                                  arguments, NULL);
    } else {
      const uint64_t bytes = plan->buffers[plan->operands[step->first_operand + 1]].bytes;
      code = d->cu.cuMemcpyDtoDAsync_v2(addresses[1], addresses[0], (size_t)bytes, d->stream);
    }
  }
  return code;
}

/* Record all steps once; runs start the record, which costs one call in place of one for each launch. */
static int32_t record_steps(struct device* d, struct tw_words error) {
  CUresult code = d->cu.cuStreamBeginCapture_v2(d->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  if (code) return FAIL(TILEWRIGHT_DEVICE_FAILED, "'%s' records no steps: " SAYS, d->name, code);
  CUresult failed = 0;
  for (int32_t i = 0; i < tw_plan.model.num_steps && !failed; ++i) failed = launch_step(d, &tw_plan.device->steps[i]);
  code = d->cu.cuStreamEndCapture(d->stream, &d->graph);
  if (failed) code = failed;
  if (!code) code = d->cu.cuGraphInstantiateWithFlags(&d->steps, d->graph, 0);
  return code ? FAIL(TILEWRIGHT_DEVICE_FAILED, "'%s' records no steps: " SAYS, d->name, code) : TILEWRIGHT_OK;
}

static void close_device(void* device) {
  struct device* d = device;
  CUcontext before;
  if (d->retained && !d->cu.cuCtxPushCurrent_v2(d->context)) {
    if (d->steps) d->cu.cuGraphExecDestroy(d->steps);
    if (d->graph) d->cu.cuGraphDestroy(d->graph);
    if (d->module) d->cu.cuModuleUnload(d->module);
    for (int space = 0; space < 2; ++space) {
      if (d->memory[space]) d->cu.cuMemFree_v2(d->memory[space]);
    }
    if (d->stream) d->cu.cuStreamDestroy_v2(d->stream);
    d->cu.cuCtxPopCurrent_v2(&before);
  }
  if (d->retained) d->cu.cuDevicePrimaryCtxRelease_v2(d->id);
  free(d->functions);
  free(d); /* the library stays loaded: the driver leaves threads behind */
}

static int32_t open_device(void** device, struct tw_words error) {
  int32_t (*const parts[])(struct device*, struct tw_words) = {
      load_library, find_device, make_memory, load_program, record_steps,
  };
  struct device* d = calloc(1, sizeof *d);
  if (!d) return FAIL(TILEWRIGHT_OUT_OF_MEMORY, "no memory for a device");
  int32_t code = TILEWRIGHT_OK;
  for (size_t i = 0; i < sizeof parts / sizeof *parts && !code; ++i) code = parts[i](d, error);
  CUcontext own;
  if (d->retained) d->cu.cuCtxPopCurrent_v2(&own);
  if (code) {
    close_device(d);
    return code;
  }
  *device = d;
  return TILEWRIGHT_OK;
}

static double clock_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static CUresult run_timed(struct device* d, double* seconds) {
  CUresult code = d->cu.cuStreamSynchronize(d->stream);
  for (int32_t i = 0; i < tw_plan.model.num_steps && !code; ++i) {
    const double start = clock_seconds();
    code = launch_step(d, &tw_plan.device->steps[i]);
    if (!code) code = d->cu.cuStreamSynchronize(d->stream);
    seconds[i] = clock_seconds() - start;
  }
  return code;
}

static CUresult run_all(struct device* d, const void* const* inputs, void* const* outputs, double* seconds) {
  const struct tw_device_plan* plan = tw_plan.device;
  const tilewright_model* model = &tw_plan.model;
  CUresult code = 0;
  for (int32_t i = 0; i < model->num_inputs && !code; ++i) {
    if (!model->inputs[i].bytes) continue;
    code = d->cu.cuMemcpyHtoDAsync_v2(d->memory[0] + plan->input_offsets[i], inputs[i], (size_t)model->inputs[i].bytes,
                                      d->stream);
  }
  if (!code) code = seconds ? run_timed(d, seconds) : d->cu.cuGraphLaunch(d->steps, d->stream);
  for (int32_t i = 0; i < model->num_outputs && !code; ++i) {
    if (!model->outputs[i].bytes) continue;
    code = d->cu.cuMemcpyDtoHAsync_v2(outputs[i], d->memory[0] + plan->output_offsets[i],
                                      (size_t)model->outputs[i].bytes, d->stream);
  }
  /* Whatever happened, the caller's buffers are his again. */
  const CUresult finished = d->cu.cuStreamSynchronize(d->stream);
  return code ? code : finished;
}

static int32_t run_device(void* device, const void* const* inputs, void* const* outputs, double* seconds,
                          struct tw_words error) {
  struct device* d = device;
  CUcontext own;
  CUresult code = d->cu.cuCtxPushCurrent_v2(d->context);
  if (!code) {
    code = run_all(d, inputs, outputs, seconds);
    d->cu.cuCtxPopCurrent_v2(&own);
  }
  return code ? FAIL(TILEWRIGHT_DEVICE_FAILED, "the run failed on '%s': " SAYS, d->name, code) : TILEWRIGHT_OK;
}

const struct tw_driver tw_driver_cuda = {open_device, run_device, close_device};
