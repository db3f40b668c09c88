/* The documented functions. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu.h"
#include "plan.h"
#include "pool.h"
#include "shapes.h"

#define MAX_THREADS 4096

struct tilewright_instance {
  struct tw_pool* pool;
  void* device;
  uint8_t* arena;
  void* owned_arena;
  struct tw_shapes shapes;
  atomic_flag running;
  char error[512];
};

/* Sentences that belong to no instance: of this thread's last create, and the instance that was busy when it called. */
static _Thread_local char create_error[512];
static _Thread_local const tilewright_instance* found_busy;

static const tilewright_model* const model = &tw_plan.model;

const tilewright_model* tilewright_info(void) { return model; }

const char* tilewright_error(const tilewright_instance* instance) {
  if (!instance) return create_error;
  return instance == found_busy ? "the instance is running in another thread: make one instance for each caller"
                                : instance->error;
}

/* How many threads 0 means: the environment's answer, else one for each processor. Returns 0 when it is no number. */
static int32_t default_threads(void) {
  const char* text = getenv("TILEWRIGHT_NUM_THREADS");
  if (!text || !*text) {
    int32_t processors = tw_processors();
    return processors < MAX_THREADS ? processors : MAX_THREADS;
  }
  char* end;
  errno = 0;
  long threads = strtol(text, &end, 10);
  return *end || errno || threads < 1 || threads > MAX_THREADS ? 0 : (int32_t)threads;
}

#define REFUSE(code, ...) (snprintf(create_error, sizeof create_error, __VA_ARGS__), (code))

/* What create needs of its caller and of the machine. */
static int32_t check_creation(int32_t num_threads, int32_t* threads, const void* arena) {
  char lacking[256];
  if (tw_cpu_lacks(tw_plan.cpu_features, lacking, sizeof lacking)) {
    return REFUSE(TILEWRIGHT_UNSUPPORTED_CPU, "'%s' was compiled for %s; this CPU lacks %s: compile it for this machine",
                  model->name, model->target, lacking);
  }
  if (num_threads < 0 || num_threads > MAX_THREADS) {
    return REFUSE(TILEWRIGHT_INVALID_ARGUMENT, "%" PRId32 " is no number of threads: give 0 to %d", num_threads,
                  MAX_THREADS);
  }
  *threads = num_threads ? num_threads : default_threads();
  if (!*threads) {
    return REFUSE(TILEWRIGHT_INVALID_ARGUMENT, "TILEWRIGHT_NUM_THREADS is '%.64s': give a number from 1 to %d",
                  getenv("TILEWRIGHT_NUM_THREADS"), MAX_THREADS);
  }
  if ((uintptr_t)arena % model->arena_alignment) {
    return REFUSE(TILEWRIGHT_INVALID_ARGUMENT, "the arena is not aligned to %" PRIu64 " bytes", model->arena_alignment);
  }
  return TILEWRIGHT_OK;
}

static int32_t provide_arena(tilewright_instance* instance, void* arena) {
  if (!arena && model->arena_bytes) {
    if (model->arena_bytes > SIZE_MAX ||
        posix_memalign(&instance->owned_arena, (size_t)model->arena_alignment, (size_t)model->arena_bytes)) {
      instance->owned_arena = NULL;
      return REFUSE(TILEWRIGHT_OUT_OF_MEMORY, "no memory for the arena of %" PRIu64 " bytes", model->arena_bytes);
    }
    arena = instance->owned_arena;
  }
  instance->arena = arena;
  return TILEWRIGHT_OK;
}

int32_t tilewright_create(int32_t num_threads, void* arena, tilewright_instance** instance) {
  int32_t threads;
  create_error[0] = 0;
  if (!instance) return REFUSE(TILEWRIGHT_INVALID_ARGUMENT, "the pointer that receives the instance is null");
  *instance = NULL;
  int32_t code = check_creation(num_threads, &threads, arena);
  if (code) return code;
  tilewright_instance* made = calloc(1, sizeof *made);
  if (!made) return REFUSE(TILEWRIGHT_OUT_OF_MEMORY, "no memory for an instance");
  atomic_flag_clear(&made->running);
  code = tw_shapes_open(&made->shapes) ? REFUSE(TILEWRIGHT_OUT_OF_MEMORY, "no memory for an instance") : TILEWRIGHT_OK;
  if (!code) code = provide_arena(made, arena);
  if (!code && tw_plan.driver) {
    code = tw_plan.driver->open(&made->device, (struct tw_words){create_error, sizeof create_error});
    threads = 1;
  }
  if (!code && !(made->pool = tw_pool_create(threads))) {
    code = REFUSE(TILEWRIGHT_OUT_OF_MEMORY, "could not start %" PRId32 " threads", threads);
  }
  if (code) {
    tilewright_free(made);
    return code;
  }
  *instance = made;
  return TILEWRIGHT_OK;
}

