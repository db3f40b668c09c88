// Exercises tilewright.hpp on the tiny plan; prints what failed and returns how much did.
#include "tilewright.hpp"

#include <array>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace {

int failures = 0;

#define EXPECT(condition) \
  if (!(condition)) std::printf("line %d: %s\n", __LINE__, #condition), ++failures

struct Data {
  std::vector<float> x{0, 1, 2, 3, 4, 5};
  std::array<std::int64_t, 4> ids{3, -1, 0, 5};
  std::vector<float> y = std::vector<float>(6, std::numeric_limits<float>::quiet_NaN());
  std::int64_t total = -1;
  bool positive[4] = {false, true, true, false};

  std::vector<tilewright::Input> inputs() const { return {x, ids}; }
  std::vector<tilewright::Output> outputs() { return {y, {&total, 1}, positive}; }
  bool right() const {
    return y == std::vector<float>{1, 4, 9, 7, 13, 21} && total == 7 && positive[0] && !positive[1] && !positive[2] &&
           positive[3];
  }
};

void expect_error(int line, std::int32_t code, const std::string& sentence, const std::function<void()>& action) {
  try {
    action();
  } catch (const tilewright::Error& error) {
    if (error.code() == code && std::string(error.what()).find(sentence) != std::string::npos) return;
    std::printf("line %d: code %d: %s\n", line, static_cast<int>(error.code()), error.what());
    ++failures;
    return;
  }
  std::printf("line %d: nothing was thrown\n", line);
  ++failures;
}

#define EXPECT_INVALID(sentence, action) \
  expect_error(__LINE__, TILEWRIGHT_INVALID_ARGUMENT, sentence, [&] { action; })

void describe(const tilewright::Library& library) {
  EXPECT(std::string(library.info().name) == "tiny");
  EXPECT(tilewright::elements(library.input("x")) == 6);
  EXPECT(tilewright::elements(library.output("total")) == 1);
  EXPECT_INVALID("the model has no output 'z'", library.output("z"));
  static_assert(tilewright::dtype_of<const float>().code == 2 && tilewright::dtype_of<const float>().bits == 32);
  static_assert(tilewright::dtype_of<bool>().code == 6 && tilewright::dtype_of<std::uint8_t>().code == 1);
  static_assert(tilewright::dtype_of<tilewright::bfloat16>().code == 4);
  static_assert(tilewright::dtype_of<tilewright::float16>().code == 2);
  static_assert(!std::is_constructible_v<tilewright::Output, const std::vector<float>&>);
  static_assert(!std::is_constructible_v<tilewright::Input, const std::vector<bool>&>);
}

void run(const tilewright::Library& library) {
  tilewright::Instance instance(library, 2);
  Data data;
  instance.run(data.inputs(), data.outputs());
  EXPECT(data.right());
  Data braces;
  instance.run({braces.x, braces.ids}, {braces.y, {&braces.total, 1}, braces.positive});
  EXPECT(braces.right());
  const auto seconds = instance.profile(data.inputs(), data.outputs());
  EXPECT(seconds.size() == 2 && seconds[0] >= 0 && seconds[0] < 1);
}

void refuse(const tilewright::Library& library) {
  tilewright::Instance instance(library, 1);
  Data data;
  std::vector<double> wide(6);
  std::vector<float> few(5);
  EXPECT_INVALID("input 'x' has elements of type float32, not float64",
                 instance.run({wide, data.ids}, data.outputs()));
  EXPECT_INVALID("input 'x' has 6 elements, not 5", instance.run({few, data.ids}, data.outputs()));
  EXPECT_INVALID("the model has 2 inputs, not 1", instance.run({data.x}, data.outputs()));
  EXPECT_INVALID("the model has 3 outputs, not 0", instance.run(data.inputs(), {}));
  EXPECT_INVALID("overlaps an input",
                 instance.run({data.x, data.ids}, {data.x, {&data.total, 1}, data.positive}));
  EXPECT_INVALID("is no number of threads", tilewright::Instance(library, -1));
  instance.run(data.inputs(), data.outputs());
  EXPECT(data.right());
}

void share_and_move(const tilewright::Library& library) {
  std::vector<std::thread> threads;
  std::array<Data, 3> data;
  for (auto& each : data) {
    threads.emplace_back([&library, &each] {
      tilewright::Instance instance(library, 2);
      for (int i = 0; i < 100; ++i) instance.run(each.inputs(), each.outputs());
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& each : data) EXPECT(each.right());

  tilewright::Instance first(library, 1);
  tilewright::Instance second(std::move(first));
  first = tilewright::Instance(library, 2);
  second = std::move(first);
  Data moved;
  second.run(moved.inputs(), moved.outputs());
  EXPECT(moved.right());
}

void outlive(const char* path) {
  auto library = std::make_unique<tilewright::Library>(path);
  tilewright::Instance instance(*library, 1);
  library.reset();
  Data data;
  instance.run(data.inputs(), data.outputs());
  EXPECT(data.right());
  instance = tilewright::Instance(tilewright::Library(path), 1);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    EXPECT_INVALID(argv[i + 1], tilewright::Library library{std::string(argv[i])});
  }
  const char* path = argv[argc - 1];
  const tilewright::Library library{std::string(path)};
  describe(library);
  run(library);
  refuse(library);
  share_and_move(library);
  outlive(path);
  return failures;
}
