// C++17 around tilewright.h: libraries and instances that release themselves, checked buffers, exceptions.
//
//   tilewright::Library library("model.so");            // or TILEWRIGHT_LINKED(model), linked statically
//   tilewright::Instance instance(library, 4);          // one for each concurrent caller; the weights are shared
//   std::vector<float> image(...), scores(1000);
//   instance.run({image}, {scores});                    // throws tilewright::Error for a wrong type or size
//
// A Library is a handle: copies are cheap and it stays loaded while a copy or an instance lives. Link with -ldl where
// the C library is older than glibc 2.34. Everything is inline; nothing but libc and libstdc++ is needed.
#ifndef TILEWRIGHT_HPP
#define TILEWRIGHT_HPP

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tilewright.h"

// The Library of a model that is linked statically. Its functions must have been declared: include the header that was
// made with it, or define TILEWRIGHT_MODEL before this header.
#define TILEWRIGHT_LINKED(model)                                                                                  \
  ::tilewright::Library(::tilewright::Functions{model##_tilewright_info, model##_tilewright_create,               \
                                                model##_tilewright_set_shapes, model##_tilewright_output_shape,   \
                                                model##_tilewright_run, model##_tilewright_profile,               \
                                                model##_tilewright_error, model##_tilewright_free})

namespace tilewright {

// What went wrong, as one sentence, and its code (TILEWRIGHT_...).
class Error : public std::runtime_error {
 public:
  Error(std::int32_t code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}
  std::int32_t code() const noexcept { return code_; }

 private:
  std::int32_t code_;
};

// The bits of element types that C++17 lacks.
enum class float16 : std::uint16_t {};
enum class bfloat16 : std::uint16_t {};

// The element type of T: a number, bool, float16 or bfloat16.
template <class T>
constexpr tilewright_dtype dtype_of() {
  using Element = std::remove_cv_t<T>;
  constexpr bool is_half = std::is_same_v<Element, float16>, is_brain = std::is_same_v<Element, bfloat16>;
  static_assert(std::is_arithmetic_v<Element> || is_half || is_brain, "a tensor holds numbers or bool");
  constexpr int code = std::is_same_v<Element, bool>                         ? 6
                       : is_brain                                            ? 4
                       : std::is_floating_point_v<Element> || is_half        ? 2
                       : std::is_signed_v<Element>                           ? 0
                                                                             : 1;
  return {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(8 * sizeof(Element)), 1};
}

// How many elements a tensor has: at the most, where a run decides that.
inline std::size_t elements(const tilewright_tensor& tensor) {
  std::size_t count = 1;
  for (std::int32_t axis = 0; axis < tensor.rank; ++axis) count *= static_cast<std::size_t>(tensor.largest[axis]);
  return count;
}

// A caller's elements, not owned: of a std::vector, std::array, std::span, C array, or a pointer and a count.
// Address is const void* for an input and void* for an output.
template <class Address>
class Buffer {
  template <class T>
  using IfFits = std::enable_if_t<std::is_convertible_v<T*, Address>>;

 public:
  template <class T, class = IfFits<T>>
  Buffer(T* data, std::size_t count) : address_(data), count_(count), dtype_(dtype_of<T>()) {}

  template <class Container, class T = std::remove_pointer_t<decltype(std::data(std::declval<Container&>()))>,
            class = IfFits<T>>
  Buffer(Container&& container) : Buffer(std::data(container), std::size(container)) {}

  Address address() const noexcept { return address_; }
  std::size_t count() const noexcept { return count_; }
  tilewright_dtype dtype() const noexcept { return dtype_; }

 private:
  Address address_;
  std::size_t count_;
  tilewright_dtype dtype_;
};

using Input = Buffer<const void*>;
using Output = Buffer<void*>;

// The functions of a library.
struct Functions {
  decltype(&::tilewright_info) info;
  decltype(&::tilewright_create) create;
  decltype(&::tilewright_set_shapes) set_shapes;
  decltype(&::tilewright_output_shape) output_shape;
  decltype(&::tilewright_run) run;
  decltype(&::tilewright_profile) profile;
  decltype(&::tilewright_error) error;
  decltype(&::tilewright_free) free;
};

// A loaded model. Its functions may be called from any thread.
class Library {
 public:
  // Load a file. Throws Error when it cannot be loaded, is not ours, or speaks another version of the interface.
  // The system gives the library that is loaded for a path it has seen, even when the file was replaced meanwhile.
  explicit Library(const std::string& path) {
    // Without a separator the system would search its own folders for the name.
    const std::string place = path.find('/') == std::string::npos ? "./" + path : path;
    void* handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw Error(TILEWRIGHT_INVALID_ARGUMENT, dlerror());
    handle_ = std::shared_ptr<void>(handle, dlclose);
    find(functions_.info, "tilewright_info", path);
    find(functions_.create, "tilewright_create", path);
    find(functions_.set_shapes, "tilewright_set_shapes", path);
    find(functions_.output_shape, "tilewright_output_shape", path);
    find(functions_.run, "tilewright_run", path);
    find(functions_.profile, "tilewright_profile", path);
    find(functions_.error, "tilewright_error", path);
    find(functions_.free, "tilewright_free", path);
    check_version();
  }

  // Take functions that are linked statically, as TILEWRIGHT_LINKED(model) does.
  explicit Library(const Functions& functions) : functions_(functions) { check_version(); }

  const tilewright_model& info() const { return *functions_.info(); }
  const Functions& functions() const noexcept { return functions_; }

  // The input or output of a name. Throws Error when there is none.
  const tilewright_tensor& input(const std::string& name) const {
    return named("input", name, info().inputs, info().num_inputs);
  }
  const tilewright_tensor& output(const std::string& name) const {
    return named("output", name, info().outputs, info().num_outputs);
  }

 private:
  template <class Function>
  void find(Function& function, const char* name, const std::string& path) {
    function = reinterpret_cast<Function>(dlsym(handle_.get(), name));
    if (!function) {
      throw Error(TILEWRIGHT_INVALID_ARGUMENT, path + ": is not a library made by Tilewright (it has no " + name + ")");
    }
  }

  void check_version() const {
    if (info().abi_version == TILEWRIGHT_ABI_VERSION) return;
    throw Error(TILEWRIGHT_INVALID_ARGUMENT, "the library has version " + std::to_string(info().abi_version) +
                                                 " of the interface and this program was compiled for version " +
                                                 std::to_string(TILEWRIGHT_ABI_VERSION));
  }

  static const tilewright_tensor& named(const char* kind, const std::string& name, const tilewright_tensor* tensors,
                                        std::int32_t count) {
    for (std::int32_t index = 0; index < count; ++index) {
      if (name == tensors[index].name) return tensors[index];
    }
    throw Error(TILEWRIGHT_INVALID_ARGUMENT, std::string("the model has no ") + kind + " '" + name + "'");
  }

  std::shared_ptr<void> handle_;
  Functions functions_{};
};

// One instance of a model: its memory and its threads. It serves one call at a time; a second is refused as
// TILEWRIGHT_BUSY. It can be moved, not copied.
class Instance {
 public:
  // threads: the caller's included; 0 for every processor of the affinity mask. arena: memory of info().arena_bytes,
  // aligned to info().arena_alignment, that outlives the instance; null to allocate it. Throws Error.
  explicit Instance(Library library, std::int32_t threads = 0, void* arena = nullptr)
      : instance_(nullptr, Release{std::move(library)}) {
    tilewright_instance* made = nullptr;
    const std::int32_t code = functions().create(threads, arena, &made);
    instance_.reset(made);
    check(code);
    for (std::int32_t i = 0; i < this->library().info().num_inputs; ++i) {
      input_counts_.push_back(elements(this->library().info().inputs[i]));
    }
    count_outputs();
  }

  const Library& library() const noexcept { return instance_.get_deleter().library; }

  // Say what shapes the inputs of the following runs have, one for every input; models whose shapes are all known do not
  // need it. Throws Error for a size out of its bounds.
  void set_shapes(const std::vector<std::vector<std::int64_t>>& shapes) {
    const tilewright_model& info = library().info();
    if (shapes.size() != static_cast<std::size_t>(info.num_inputs)) {
      throw Error(TILEWRIGHT_INVALID_ARGUMENT, "the model has " + std::to_string(info.num_inputs) + " inputs, not " +
                                                   std::to_string(shapes.size()));
    }
    std::vector<const std::int64_t*> pointers;
    std::vector<std::size_t> counts;
    for (std::size_t index = 0; index < shapes.size(); ++index) {
      if (shapes[index].size() != static_cast<std::size_t>(info.inputs[index].rank)) {
        throw Error(TILEWRIGHT_INVALID_ARGUMENT, std::string("input '") + info.inputs[index].name + "' has " +
                                                     std::to_string(info.inputs[index].rank) + " dimensions, not " +
                                                     std::to_string(shapes[index].size()));
      }
      pointers.push_back(shapes[index].data());
      counts.push_back(product(shapes[index]));
    }
    check(functions().set_shapes(instance_.get(), pointers.data()));
    input_counts_ = std::move(counts);
    count_outputs();
  }

  // The shape that an output has at the sizes set.
  std::vector<std::int64_t> output_shape(std::int32_t output) const {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(library().info().outputs[output].rank));
    check(functions().output_shape(instance_.get(), output, shape.data()));
    return shape;
  }

  // Run once. Buffers stand in the model's order; their element types and sizes are checked. Throws Error.
  void run(const std::vector<Input>& inputs, const std::vector<Output>& outputs) {
    const auto sources = input_addresses(inputs);
    const auto sinks = output_addresses(outputs);
    check(functions().run(instance_.get(), sources.data(), sinks.data()));
  }

  // Run once and return the seconds that each step of the plan took. Throws Error.
  std::vector<double> profile(const std::vector<Input>& inputs, const std::vector<Output>& outputs) {
    const auto sources = input_addresses(inputs);
    const auto sinks = output_addresses(outputs);
    std::vector<double> seconds(static_cast<std::size_t>(library().info().num_steps));
    check(functions().profile(instance_.get(), sources.data(), sinks.data(), seconds.data()));
    return seconds;
  }

 private:
  // Keeps the library loaded until the instance is released, whichever way instances are moved about.
  struct Release {
    Library library;
    void operator()(tilewright_instance* instance) const { library.functions().free(instance); }
  };

  const Functions& functions() const noexcept { return library().functions(); }

  std::vector<const void*> input_addresses(const std::vector<Input>& buffers) const {
    return addresses("input", buffers, library().info().inputs, input_counts_);
  }

  std::vector<void*> output_addresses(const std::vector<Output>& buffers) const {
    return addresses("output", buffers, library().info().outputs, output_counts_);
  }

  template <class Address>
  static std::vector<Address> addresses(const std::string& kind, const std::vector<Buffer<Address>>& buffers,
                                        const tilewright_tensor* tensors, const std::vector<std::size_t>& counts) {
    if (buffers.size() != counts.size()) {
      throw Error(TILEWRIGHT_INVALID_ARGUMENT, "the model has " + std::to_string(counts.size()) + " " + kind +
                                                   "s, not " + std::to_string(buffers.size()));
    }
    std::vector<Address> found;
    found.reserve(buffers.size());
    for (std::size_t index = 0; index < buffers.size(); ++index) {
      check_buffer(kind + " '" + tensors[index].name + "'", buffers[index].dtype(), buffers[index].count(),
                   tensors[index], counts[index]);
      found.push_back(buffers[index].address());
    }
    return found;
  }

  static void check_buffer(const std::string& where, tilewright_dtype dtype, std::size_t count,
                           const tilewright_tensor& tensor, std::size_t expected) {
    if (dtype.code != tensor.dtype.code || dtype.bits != tensor.dtype.bits) {
      throw Error(TILEWRIGHT_INVALID_ARGUMENT, where + " has elements of type " + describe(tensor.dtype) + ", not " +
                                                   describe(dtype));
    }
    if (count != expected) {
      throw Error(TILEWRIGHT_INVALID_ARGUMENT, where + " has " + std::to_string(expected) + " elements, not " +
                                                   std::to_string(count));
    }
  }

  static std::string describe(tilewright_dtype dtype) {
    static const char* const names[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
    return (dtype.code < std::size(names) ? names[dtype.code] : "unknown") + std::to_string(dtype.bits);
  }

  void check(std::int32_t code) const {
    if (code != TILEWRIGHT_OK) throw Error(code, functions().error(instance_.get()));
  }

  static std::size_t product(const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    return count;
  }

  void count_outputs() {
    output_counts_.clear();
    for (std::int32_t i = 0; i < library().info().num_outputs; ++i) output_counts_.push_back(product(output_shape(i)));
  }

  std::unique_ptr<tilewright_instance, Release> instance_;
  std::vector<std::size_t> input_counts_, output_counts_;
};

}  // namespace tilewright

#endif