void tilewright_free(tilewright_instance* instance) {
  if (!instance) return;
  if (found_busy == instance) found_busy = NULL;
  if (instance->device) tw_plan.driver->close(instance->device);
  tw_pool_free(instance->pool);
  free(instance->owned_arena);
  tw_shapes_close(&instance->shapes);
  free(instance);
}

static int32_t fail(tilewright_instance* instance, int32_t code, const char* kind, int32_t index, const char* name,
                    const char* what) {
  snprintf(instance->error, sizeof instance->error, "%s %" PRId32 " ('%s') %s", kind, index, name, what);
  return code;
}

static int32_t check_buffers(tilewright_instance* instance, const char* kind, const tilewright_tensor* tensors,
                             int32_t count, const void* const* buffers) {
  for (int32_t i = 0; i < count; ++i) {
    if (!buffers || !buffers[i]) {
      return fail(instance, TILEWRIGHT_INVALID_ARGUMENT, kind, i, tensors[i].name, "is a null pointer");
    }
    uintptr_t element = tensors[i].dtype.bits < 16 ? 1 : tensors[i].dtype.bits / 8;
    if ((uintptr_t)buffers[i] % element) {
      return fail(instance, TILEWRIGHT_INVALID_ARGUMENT, kind, i, tensors[i].name, "is not aligned to its element");
    }
  }
  return TILEWRIGHT_OK;
}

static int overlap(const void* a, uint64_t a_bytes, const void* b, uint64_t b_bytes) {
  return (uintptr_t)a < (uintptr_t)b + b_bytes && (uintptr_t)b < (uintptr_t)a + a_bytes;
}

static int32_t check_overlap(tilewright_instance* instance, const void* const* inputs, void* const* outputs) {
  const struct tw_shapes* shapes = &instance->shapes;
  for (int32_t i = 0; i < model->num_outputs; ++i) {
    const tilewright_tensor* output = &model->outputs[i];
    uint64_t bytes = tw_shapes_bytes(shapes, model->num_inputs + i);
    for (int32_t j = 0; j < model->num_inputs; ++j) {
      if (overlap(outputs[i], bytes, inputs[j], tw_shapes_bytes(shapes, j))) {
        return fail(instance, TILEWRIGHT_INVALID_ARGUMENT, "output", i, output->name, "overlaps an input");
      }
    }
    for (int32_t j = 0; j < i; ++j) {
      if (overlap(outputs[i], bytes, outputs[j], tw_shapes_bytes(shapes, model->num_inputs + j))) {
        return fail(instance, TILEWRIGHT_INVALID_ARGUMENT, "output", i, output->name, "overlaps another output");
      }
    }
  }
  return TILEWRIGHT_OK;
}

static double clock_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

struct tw_run {
  tilewright_instance* instance;
  double* seconds; /* what each step took so far, or NULL */
};

/* A kernel has nothing to fail with but an allocation; a step that reads a size tells which is out of its bounds. */
static int32_t fail_step(tilewright_instance* instance, int32_t step, int32_t failure) {
  if (failure < 1 || failure > tw_plan.num_symbols) {
    return fail(instance, TILEWRIGHT_KERNEL_FAILED, "step", step, model->steps[step].name,
                "found no memory for its scratch");
  }
  const struct tw_symbol* symbol = &tw_plan.symbols[failure - 1];
  char what[160];
  snprintf(what, sizeof what, "cannot be %" PRId64 ", as the inputs' values say: it is from %" PRId64 " to %" PRId64,
           instance->shapes.sizes[failure - 1], symbol->low, symbol->high);
  instance->shapes.sizes[failure - 1] = symbol->high;
  return fail(instance, TILEWRIGHT_INVALID_ARGUMENT, "step", step, model->steps[step].name, what);
}

