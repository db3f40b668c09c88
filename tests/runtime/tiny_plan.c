/* A plan by hand for the C runtime: two steps, one of them parallel, an arena, weights, three outputs.
 *
 *   y[r, c] = x[r, c] * weights[c] + TINY_BIAS      (step 0, one task for each row)
 *   total = sum(ids), positive[i] = ids[i] > 0      (step 1, by way of the arena)
 */
#include <string.h>
#include <unistd.h>

#include "manifest_section.h"
#include "plan.h"
#include "pool.h"

#ifndef TINY_ABI
#define TINY_ABI TILEWRIGHT_ABI_VERSION
#endif
#ifndef TINY_BIAS
#define TINY_BIAS 1.0f
#endif
#ifndef TINY_FEATURE
#define TINY_FEATURE NULL
#endif
#ifndef TINY_FAILURE
#define TINY_FAILURE 0
#endif
#ifndef TINY_MICROSECONDS
#define TINY_MICROSECONDS 0
#endif
#ifndef TINY_ARENA
#define TINY_ARENA 64
#endif
#ifndef TINY_MANIFEST
#define TINY_MANIFEST "{\"name\": \"tiny\", \"cpu_features\": []}"
#endif

enum { ROWS = 2, COLUMNS = 3, IDS = 4 };

extern int (*__TVMBackendParallelLaunch)(tw_task, void*, int);

static const float WEIGHTS[COLUMNS] = {2.0f, 3.0f, 4.0f};

static int scale_row(int row, struct tw_group* group, void* closure) {
  const struct tw_frame* frame = closure;
  const float* x = (const float*)frame->inputs[0] + row * COLUMNS;
  const float* weights = (const float*)frame->weights;
  float* y = (float*)frame->outputs[0] + row * COLUMNS;
  (void)group;
  for (int c = 0; c < COLUMNS; ++c) y[c] = x[c] * weights[c] + TINY_BIAS;
  return 0;
}

static int32_t scale(const struct tw_frame* frame) {
  if (TINY_MICROSECONDS) usleep(TINY_MICROSECONDS);
  return __TVMBackendParallelLaunch(scale_row, (void*)frame, ROWS);
}

static int32_t count(const struct tw_frame* frame) {
  int64_t* ids = (int64_t*)frame->arena;
  int64_t total = 0;
  memset(frame->arena, 0, TINY_ARENA);
  memcpy(ids, frame->inputs[1], IDS * sizeof *ids);
  for (int i = 0; i < IDS; ++i) {
    total += ids[i];
    ((uint8_t*)frame->outputs[2])[i] = ids[i] > 0;
  }
  memcpy(frame->outputs[1], &total, sizeof total);
  return TINY_FAILURE;
}

static const int64_t X_SHAPE[] = {ROWS, COLUMNS}, IDS_SHAPE[] = {IDS};
static const tilewright_tensor INPUTS[] = {{"x", {2, 32, 1}, 2, X_SHAPE, ROWS * COLUMNS * 4, X_SHAPE, NULL},
                                           {"input.ids", {0, 64, 1}, 1, IDS_SHAPE, IDS * 8, IDS_SHAPE, NULL}};
static const tilewright_tensor OUTPUTS[] = {{"y", {2, 32, 1}, 2, X_SHAPE, ROWS * COLUMNS * 4, X_SHAPE, NULL},
                                            {"total", {0, 64, 1}, 0, NULL, 8, NULL, NULL},
                                            {"positive", {6, 8, 1}, 1, IDS_SHAPE, IDS, IDS_SHAPE, NULL}};
static const tilewright_step STEPS[] = {{"multiply, add", "scale", 12.0, 60.0}, {"sum, greater", "count", 0.0, 76.0}};
static const tw_step FUNCTIONS[] = {scale, count};
static const char* const FEATURES[] = {TINY_FEATURE, NULL};
MANIFEST_SECTION(TINY_MANIFEST);

const struct tw_plan tw_plan = {
    {TINY_ABI, 2, 3, 2, "tiny", "test", MANIFEST.text, INPUTS, OUTPUTS, STEPS, TINY_ARENA, 64, sizeof WEIGHTS},
    FUNCTIONS,
    FEATURES,
    (const uint8_t*)WEIGHTS,
};
