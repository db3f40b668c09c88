/* What CUDA C++ has and C++ has not. The threads of a block take turns: a barrier lets the next one run, so that what
 * they share needs no lock and one copy of it serves one block after another. */
#include <cmath>
#include <cstdint>
#include <cstring>
#define __global__
#define __device__
#define __shared__ static
struct tw_dim3 {
  int x, y, z;
};
extern "C" {
tw_dim3 blockIdx, threadIdx;
void (*tw_barrier)(void);
}
static inline void __syncthreads(void) { tw_barrier(); }
template <class To, class From>
static inline To tw_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "sizes");
  To made;
  std::memcpy(&made, &value, sizeof made);
  return made;
}
static inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }
static inline int __float_as_int(float v) { return tw_bits<int>(v); }
static inline unsigned __float_as_uint(float v) { return tw_bits<unsigned>(v); }
static inline float __int_as_float(int v) { return tw_bits<float>(v); }
static inline float __uint_as_float(unsigned v) { return tw_bits<float>(v); }
static inline long long __double_as_longlong(double v) { return tw_bits<long long>(v); }
static inline double __longlong_as_double(long long v) { return tw_bits<double>(v); }
/* Tensor cores: to the nearest of 10 bits of fraction, ties away from zero; and a product that the 32 threads of a warp
 * make together, each with the parts that the PTX manual gives it. Threads of other warps come to the same barriers. */
static inline float tw_tf32(float v) { return tw_bits<float>((tw_bits<unsigned>(v) + 0x1000u) & ~0x1fffu); }
static inline void tw_mma_tf32(float* d, float a0, float a1, float a2, float a3, float b0, float b1) {
  static float left[32][16][8], right[32][8][8];
  int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  float(*a)[8] = left[warp], (*b)[8] = right[warp];
  a[g][t] = a0, a[g + 8][t] = a1, a[g][t + 4] = a2, a[g + 8][t + 4] = a3;
  b[t][g] = b0, b[t + 4][g] = b1;
  tw_barrier();
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < 8; ++k) d[i] += a[g + i / 2 * 8][k] * b[k][2 * t + i % 2];
  tw_barrier();
}
