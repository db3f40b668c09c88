/* Buffers for the inputs and outputs of a model, whatever their number, shapes and element types. */
#ifndef TENSORS_H
#define TENSORS_H

#include "tilewright.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A buffer for each tensor, zeroed, and for an empty tensor too. Ends the program when memory runs out. */
void** tensors_allocate(const tilewright_tensor* tensors, int32_t count);
void tensors_free(void** buffers, int32_t count);

/* Fill a buffer with small values that repeat: -0.5 to 0.5 for floating point, 0 and 1 for the rest. */
void tensor_fill(const tilewright_tensor* tensor, void* buffer);

/* Read a buffer from a file that holds exactly its bytes, or write it; 0 when done, else a message was printed. */
int tensor_read(const tilewright_tensor* tensor, void* buffer, const char* path);
int tensor_write(const tilewright_tensor* tensor, const void* buffer, const char* path);

/* Print a line: name, type, shape and the first values. */
void tensor_print(const tilewright_tensor* tensor, const void* buffer);

#ifdef __cplusplus
}
#endif

#endif
