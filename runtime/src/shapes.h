/* The sizes of one instance's runs. */
#ifndef TILEWRIGHT_SHAPES_H
#define TILEWRIGHT_SHAPES_H

#include <stddef.h>

#include "plan.h"

struct tw_shapes {
  int64_t* sizes;  /* of the symbols; NULL where all shapes are known */
  int64_t* dims;   /* of all inputs, then of all outputs */
  int64_t* wanted; /* room for the sizes and dimensions of shapes being checked */
};

/* Allocate and begin with the largest sizes; 0, or -1 when there is no memory. */
int tw_shapes_open(struct tw_shapes* shapes);

void tw_shapes_close(struct tw_shapes* shapes);

/* Take the inputs' shapes; on failure write a sentence and change nothing. */
int32_t tw_shapes_set(struct tw_shapes* shapes, const int64_t* const* inputs, char* error, size_t error_size);

/* Begin a run: sizes that steps will write are the largest again. */
void tw_shapes_begin(struct tw_shapes* shapes);

/* End a run: the dimensions are those of the sizes that steps have written. */
void tw_shapes_end(struct tw_shapes* shapes);

/* The dimensions of an input, or of an output where the index counts on after the inputs. */
const int64_t* tw_shapes_of(const struct tw_shapes* shapes, int32_t tensor);

/* The bytes of a tensor at the sizes set. */
uint64_t tw_shapes_bytes(const struct tw_shapes* shapes, int32_t tensor);

#endif
