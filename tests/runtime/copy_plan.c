/* A plan by hand: the output is the input's bytes, whatever their element type (COPY_CODE, COPY_BITS) and number. */
#include <string.h>

#include "manifest_section.h"
#include "plan.h"

enum { BYTES = COPY_ELEMENTS * COPY_BITS / 8 };

static int32_t copy(const struct tw_frame* frame) {
  memcpy(frame->outputs[0], frame->inputs[0], BYTES);
  return 0;
}

static const int64_t SHAPE[] = {COPY_ELEMENTS};
static const tilewright_tensor INPUT = {"x", {COPY_CODE, COPY_BITS, 1}, 1, SHAPE, BYTES, SHAPE, NULL};
static const tilewright_tensor OUTPUT = {"out", {COPY_CODE, COPY_BITS, 1}, 1, SHAPE, BYTES, SHAPE, NULL};
static const tilewright_step STEP = {"copy", "copy", 0.0, 2.0 * BYTES};
static const tw_step FUNCTION = copy;
static const char* const FEATURES[] = {NULL};
MANIFEST_SECTION("{}");

const struct tw_plan tw_plan = {
    {TILEWRIGHT_ABI_VERSION, 1, 1, 1, "copy", "test", MANIFEST.text, &INPUT, &OUTPUT, &STEP, 0, 64, 0},
    &FUNCTION,
    FEATURES,
    (const uint8_t*)"",
};
