// Two models in one program, each with the header that was made with it.
#include "first.h"
#include "second.h"
#include "tilewright.hpp"

#include <cstdio>
#include <vector>

int main() {
  const tilewright::Library first = TILEWRIGHT_LINKED(first), second = TILEWRIGHT_LINKED(second);
  tilewright::Instance one(first, 2), two(second, 2);
  std::vector<std::int64_t> a(54);
  std::vector<tilewright::float16> b(54);
  std::vector<std::int64_t> product(54, -1);
  std::vector<tilewright::float16> sum(54);
  bool negative[54];
  std::vector<std::int8_t> small(54);
  for (int i = 0; i < 54; ++i) a[i] = i - 20;
  for (tilewright::Instance* each : {&one, &two}) {
    each->run({a, b}, {product, sum, negative, small});
    for (int i = 0; i < 54; ++i) {
      if (product[i] != 3 * a[i] || negative[i] != (a[i] < 0) || small[i] != a[i]) return 1;
    }
    std::printf("%s\n", each->library().info().name);
  }
  return 0;
}
