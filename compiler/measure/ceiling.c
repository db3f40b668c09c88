/* The two ceilings of a core: multiply-adds in registers, and bytes read from a working set.
 *
 * Written with the compiler's vector extension, so that one source serves every architecture: the widest vectors that the
 * flags of the compilation allow. Both functions return the time of one trial; the caller keeps the best of several.
 */
#include <stdint.h>
#include <time.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

typedef float vector __attribute__((vector_size(VECTOR_BYTES), aligned(VECTOR_BYTES)));

/* Sixteen registers would spill on SSE and AVX2; twelve chains hide the latency of a multiply-add on every current core. */
#define CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define NUM_CHAINS 12

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Hide a value from the optimizer, so that the arithmetic on it is done. */
#if defined(__x86_64__) || defined(__i386__)
#define KEEP(v) __asm__ volatile("" : "+x"(v))
#if defined(__AVX512F__)
#undef KEEP
#define KEEP(v) __asm__ volatile("" : "+v"(v))
#endif
#elif defined(__aarch64__) || defined(__arm__)
#define KEEP(v) __asm__ volatile("" : "+w"(v))
#else
#define KEEP(v) __asm__ volatile("" : "+m"(v))
#endif

/* Run `rounds` multiply-adds on each chain; return seconds and write the floating-point operations done. */
double tilewright_ceiling_compute(int64_t rounds, double* operations) {
  vector scale = (vector){0} + 0.999f, offset = (vector){0} + 1e-3f;
  KEEP(scale);
  KEEP(offset);
#define DECLARE(n) vector sum##n = offset;
  CHAINS(DECLARE)
  double start = now();
  for (int64_t round = 0; round < rounds; ++round) {
#define STEP(n)                        \
  sum##n = sum##n * scale + offset;    \
  KEEP(sum##n);
    CHAINS(STEP)
  }
  double seconds = now() - start;
  *operations = (double)rounds * NUM_CHAINS * (VECTOR_BYTES / sizeof(float)) * 2.0;
  return seconds;
}

/* Read `bytes` (a multiple of 8 vectors) at `data` `rounds` times over; return seconds. */
double tilewright_ceiling_read(const void* data, int64_t bytes, int64_t rounds) {
  const vector* values = (const vector*)data;
  int64_t count = bytes / VECTOR_BYTES;
  vector sums[4] = {{0}};
  double start = now();
  for (int64_t round = 0; round < rounds; ++round) {
    for (int64_t i = 0; i + 8 <= count; i += 8) {
      vector a = values[i] + values[i + 4], b = values[i + 1] + values[i + 5];
      vector c = values[i + 2] + values[i + 6], d = values[i + 3] + values[i + 7];
      sums[0] += a;
      sums[1] += b;
      sums[2] += c;
      sums[3] += d;
    }
    KEEP(sums[0]);
  }
  double seconds = now() - start;
  for (int i = 0; i < 4; ++i) KEEP(sums[i]);
  return seconds;
}
