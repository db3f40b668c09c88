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
