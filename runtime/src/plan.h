/* What the generated plan gives the runtime. */
#ifndef TILEWRIGHT_PLAN_H
#define TILEWRIGHT_PLAN_H

/* The documented functions are all that a library exports; everything else is compiled with hidden visibility. */
#pragma GCC visibility push(default)
#include "tilewright.h"
#pragma GCC visibility pop

/* Where the operands of one run lie. */
struct tw_frame {
  const void* const* inputs;
  void* const* outputs;
  uint8_t* arena;
  const uint8_t* weights;
};

/* One step of the plan: 0, or whatever its kernel returned. */
typedef int32_t (*tw_step)(const struct tw_frame* frame);

/* A run in progress. */
struct tw_run;

/* Run the steps from first to end - 1 in order; return 0 or the code of a failure, which ends the run. */
int32_t tw_run_steps(struct tw_run* run, const struct tw_frame* frame, int32_t first, int32_t end);

/* The control flow of a plan: it runs steps as often as it finds right, and returns 0 or the code of a failure. */
typedef int32_t (*tw_flow)(struct tw_run* run, const struct tw_frame* frame);

struct tw_plan {
  tilewright_model model;
  const tw_step* steps;            /* model.num_steps of them */
  const char* const* cpu_features; /* in Linux's spelling, NULL at the end */
  const uint8_t* weights;
  tw_flow flow;                    /* NULL for every step once, in order */
};

extern const struct tw_plan tw_plan;

#endif
