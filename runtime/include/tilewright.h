/* The C interface of a library made by Tilewright.
 *
 * A library is one model: code, weights and runtime. It needs libc and libm only. Load it with dlopen and look the
 * functions up by the names below, or link it statically (then define TILEWRIGHT_MODEL to the model's name before
 * including this header: every function carries it as a prefix, so that several models can share one program).
 *
 * Threads: an instance serves one caller at a time; make one instance for each concurrent caller. Instances share the
 * weights. Functions that take no instance may be called from any thread. Release every instance before dlclose.
 *
 * fork: the child of a process that holds idle instances may go on using and must release its copies of them; they
 * have no threads there and run on the caller's alone. An instance that was running in another thread at the fork
 * stays busy in the child for ever.
 */
#ifndef TILEWRIGHT_H
#define TILEWRIGHT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TILEWRIGHT_ABI_VERSION 2u

/* Return codes. tilewright_error() has the sentence that goes with them. */
enum {
  TILEWRIGHT_OK = 0,
  TILEWRIGHT_INVALID_ARGUMENT = -1, /* a null pointer, a buffer that is not aligned to its element, or values that
                                       make a size leave its bounds */
  TILEWRIGHT_OUT_OF_MEMORY = -2,
  TILEWRIGHT_KERNEL_FAILED = -3,   /* a step of the plan failed; the sentence names it */
  TILEWRIGHT_UNSUPPORTED_CPU = -4, /* the library uses instructions this CPU does not have */
  TILEWRIGHT_BUSY = -5,            /* the instance is running in another thread */
  TILEWRIGHT_NO_DEVICE = -6,       /* no driver, or no device that the library was compiled for */
  TILEWRIGHT_DEVICE_FAILED = -7    /* the device's driver refused something; the sentence has its code */
};

/* The element type, as DLPack's DLDataType: code 0 int, 1 uint, 2 float, 4 bfloat, 6 bool, 10 float8_e4m3fn,
   11 float8_e4m3fnuz, 12 float8_e5m2, 13 float8_e5m2fnuz, 14 float8_e8m0fnu, 17 float4_e2m1fn; lanes is 1.
   Elements of fewer than 8 bits lie one to a byte, in its low bits; its other bits are zero. */
typedef struct {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
} tilewright_dtype;

/* An input or output: dense, row-major.
 *
 * A dimension that a run decides is -1 in shape; largest has the most it can be, and dims what it is called ("batch",
 * "past + 1"). Dimensions of one name have one size in a run. Where all are known, largest is shape and dims is NULL. */
typedef struct {
  const char* name;
  tilewright_dtype dtype;
  int32_t rank;
  const int64_t* shape;    /* rank dimensions, in elements; -1 for what a run decides */
  uint64_t bytes;          /* the size of the whole buffer, at its largest */
  const int64_t* largest;  /* rank dimensions: the upper bounds */
  const char* const* dims; /* rank names, numbers for what is known; NULL where all are */
} tilewright_tensor;

/* A step of the plan: one kernel call. A step inside a loop runs several times, one inside a branch perhaps never. */
typedef struct {
  const char* name;   /* the operators it computes */
  const char* kernel; /* the kernel's symbol; steps of equal shape share one */
  double flops;       /* floating-point operations of one run (one iteration of a loop of unknown length), 0 where they
                         are not counted */
  double bytes;       /* bytes of its operands */
} tilewright_step;

/* What a library is. All of it is constant and lives as long as the library is loaded. */
typedef struct {
  uint32_t abi_version; /* TILEWRIGHT_ABI_VERSION of the library */
  int32_t num_inputs;
  int32_t num_outputs;
  int32_t num_steps;
  const char* name;
  const char* target;
  const char* manifest; /* JSON: signature, target, needed CPU features, versions, hashes */
  const tilewright_tensor* inputs;
  const tilewright_tensor* outputs;
  const tilewright_step* steps;
  uint64_t arena_bytes; /* memory an instance needs for intermediate results */
  uint64_t arena_alignment;
  uint64_t weight_bytes;
} tilewright_model;

typedef struct tilewright_instance tilewright_instance;

#ifdef TILEWRIGHT_MODEL
#define TILEWRIGHT_JOIN_(model, function) model##_##function
#define TILEWRIGHT_JOIN(model, function) TILEWRIGHT_JOIN_(model, function)
#define tilewright_info TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_info)
#define tilewright_create TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_create)
#define tilewright_run TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_run)
#define tilewright_set_shapes TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_set_shapes)
#define tilewright_output_shape TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_output_shape)
#define tilewright_profile TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_profile)
#define tilewright_error TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_error)
#define tilewright_free TILEWRIGHT_JOIN(TILEWRIGHT_MODEL, tilewright_free)
#endif

/* Describe the library. Never fails, on any CPU. */
const tilewright_model* tilewright_info(void);

/* Make an instance.
 *
 * num_threads: how many threads a run uses, the caller's included, 4096 at the most; 0 for what the environment variable
 *   TILEWRIGHT_NUM_THREADS says, else for every processor of the caller's affinity mask.
 * arena: arena_bytes of memory aligned to arena_alignment that outlives the instance, or NULL to allocate it.
 * instance: receives the instance, NULL on failure; then tilewright_error(NULL) has the sentence for this thread.
 */
int32_t tilewright_create(int32_t num_threads, void* arena, tilewright_instance** instance);

/* Say what sizes the inputs of the following runs have. Only models with dimensions of -1 need it; until it is called
 * they run at the largest sizes.
 *
 * shapes: one pointer for every input, to its rank dimensions; NULL for an input whose shape is known.
 * A size out of its bounds, or two for dimensions of one name, are refused, and nothing changes. */
int32_t tilewright_set_shapes(tilewright_instance* instance, const int64_t* const* shapes);

/* Write the rank dimensions that an output has at the sizes set. Where the data decides one (how many elements are not
 * zero), it is the largest before a run and what was found after it; the elements stand at the buffer's beginning, dense.
 * tilewright_error(NULL) has the sentence of a failure. */
int32_t tilewright_output_shape(const tilewright_instance* instance, int32_t output, int64_t* shape);

/* Run the model once. inputs and outputs hold one pointer each for every tensor, in the order of tilewright_model;
 * each points to tensor.bytes of memory, or what the sizes set need of it, aligned to at least its element; outputs must
 * not overlap inputs or one another. */
int32_t tilewright_run(tilewright_instance* instance, const void* const* inputs, void* const* outputs);

/* Run the model once as tilewright_run does, and write the seconds each step took (in all iterations)
 * to seconds[num_steps]. */
int32_t tilewright_profile(tilewright_instance* instance, const void* const* inputs, void* const* outputs,
                           double* seconds);

/* The sentence for the last failure of this instance, or (NULL) of this thread's last tilewright_create; "" for none. */
const char* tilewright_error(const tilewright_instance* instance);

/* Release an instance; NULL is allowed. */
void tilewright_free(tilewright_instance* instance);

#ifdef __cplusplus
}
#endif

#endif
