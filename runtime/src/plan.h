/* What the generated plan gives the runtime. */
#ifndef TILEWRIGHT_PLAN_H
#define TILEWRIGHT_PLAN_H

/* The documented functions are all that a library exports; everything else is compiled with hidden visibility. */
#pragma GCC visibility push(default)
#include "tilewright.h"
#pragma GCC visibility pop

#include "device.h"

/* Where the operands of one run lie. */
struct tw_frame {
  const void* const* inputs;
  void* const* outputs;
  uint8_t* arena;
  const uint8_t* weights;
  int64_t* sizes; /* of the symbols; steps write those that kernels compute */
};

/* A size that a run decides: its bounds, and the input and axis it is read from (input -1: a step writes it). */
struct tw_symbol {
  const char* name;
  int64_t low;
  int64_t high;
  int32_t input;
  int32_t axis;
};

/* One step of the plan: 0, or whatever its kernel returned (below 0), or one more than the place of a size that it has
   read and that is out of its bounds. */
typedef int32_t (*tw_step)(const struct tw_frame* frame);

/* A run in progress. */
struct tw_run;

/* Run the steps from first to end - 1 in order; return 0 or the code of a failure, which ends the run. */
int32_t tw_run_steps(struct tw_run* run, const struct tw_frame* frame, int32_t first, int32_t end);

/* The control flow of a plan: it runs steps as often as it finds right, and returns 0 or the code of a failure. */
typedef int32_t (*tw_flow)(struct tw_run* run, const struct tw_frame* frame);

struct tw_plan {
  tilewright_model model;
  const tw_step* steps;            /* model.num_steps of them; NULL where a driver runs them */
  const char* const* cpu_features; /* in Linux's spelling, NULL at the end */
  const uint8_t* weights;
  tw_flow flow;                    /* NULL for every step once, in order */
  const struct tw_symbol* symbols;
  int32_t num_symbols; /* 0 where all shapes are known; then there is no find_dims */
  int32_t num_dims;
  int32_t computes_sizes; /* whether steps write some of the sizes */
  /* The dimensions of all inputs, then of all outputs; until what steps write is found, bounds of what depends on it. */
  void (*find_dims)(const int64_t* sizes, int64_t* dims, int found);
  const struct tw_driver* driver; /* of the device that runs the plan; NULL for this CPU */
  const struct tw_device_plan* device;
};

extern const struct tw_plan tw_plan;

#endif
