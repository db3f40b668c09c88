#include "cpu.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include "cpu_x86.h"
#else
#include "cpu_hwcap.h"
#endif

int tw_cpu_lacks(const char* const* features, char* text, size_t bytes) {
  int lacking = 0;
  size_t used = 0;
  if (bytes) text[0] = 0;
  for (; *features; ++features) {
    if (tw_cpu_has(*features)) continue;
    int written = used < bytes ? snprintf(text + used, bytes - used, "%s%s", lacking ? ", " : "", *features) : 0;
    used += written > 0 ? (size_t)written : 0;
    ++lacking;
  }
  return lacking;
}
