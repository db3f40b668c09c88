/* Classify every image and print one digit for each. */
#include "digits.h"

#include "images.h"

void write_word(const char* text);

int main(void) {
  static float pixels[64], scores[10];
  static char digits[IMAGES + 2];
  for (int image = 0; image < IMAGES; ++image) {
    for (int i = 0; i < 64; ++i) pixels[i] = (float)images[image][i] / 16.0f;
    digits_run(pixels, scores);
    int best = 0;
    for (int i = 1; i < 10; ++i) best = scores[i] > scores[best] ? i : best;
    digits[image] = (char)('0' + best);
  }
  digits[IMAGES] = '\n';
  write_word(digits);
  return 0;
}
