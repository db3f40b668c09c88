/* Say which digit an image of 8 x 8 pixels shows: classify IMAGE.bin, 64 floats from 0 to 1.
 *
 * The model is linked into the program, which needs a C library and nothing else.
 */
#include <stdio.h>

#include "digits.h"

enum { PIXELS = 64, CLASSES = 10 };

static int read_image(const char* path, float* pixels) {
  FILE* file = fopen(path, "rb");
  if (!file) {
    perror(path);
    return 1;
  }
  const size_t got = fread(pixels, sizeof *pixels, PIXELS, file);
  fclose(file);
  if (got != PIXELS) fprintf(stderr, "%s: an image has %d floats\n", path, PIXELS);
  return got != PIXELS;
}

int main(int argc, char** argv) {
  float pixels[PIXELS], scores[CLASSES];
  tilewright_instance* instance;
  if (argc != 2) {
    fputs("classify IMAGE.bin\n", stderr);
    return 2;
  }
  if (read_image(argv[1], pixels)) return 1;
  if (digits_tilewright_create(0, NULL, &instance) != TILEWRIGHT_OK) {
    fprintf(stderr, "%s\n", digits_tilewright_error(NULL));
    return 1;
  }
  const void* inputs[] = {pixels};
  void* outputs[] = {scores};
  const int failed = digits_tilewright_run(instance, inputs, outputs) != TILEWRIGHT_OK;
  if (failed) fprintf(stderr, "%s\n", digits_tilewright_error(instance));
  int best = 0;
  for (int digit = 1; digit < CLASSES && !failed; ++digit) {
    if (scores[digit] > scores[best]) best = digit;
  }
  if (!failed) printf("%d\n", best);
  digits_tilewright_free(instance);
  return failed;
}
