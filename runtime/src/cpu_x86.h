/* x86: features as bits of cpuid, valid only when the operating system saves the registers they use. */
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };

/* Bits of XCR0: the register sets that the operating system saves. */
enum { NO_STATE = 0, YMM = 0x6, ZMM = 0xe6, TILES = 0x60000 };

static const struct {
  const char* name; /* as Linux spells it */
  uint32_t leaf, subleaf;
  uint32_t reg, bit;
  uint32_t state;
} FEATURES[] = {
    {"cmov", 1, 0, EDX, 15, NO_STATE},
    {"cx8", 1, 0, EDX, 8, NO_STATE},
    {"fxsr", 1, 0, EDX, 24, NO_STATE},
    {"mmx", 1, 0, EDX, 23, NO_STATE},
    {"sse", 1, 0, EDX, 25, NO_STATE},
    {"sse2", 1, 0, EDX, 26, NO_STATE},
    {"pni", 1, 0, ECX, 0, NO_STATE},
    {"sse3", 1, 0, ECX, 0, NO_STATE},
    {"pclmulqdq", 1, 0, ECX, 1, NO_STATE},
    {"ssse3", 1, 0, ECX, 9, NO_STATE},
    {"fma", 1, 0, ECX, 12, YMM},
    {"cx16", 1, 0, ECX, 13, NO_STATE},
    {"sse4_1", 1, 0, ECX, 19, NO_STATE},
    {"sse4_2", 1, 0, ECX, 20, NO_STATE},
    {"movbe", 1, 0, ECX, 22, NO_STATE},
    {"popcnt", 1, 0, ECX, 23, NO_STATE},
    {"aes", 1, 0, ECX, 25, NO_STATE},
    {"xsave", 1, 0, ECX, 26, NO_STATE},
    {"avx", 1, 0, ECX, 28, YMM},
    {"f16c", 1, 0, ECX, 29, YMM},
    {"rdrand", 1, 0, ECX, 30, NO_STATE},
    {"bmi1", 7, 0, EBX, 3, NO_STATE},
    {"avx2", 7, 0, EBX, 5, YMM},
    {"bmi2", 7, 0, EBX, 8, NO_STATE},
    {"avx512f", 7, 0, EBX, 16, ZMM},
    {"avx512dq", 7, 0, EBX, 17, ZMM},
    {"adx", 7, 0, EBX, 19, NO_STATE},
    {"avx512ifma", 7, 0, EBX, 21, ZMM},
    {"avx512cd", 7, 0, EBX, 28, ZMM},
    {"sha_ni", 7, 0, EBX, 29, NO_STATE},
    {"avx512bw", 7, 0, EBX, 30, ZMM},
    {"avx512vl", 7, 0, EBX, 31, ZMM},
    {"avx512vbmi", 7, 0, ECX, 1, ZMM},
    {"avx512_vbmi2", 7, 0, ECX, 6, ZMM},
    {"gfni", 7, 0, ECX, 8, NO_STATE},
    {"vaes", 7, 0, ECX, 9, YMM},
    {"vpclmulqdq", 7, 0, ECX, 10, YMM},
    {"avx512_vnni", 7, 0, ECX, 11, ZMM},
    {"avx512_bitalg", 7, 0, ECX, 12, ZMM},
    {"avx512_vpopcntdq", 7, 0, ECX, 14, ZMM},
    {"avx512_vp2intersect", 7, 0, EDX, 8, ZMM},
    {"amx_bf16", 7, 0, EDX, 22, TILES},
    {"avx512_fp16", 7, 0, EDX, 23, ZMM},
    {"amx_tile", 7, 0, EDX, 24, TILES},
    {"amx_int8", 7, 0, EDX, 25, TILES},
    {"avx_vnni", 7, 1, EAX, 4, YMM},
    {"avx512_bf16", 7, 1, EAX, 5, ZMM},
    {"amx_fp16", 7, 1, EAX, 21, TILES},
    {"avx_ifma", 7, 1, EAX, 23, YMM},
    {"avx_vnni_int8", 7, 1, EDX, 4, YMM},
    {"avx_ne_convert", 7, 1, EDX, 5, YMM},
    {"avx_vnni_int16", 7, 1, EDX, 10, YMM},
    {"lahf_lm", 0x80000001, 0, ECX, 0, NO_STATE},
    {"abm", 0x80000001, 0, ECX, 5, NO_STATE},
    {"lzcnt", 0x80000001, 0, ECX, 5, NO_STATE},
    {"sse4a", 0x80000001, 0, ECX, 6, NO_STATE},
    {"3dnowprefetch", 0x80000001, 0, ECX, 8, NO_STATE},
    {"fma4", 0x80000001, 0, ECX, 16, YMM},
    {"lm", 0x80000001, 0, EDX, 29, NO_STATE},
};

static int cpuid_bit(uint32_t leaf, uint32_t subleaf, uint32_t reg, uint32_t bit) {
  uint32_t regs[4];
  if (__get_cpuid_max(leaf & 0x80000000u, NULL) < leaf) return 0;
  if (subleaf) {
    __cpuid_count(leaf, 0, regs[EAX], regs[EBX], regs[ECX], regs[EDX]);
    if (regs[EAX] < subleaf) return 0;
  }
  __cpuid_count(leaf, subleaf, regs[EAX], regs[EBX], regs[ECX], regs[EDX]);
  return regs[reg] >> bit & 1;
}

static uint32_t saved_states(void) {
  enum { OSXSAVE = 27 };
  if (!cpuid_bit(1, 0, ECX, OSXSAVE)) return 0;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int tw_cpu_has(const char* name) {
  for (size_t i = 0; i < sizeof FEATURES / sizeof *FEATURES; ++i) {
    if (strcmp(FEATURES[i].name, name) == 0) {
      return cpuid_bit(FEATURES[i].leaf, FEATURES[i].subleaf, FEATURES[i].reg, FEATURES[i].bit) &&
             (saved_states() & FEATURES[i].state) == FEATURES[i].state;
    }
  }
  return 0;
}
