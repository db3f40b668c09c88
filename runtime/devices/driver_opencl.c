/* Plans for OpenCL 1.2: one queue, kernels whose arguments are set once, parts of two buffers. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "opencl_api.h"
#include "plan.h"

#define MOST_PLATFORMS 16
#define FAIL(code, ...) (snprintf(error.text, error.bytes, __VA_ARGS__), (code))
#define SAYS "OpenCL's error %" PRId32

struct device {
  void* library;
  struct tw_opencl cl;
  cl_device_id id;
  char name[128];
  cl_context context;
  cl_command_queue queue;
  cl_program program;
  cl_mem memory[2]; /* the arena, the weights */
  cl_mem* buffers;
  cl_kernel* kernels; /* one for each launch */
};

static int32_t load_library(struct device* d, struct tw_words error) {
  const char* own = getenv("TILEWRIGHT_OPENCL");
  const char* names[] = {own && *own ? own : "libOpenCL.so.1", own && *own ? NULL : "libOpenCL.so", NULL};
  for (const char** name = names; *name && !d->library; ++name) d->library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
  if (!d->library) {
    return FAIL(TILEWRIGHT_NO_DEVICE, "no OpenCL here: '%s' cannot be opened; install the device's driver and its loader",
                names[0]);
  }
#define LOOK_UP(result, function, parameters)                                                                        \
  {                                                                                                                  \
    void* found = dlsym(d->library, "cl" #function);                                                                 \
    if (!found) return FAIL(TILEWRIGHT_NO_DEVICE, "'%s' has no cl" #function ": it is no OpenCL 1.2", names[0]);      \
    memcpy(&d->cl.function, &found, sizeof found);                                                                   \
  }
  TW_OPENCL_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
  return TILEWRIGHT_OK;
}

/* The first GPU of any platform, else the first device of any kind. */
static int32_t find_device(struct device* d, struct tw_words error) {
  cl_platform_id platforms[MOST_PLATFORMS];
  cl_uint count = 0;
  if (d->cl.GetPlatformIDs(MOST_PLATFORMS, platforms, &count)) count = 0;
  if (count > MOST_PLATFORMS) count = MOST_PLATFORMS;
  const cl_ulong kinds[] = {CL_DEVICE_TYPE_GPU, 0xFFFFFFFFu};
  for (int kind = 0; kind < 2; ++kind) {
    for (cl_uint i = 0; i < count; ++i) {
      cl_uint devices = 0;
      if (!d->cl.GetDeviceIDs(platforms[i], kinds[kind], 1, &d->id, &devices) && devices) {
        if (d->cl.GetDeviceInfo(d->id, CL_DEVICE_NAME, sizeof d->name - 1, d->name, NULL)) strcpy(d->name, "?");
        return TILEWRIGHT_OK;
      }
    }
  }
  return FAIL(TILEWRIGHT_NO_DEVICE, "OpenCL has no device here (%" PRIu32 " platforms): install the device's driver", count);
}

static uint64_t fact(struct device* d, cl_uint which, size_t size) {
  uint64_t wide = 0;
  uint32_t narrow = 0;
  if (size == 4) return d->cl.GetDeviceInfo(d->id, which, size, &narrow, NULL) ? 0 : narrow;
  return d->cl.GetDeviceInfo(d->id, which, size, &wide, NULL) ? 0 : wide;
}

/* What the plan needs of the device. */
static int32_t check_device(struct device* d, struct tw_words error) {
  const struct tw_device_plan* plan = tw_plan.device;
  const uint64_t group = fact(d, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t));
  const uint64_t bytes = fact(d, CL_DEVICE_MAX_MEM_ALLOC_SIZE, 8), align = fact(d, CL_DEVICE_MEM_BASE_ADDR_ALIGN, 4) / 8;
  for (int32_t i = 0; i < plan->num_launches; ++i) {
    const uint32_t* block = plan->launches[i].block;
    if ((uint64_t)block[0] * block[1] * block[2] > group) {
      return FAIL(TILEWRIGHT_NO_DEVICE, "'%s' takes %" PRIu64 " work items in a group, the library was compiled for more",
                  d->name, group);
    }
  }
  if (align > plan->alignment) {
    return FAIL(TILEWRIGHT_NO_DEVICE, "'%s' wants buffers aligned to %" PRIu64 " bytes, the library has %" PRIu64, d->name,
                align, plan->alignment);
  }
  if (plan->arena_bytes > bytes || tw_plan.model.weight_bytes > bytes) {
    return FAIL(TILEWRIGHT_OUT_OF_MEMORY, "'%s' gives buffers of %" PRIu64 " bytes at the most", d->name, bytes);
  }
  return TILEWRIGHT_OK;
}

static int32_t make_memory(struct device* d, struct tw_words error) {
  const struct tw_device_plan* plan = tw_plan.device;
  cl_int code = 0;
  const uint64_t sizes[2] = {plan->arena_bytes, tw_plan.model.weight_bytes};
  for (int space = 0; space < 2 && !code; ++space) {
    void* data = NULL;
    memcpy(&data, &tw_plan.weights, sizeof data); /* it is copied, not written */
    if (!sizes[space]) continue;
    d->memory[space] = space ? d->cl.CreateBuffer(d->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                                                  (size_t)sizes[space], data, &code)
                             : d->cl.CreateBuffer(d->context, CL_MEM_READ_WRITE, (size_t)sizes[space], NULL, &code);
  }
  if (!(d->buffers = calloc((size_t)plan->num_buffers + 1, sizeof *d->buffers))) code = -6;
  for (int32_t i = 0; i < plan->num_buffers && !code; ++i) {
    const struct tw_buffer* part = &plan->buffers[i];
    const cl_buffer_region region = {(size_t)part->offset, (size_t)part->bytes};
    d->buffers[i] = d->cl.CreateSubBuffer(d->memory[part->space], part->space ? CL_MEM_READ_ONLY : CL_MEM_READ_WRITE,
                                          CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
  }
  return code ? FAIL(TILEWRIGHT_OUT_OF_MEMORY, "no memory on '%s': " SAYS, d->name, code) : TILEWRIGHT_OK;
}

/* Build the program from a binary; 0 where the driver takes it. */
static cl_int build_binary(struct device* d, const uint8_t* data, size_t bytes) {
  cl_int status = 0, code = 0;
  d->program = d->cl.CreateProgramWithBinary(d->context, 1, &d->id, &bytes, &data, &status, &code);
  if (!code && !status) code = d->cl.BuildProgram(d->program, 1, &d->id, tw_plan.device->options, NULL, NULL);
  if ((code || status) && d->program) {
    d->cl.ReleaseProgram(d->program);
    d->program = NULL;
  }
  return code ? code : status;
}

static void keep_binary(struct device* d, uint64_t key) {
  size_t bytes = 0;
  if (d->cl.GetProgramInfo(d->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) || !bytes) return;
  unsigned char* data = malloc(bytes);
  if (data && !d->cl.GetProgramInfo(d->program, CL_PROGRAM_BINARIES, sizeof data, &data, NULL)) {
    tw_cache_store(key, data, bytes);
  }
  free(data);
}

static int32_t build_source(struct device* d, struct tw_words error) {
  const struct tw_device_plan* plan = tw_plan.device;
  const char* source = (const char*)plan->program;
  const size_t bytes = (size_t)plan->program_bytes;
  cl_int code = 0;
  d->program = d->cl.CreateProgramWithSource(d->context, 1, &source, &bytes, &code);
  if (!code) code = d->cl.BuildProgram(d->program, 1, &d->id, plan->options, NULL, NULL);
  if (!code) return TILEWRIGHT_OK;
  /* A log is given whole or not at all. */
  size_t size = 0;
  if (d->program) d->cl.GetProgramBuildInfo(d->program, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
  char* log = calloc(size + 1, 1);
  if (log && size) d->cl.GetProgramBuildInfo(d->program, d->id, CL_PROGRAM_BUILD_LOG, size, log, NULL);
  FAIL(0, "'%s' does not compile the kernels: " SAYS " %.300s", d->name, code, log ? log : "");
  free(log);
  return TILEWRIGHT_DEVICE_FAILED;
}

static int32_t load_program(struct device* d, struct tw_words error) {
  const struct tw_device_plan* plan = tw_plan.device;
  char driver[128] = "", version[128] = "";
  d->cl.GetDeviceInfo(d->id, CL_DRIVER_VERSION, sizeof driver - 1, driver, NULL);
  d->cl.GetDeviceInfo(d->id, CL_DEVICE_VERSION, sizeof version - 1, version, NULL);
  const char* const texts[] = {d->name, driver, version, plan->options, NULL};
  const uint64_t key = tw_cache_key(texts, plan->program, plan->program_bytes);
  size_t bytes = 0;
  uint8_t* kept = tw_cache_load(key, &bytes);
  const cl_int refused = kept ? build_binary(d, kept, bytes) : 1;
  free(kept);
  if (!refused) return TILEWRIGHT_OK;
  int32_t code = build_source(d, error);
  if (!code) keep_binary(d, key);
  return code;
}

/* One kernel object for each launch, because its arguments stay. */
static int32_t make_kernels(struct device* d, struct tw_words error) {
  const struct tw_device_plan* plan = tw_plan.device;
  cl_int code = 0;
  if (!(d->kernels = calloc((size_t)plan->num_launches + 1, sizeof *d->kernels))) code = -6;
  for (int32_t i = 0; i < tw_plan.model.num_steps && !code; ++i) {
    const struct tw_device_step* step = &plan->steps[i];
    for (int32_t j = step->first_launch; j < step->first_launch + step->num_launches && !code; ++j) {
      if (!plan->launches[j].kernel) continue;
      d->kernels[j] = d->cl.CreateKernel(d->program, plan->launches[j].kernel, &code);
      for (int32_t at = 0; at < step->num_operands && !code; ++at) {
        const cl_mem* buffer = &d->buffers[plan->operands[step->first_operand + at]];
        code = d->cl.SetKernelArg(d->kernels[j], (cl_uint)at, sizeof *buffer, buffer);
      }
    }
  }
  return code ? FAIL(TILEWRIGHT_DEVICE_FAILED, "'%s' refuses a kernel: " SAYS, d->name, code) : TILEWRIGHT_OK;
}

static void close_device(void* device) {
  struct device* d = device;
  const struct tw_device_plan* plan = tw_plan.device;
  for (int32_t i = 0; d->kernels && i < plan->num_launches; ++i) {
    if (d->kernels[i]) d->cl.ReleaseKernel(d->kernels[i]);
  }
  if (d->program) d->cl.ReleaseProgram(d->program);
  for (int32_t i = 0; d->buffers && i < plan->num_buffers; ++i) {
    if (d->buffers[i]) d->cl.ReleaseMemObject(d->buffers[i]);
  }
  for (int space = 0; space < 2; ++space) {
    if (d->memory[space]) d->cl.ReleaseMemObject(d->memory[space]);
  }
  if (d->queue) d->cl.ReleaseCommandQueue(d->queue);
  if (d->context) d->cl.ReleaseContext(d->context);
  free(d->kernels);
  free(d->buffers);
  free(d); /* the library stays loaded: drivers leave threads behind */
}

static int32_t open_context(struct device* d, struct tw_words error) {
  cl_int code = 0;
  d->context = d->cl.CreateContext(NULL, 1, &d->id, NULL, NULL, &code);
  if (!code) d->queue = d->cl.CreateCommandQueue(d->context, d->id, 0, &code);
  return code ? FAIL(TILEWRIGHT_NO_DEVICE, "'%s' cannot be used: " SAYS, d->name, code) : TILEWRIGHT_OK;
}

static int32_t open_device(void** device, struct tw_words error) {
  int32_t (*const parts[])(struct device*, struct tw_words) = {
      load_library, find_device, check_device, open_context, make_memory, load_program, make_kernels,
  };
  struct device* d = calloc(1, sizeof *d);
  if (!d) return FAIL(TILEWRIGHT_OUT_OF_MEMORY, "no memory for a device");
  for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
    const int32_t code = parts[i](d, error);
    if (code) {
      close_device(d);
      return code;
    }
  }
  *device = d;
  return TILEWRIGHT_OK;
}

static double clock_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static cl_int launch(struct device* d, const struct tw_device_step* step, int32_t number) {
  const struct tw_device_plan* plan = tw_plan.device;
  const struct tw_launch* each = &plan->launches[number];
  if (!each->kernel) {
    const int32_t* operands = &plan->operands[step->first_operand];
    return d->cl.EnqueueCopyBuffer(d->queue, d->buffers[operands[0]], d->buffers[operands[1]], 0, 0,
                                   (size_t)plan->buffers[operands[1]].bytes, 0, NULL, NULL);
  }
  size_t local[3], global[3];
  for (int i = 0; i < 3; ++i) local[i] = each->block[i], global[i] = (size_t)each->block[i] * each->grid[i];
  return d->cl.EnqueueNDRangeKernel(d->queue, d->kernels[number], 3, NULL, global, local, 0, NULL, NULL);
}

static int32_t run_steps(struct device* d, double* seconds, struct tw_words error) {
  for (int32_t i = 0; i < tw_plan.model.num_steps; ++i) {
    const struct tw_device_step* step = &tw_plan.device->steps[i];
    const double start = seconds ? clock_seconds() : 0;
    cl_int code = 0;
    for (int32_t j = 0; j < step->num_launches && !code; ++j) code = launch(d, step, step->first_launch + j);
    if (!code && seconds) code = d->cl.Finish(d->queue);
    if (code) {
      return FAIL(TILEWRIGHT_DEVICE_FAILED, "step %" PRId32 " ('%s') failed on '%s': " SAYS, i,
                  tw_plan.model.steps[i].name, d->name, code);
    }
    if (seconds) seconds[i] = clock_seconds() - start;
  }
  return TILEWRIGHT_OK;
}

static int32_t run_device(void* device, const void* const* inputs, void* const* outputs, double* seconds,
                          struct tw_words error) {
  struct device* d = device;
  const struct tw_device_plan* plan = tw_plan.device;
  const tilewright_model* model = &tw_plan.model;
  cl_int code = 0;
  for (int32_t i = 0; i < model->num_inputs && !code; ++i) {
    if (!model->inputs[i].bytes) continue;
    code = d->cl.EnqueueWriteBuffer(d->queue, d->memory[0], 0, (size_t)plan->input_offsets[i],
                                    (size_t)model->inputs[i].bytes, inputs[i], 0, NULL, NULL);
  }
  if (code) return FAIL(TILEWRIGHT_DEVICE_FAILED, "'%s' takes no input: " SAYS, d->name, code);
  const int32_t failure = run_steps(d, seconds, error);
  for (int32_t i = 0; i < model->num_outputs && !code && !failure; ++i) {
    if (!model->outputs[i].bytes) continue;
    code = d->cl.EnqueueReadBuffer(d->queue, d->memory[0], 0, (size_t)plan->output_offsets[i],
                                   (size_t)model->outputs[i].bytes, outputs[i], 0, NULL, NULL);
  }
  /* Whatever happened, the caller's buffers are his again. */
  const cl_int finished = d->cl.Finish(d->queue);
  if (failure) return failure;
  if (!code) code = finished;
  return code ? FAIL(TILEWRIGHT_DEVICE_FAILED, "'%s' gives no output: " SAYS, d->name, code) : TILEWRIGHT_OK;
}

const struct tw_driver tw_driver_opencl = {open_device, run_device, close_device};
