/* Linux on other architectures: features as bits that the kernel puts in the auxiliary vector. */
#include <sys/auxv.h>

#ifndef AT_HWCAP2
#define AT_HWCAP2 26
#endif

static const struct {
  const char* name; /* as Linux spells it */
  unsigned long vector;
  uint32_t bit;
} FEATURES[] = {
#if defined(__aarch64__)
    {"fp", AT_HWCAP, 0},        {"asimd", AT_HWCAP, 1},     {"crc32", AT_HWCAP, 7},     {"atomics", AT_HWCAP, 8},
    {"fphp", AT_HWCAP, 9},      {"asimdhp", AT_HWCAP, 10},  {"asimdrdm", AT_HWCAP, 12}, {"jscvt", AT_HWCAP, 13},
    {"fcma", AT_HWCAP, 14},     {"lrcpc", AT_HWCAP, 15},    {"asimddp", AT_HWCAP, 20},  {"sve", AT_HWCAP, 22},
    {"asimdfhm", AT_HWCAP, 23}, {"flagm", AT_HWCAP, 27},    {"sve2", AT_HWCAP2, 1},     {"svebitperm", AT_HWCAP2, 4},
    {"flagm2", AT_HWCAP2, 7},   {"frint", AT_HWCAP2, 8},    {"i8mm", AT_HWCAP2, 13},    {"bf16", AT_HWCAP2, 14},
#elif defined(__arm__)
    {"half", AT_HWCAP, 1},   {"vfp", AT_HWCAP, 6},    {"neon", AT_HWCAP, 12},  {"vfpv3", AT_HWCAP, 13},
    {"vfpv4", AT_HWCAP, 16}, {"idiva", AT_HWCAP, 17}, {"idivt", AT_HWCAP, 18}, {"vfpd32", AT_HWCAP, 19},
#elif defined(__riscv)
    {"a", AT_HWCAP, 0}, {"c", AT_HWCAP, 2}, {"d", AT_HWCAP, 3}, {"f", AT_HWCAP, 5}, {"m", AT_HWCAP, 12}, {"v", AT_HWCAP, 21},
#endif
    {"", AT_HWCAP, 0},
};

static int tw_cpu_has(const char* name) {
  for (size_t i = 0; i < sizeof FEATURES / sizeof *FEATURES; ++i) {
    if (strcmp(FEATURES[i].name, name) == 0) return getauxval(FEATURES[i].vector) >> FEATURES[i].bit & 1;
  }
  return 0;
}