int32_t tw_run_steps(struct tw_run* run, const struct tw_frame* frame, int32_t first, int32_t end) {
  for (int32_t i = first; i < end; ++i) {
    double start = run->seconds ? clock_seconds() : 0;
    int32_t failure = tw_plan.steps[i](frame);
    if (failure) return fail_step(run->instance, i, failure);
    if (run->seconds) run->seconds[i] += clock_seconds() - start;
  }
  return TILEWRIGHT_OK;
}

static int32_t run_plan(tilewright_instance* instance, const struct tw_frame* frame, double* seconds) {
  struct tw_run run = {instance, seconds};
  for (int32_t i = 0; seconds && i < model->num_steps; ++i) seconds[i] = 0;
  if (instance->device) {
    const struct tw_words error = {instance->error, sizeof instance->error};
    return tw_plan.driver->run(instance->device, frame->inputs, frame->outputs, seconds, error);
  }
  return tw_plan.flow ? tw_plan.flow(&run, frame) : tw_run_steps(&run, frame, 0, model->num_steps);
}

static int32_t run_exclusively(tilewright_instance* instance, const void* const* inputs, void* const* outputs,
                               int profile, double* seconds) {
  instance->error[0] = 0;
  if (profile && !seconds) {
    snprintf(instance->error, sizeof instance->error, "the pointer that receives the seconds is null");
    return TILEWRIGHT_INVALID_ARGUMENT;
  }
  tw_shapes_begin(&instance->shapes);
  int32_t code = check_buffers(instance, "input", model->inputs, model->num_inputs, inputs);
  if (!code) {
    code = check_buffers(instance, "output", model->outputs, model->num_outputs, (const void* const*)outputs);
  }
  if (!code) code = check_overlap(instance, inputs, outputs);
  if (code) return code;
  const struct tw_frame frame = {inputs, outputs, instance->arena, tw_plan.weights, instance->shapes.sizes};
  tw_pool_enter(instance->pool);
  code = run_plan(instance, &frame, seconds);
  tw_pool_leave();
  if (!code) tw_shapes_end(&instance->shapes);
  return code;
}

/* Take the instance for this caller alone. */
static int32_t enter(tilewright_instance* instance) {
  if (!instance) return REFUSE(TILEWRIGHT_INVALID_ARGUMENT, "the instance is null");
  if (atomic_flag_test_and_set_explicit(&instance->running, memory_order_acquire)) {
    found_busy = instance;
    return TILEWRIGHT_BUSY;
  }
  if (found_busy == instance) found_busy = NULL;
  return TILEWRIGHT_OK;
}

static int32_t leave(tilewright_instance* instance, int32_t code) {
  atomic_flag_clear_explicit(&instance->running, memory_order_release);
  return code;
}

static int32_t run(tilewright_instance* instance, const void* const* inputs, void* const* outputs, int profile,
                   double* seconds) {
  int32_t code = enter(instance);
  return code ? code : leave(instance, run_exclusively(instance, inputs, outputs, profile, seconds));
}

int32_t tilewright_set_shapes(tilewright_instance* instance, const int64_t* const* shapes) {
  int32_t code = enter(instance);
  if (code) return code;
  instance->error[0] = 0;
  return leave(instance, tw_shapes_set(&instance->shapes, shapes, instance->error, sizeof instance->error));
}

int32_t tilewright_output_shape(const tilewright_instance* instance, int32_t output, int64_t* shape) {
  if (!instance || output < 0 || output >= model->num_outputs || (!shape && model->outputs[output].rank)) {
    return REFUSE(TILEWRIGHT_INVALID_ARGUMENT, "the instance or the shape is null, or there is no such output");
  }
  const int64_t* dims = tw_shapes_of(&instance->shapes, model->num_inputs + output);
  if (model->outputs[output].rank) memcpy(shape, dims, (size_t)model->outputs[output].rank * sizeof *shape);
  return TILEWRIGHT_OK;
}

int32_t tilewright_run(tilewright_instance* instance, const void* const* inputs, void* const* outputs) {
  return run(instance, inputs, outputs, 0, NULL);
}

int32_t tilewright_profile(tilewright_instance* instance, const void* const* inputs, void* const* outputs,
                           double* seconds) {
  return run(instance, inputs, outputs, 1, seconds);
}
