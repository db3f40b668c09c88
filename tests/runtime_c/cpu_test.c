/* Prints which of the features named on the command line this CPU lacks. */
#include <stdio.h>

#include "cpu.h"

int main(int count, char** names) {
  (void)count;
  char text[65536];
  int lacking = tw_cpu_lacks((const char* const*)names + 1, text, sizeof text);
  printf("%d %s\n", lacking, text);
  char small[8];
  tw_cpu_lacks((const char* const*)names + 1, small, sizeof small);
  return 0;
}
