/* From the inputs' shapes to the sizes of all symbols and the dimensions of all tensors. */
#include "shapes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const tilewright_tensor* tensor_at(int32_t index) {
  const tilewright_model* model = &tw_plan.model;
  return index < model->num_inputs ? &model->inputs[index] : &model->outputs[index - model->num_inputs];
}

static int32_t first_dim(int32_t tensor) {
  int32_t first = 0;
  for (int32_t i = 0; i < tensor; ++i) first += tensor_at(i)->rank;
  return first;
}

int tw_shapes_open(struct tw_shapes* shapes) {
  memset(shapes, 0, sizeof *shapes);
  if (!tw_plan.num_symbols) return 0;
  size_t count = (size_t)tw_plan.num_symbols + (size_t)tw_plan.num_dims;
  int64_t* memory = calloc(2 * count, sizeof *memory);
  if (!memory) return -1;
  shapes->sizes = memory;
  shapes->dims = memory + tw_plan.num_symbols;
  shapes->wanted = memory + count;
  for (int32_t i = 0; i < tw_plan.num_symbols; ++i) shapes->sizes[i] = tw_plan.symbols[i].high;
  tw_plan.find_dims(shapes->sizes, shapes->dims, 0);
  return 0;
}

void tw_shapes_close(struct tw_shapes* shapes) { free(shapes->sizes); }

const int64_t* tw_shapes_of(const struct tw_shapes* shapes, int32_t tensor) {
  return shapes->dims ? shapes->dims + first_dim(tensor) : tensor_at(tensor)->shape;
}

uint64_t tw_shapes_bytes(const struct tw_shapes* shapes, int32_t tensor) {
  const tilewright_tensor* described = tensor_at(tensor);
  if (!described->dims) return described->bytes;
  const int64_t* dims = tw_shapes_of(shapes, tensor);
  uint64_t bytes = described->dtype.bits < 16 ? 1 : described->dtype.bits / 8;
  for (int32_t axis = 0; axis < described->rank; ++axis) bytes *= (uint64_t)dims[axis];
  return bytes < described->bytes ? bytes : described->bytes;
}

void tw_shapes_begin(struct tw_shapes* shapes) {
  if (!tw_plan.computes_sizes) return;
  for (int32_t i = 0; i < tw_plan.num_symbols; ++i) {
    if (tw_plan.symbols[i].input < 0) shapes->sizes[i] = tw_plan.symbols[i].high;
  }
  tw_plan.find_dims(shapes->sizes, shapes->dims, 0);
}

void tw_shapes_end(struct tw_shapes* shapes) {
  if (tw_plan.computes_sizes) tw_plan.find_dims(shapes->sizes, shapes->dims, 1);
}

static int32_t check_symbol(const struct tw_symbol* symbol, int64_t size, char* error, size_t error_size) {
  if (size >= symbol->low && size <= symbol->high) return TILEWRIGHT_OK;
  snprintf(error, error_size,
           "input %" PRId32 " ('%s') has %" PRId64 " elements along axis %" PRId32 ", but '%s' is from %" PRId64
           " to %" PRId64 ": compile the model with a larger bound for it",
           symbol->input, tw_plan.model.inputs[symbol->input].name, size, symbol->axis, symbol->name, symbol->low,
           symbol->high);
  return TILEWRIGHT_INVALID_ARGUMENT;
}

/* Every dimension given must be what the symbols make of it. */
static int32_t check_input(int32_t index, const int64_t* given, const int64_t* dims, char* error, size_t error_size) {
  const tilewright_tensor* input = &tw_plan.model.inputs[index];
  for (int32_t axis = 0; axis < input->rank; ++axis) {
    if (given[axis] == dims[axis]) continue;
    const char* called = input->dims ? input->dims[axis] : "";
    int known = input->shape[axis] >= 0;
    snprintf(error, error_size,
             "input %" PRId32 " ('%s') has %" PRId64 " elements along axis %" PRId32 ", but %s%s%s is %" PRId64 "%s",
             index, input->name, given[axis], axis, known ? "that axis" : "'", known ? "" : called, known ? "" : "'",
             dims[axis], known ? "" : " by the other sizes of this call");
    return TILEWRIGHT_INVALID_ARGUMENT;
  }
  return TILEWRIGHT_OK;
}

int32_t tw_shapes_set(struct tw_shapes* shapes, const int64_t* const* inputs, char* error, size_t error_size) {
  const tilewright_model* model = &tw_plan.model;
  for (int32_t i = 0; i < model->num_inputs; ++i) {
    if (model->inputs[i].dims && (!inputs || !inputs[i])) {
      snprintf(error, error_size, "input %" PRId32 " ('%s') is given no shape", i, model->inputs[i].name);
      return TILEWRIGHT_INVALID_ARGUMENT;
    }
  }
  int64_t* dims = shapes->wanted + tw_plan.num_symbols;
  for (int32_t i = 0; i < tw_plan.num_symbols; ++i) {
    const struct tw_symbol* symbol = &tw_plan.symbols[i];
    if (symbol->input < 0) {
      shapes->wanted[i] = symbol->high;
      continue;
    }
    shapes->wanted[i] = inputs[symbol->input][symbol->axis];
    int32_t code = check_symbol(symbol, shapes->wanted[i], error, error_size);
    if (code) return code;
  }
  if (tw_plan.num_symbols) tw_plan.find_dims(shapes->wanted, dims, 0);
  int32_t first = 0;
  for (int32_t i = 0; i < model->num_inputs; first += model->inputs[i++].rank) {
    if (!inputs || !inputs[i]) continue;
    const int64_t* expected = tw_plan.num_symbols ? dims + first : model->inputs[i].shape;
    int32_t code = check_input(i, inputs[i], expected, error, error_size);
    if (code) return code;
  }
  if (tw_plan.num_symbols) {
    memcpy(shapes->sizes, shapes->wanted, ((size_t)tw_plan.num_symbols + (size_t)tw_plan.num_dims) * sizeof(int64_t));
  }
  return TILEWRIGHT_OK;
}
