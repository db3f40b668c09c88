// The same in C++: run a model and print what each step of it took.
//
//   run_model_cpp LIBRARY            every input must be float32 or int64
#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

#include "tensors.h"
#include "tilewright.hpp"

namespace {

// Memory for one tensor, as the type that the model asks for.
struct Tensor {
  explicit Tensor(const tilewright_tensor& spec) : bytes(spec.bytes), count(tilewright::elements(spec)) {
    tensor_fill(&spec, bytes.data());
  }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(bytes.data());
  }
  std::vector<unsigned char> bytes;
  std::size_t count;
};

template <class Buffer>
Buffer view(const tilewright_tensor& spec, Tensor& tensor) {
  switch (spec.dtype.code << 8 | spec.dtype.bits) {
    case 2 << 8 | 32: return {tensor.as<float>(), tensor.count};
    case 0 << 8 | 64: return {tensor.as<std::int64_t>(), tensor.count};
    case 6 << 8 | 8: return {tensor.as<bool>(), tensor.count};
  }
  throw tilewright::Error(TILEWRIGHT_INVALID_ARGUMENT, std::string("this example has no type for ") + spec.name);
}

template <class Buffer>
std::vector<Buffer> views(const tilewright_tensor* specs, std::vector<Tensor>& tensors) {
  std::vector<Buffer> found;
  for (std::size_t i = 0; i < tensors.size(); ++i) found.push_back(view<Buffer>(specs[i], tensors[i]));
  return found;
}

void run(const char* path) {
  const tilewright::Library library(path);
  const tilewright_model& model = library.info();
  tilewright::Instance instance(library);

  std::vector<Tensor> inputs(model.inputs, model.inputs + model.num_inputs);
  std::vector<Tensor> outputs(model.outputs, model.outputs + model.num_outputs);
  const auto seconds = instance.profile(views<tilewright::Input>(model.inputs, inputs),
                                        views<tilewright::Output>(model.outputs, outputs));

  for (std::size_t i = 0; i < outputs.size(); ++i) tensor_print(&model.outputs[i], outputs[i].bytes.data());
  for (std::size_t i = 0; i < seconds.size(); ++i) std::printf("%9.3f us  %s\n", 1e6 * seconds[i], model.steps[i].name);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s LIBRARY\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
