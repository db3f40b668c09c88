#include "tensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 8 };

/* DLPack's codes of element types. */
enum { INT = 0, UINT = 1, FLOAT = 2, BFLOAT = 4, BOOL = 6 };

static size_t element_count(const tilewright_tensor* tensor) { return tensor->bytes / (tensor->dtype.bits / 8u); }

void** tensors_allocate(const tilewright_tensor* tensors, int32_t count) {
  void** buffers = calloc((size_t)count + 1, sizeof *buffers);
  for (int32_t i = 0; buffers && i < count; ++i) {
    buffers[i] = calloc(1, tensors[i].bytes ? tensors[i].bytes : 1);
    if (!buffers[i]) {
      tensors_free(buffers, i);
      buffers = NULL;
    }
  }
  if (!buffers) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  return buffers;
}

void tensors_free(void** buffers, int32_t count) {
  for (int32_t i = 0; i < count; ++i) free(buffers[i]);
  free(buffers);
}

static void fill_element(tilewright_dtype dtype, uint8_t* element, size_t index) {
  const double value = (double)(index % 17) / 16.0 - 0.5;
  const float single = (float)value;
  const uint16_t half = dtype.code == FLOAT ? 0x3800 : 0x3f00; /* 0.5 in float16 and in bfloat16 */
  if (dtype.code == FLOAT && dtype.bits == 64) {
    memcpy(element, &value, sizeof value);
  } else if (dtype.code == FLOAT && dtype.bits == 32) {
    memcpy(element, &single, sizeof single);
  } else if (dtype.code == FLOAT || dtype.code == BFLOAT) {
    memcpy(element, &half, sizeof half);
  } else {
    const uint64_t number = index % 2;
    memcpy(element, &number, dtype.bits / 8u); /* little-endian, as all supported machines are */
  }
}

void tensor_fill(const tilewright_tensor* tensor, void* buffer) {
  for (size_t i = 0; i < element_count(tensor); ++i) {
    fill_element(tensor->dtype, (uint8_t*)buffer + i * (tensor->dtype.bits / 8u), i);
  }
}

int tensor_read(const tilewright_tensor* tensor, void* buffer, const char* path) {
  FILE* file = fopen(path, "rb");
  if (!file) {
    perror(path);
    return 1;
  }
  const size_t got = fread(buffer, 1, tensor->bytes, file);
  const int exact = got == tensor->bytes && fgetc(file) == EOF;
  fclose(file);
  if (!exact) fprintf(stderr, "%s: input '%s' takes exactly %" PRIu64 " bytes\n", path, tensor->name, tensor->bytes);
  return !exact;
}

int tensor_write(const tilewright_tensor* tensor, const void* buffer, const char* path) {
  FILE* file = fopen(path, "wb");
  const int written = file && fwrite(buffer, 1, tensor->bytes, file) == tensor->bytes;
  const int closed = file && fclose(file) == 0;
  if (!written || !closed) perror(path);
  return !written || !closed;
}

static void print_element(tilewright_dtype dtype, const uint8_t* element) {
  double real = 0;
  float single = 0;
  uint64_t bits = 0;
  memcpy(&bits, element, dtype.bits / 8u);
  if (dtype.code == FLOAT && dtype.bits == 64) {
    memcpy(&real, element, sizeof real);
    printf(" %g", real);
  } else if (dtype.code == FLOAT && dtype.bits == 32) {
    memcpy(&single, element, sizeof single);
    printf(" %g", (double)single);
  } else if (dtype.code == FLOAT || dtype.code == BFLOAT) {
    printf(" 0x%04" PRIx64, bits);
  } else if (dtype.code == INT) {
    const unsigned unused = 64u - dtype.bits;
    printf(" %" PRId64, (int64_t)(bits << unused) >> unused);
  } else {
    printf(" %" PRIu64, bits);
  }
}

void tensor_print(const tilewright_tensor* tensor, const void* buffer) {
  static const char* const names[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  const size_t count = element_count(tensor);
  printf("%s: %s%d [", tensor->name, names[tensor->dtype.code], tensor->dtype.bits);
  for (int32_t axis = 0; axis < tensor->rank; ++axis) printf(axis ? ", %" PRId64 : "%" PRId64, tensor->shape[axis]);
  printf("] =");
  for (size_t i = 0; i < count && i < SHOWN; ++i) {
    print_element(tensor->dtype, (const uint8_t*)buffer + i * (tensor->dtype.bits / 8u));
  }
  printf(count > SHOWN ? " ...\n" : "\n");
}
