// Tensors between Python and the engine.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/reservoir.hpp"
#include "engine/tensor.hpp"

namespace kedge::bindings {

// A tensor from Python: (ONNX element type, shape, bytes of the elements | list of bytes for strings).
class TensorIn {
 public:
  explicit TensorIn(const pybind11::tuple& given);
  TensorIn(TensorIn&&) = default;
  const engine::TensorView& view() const { return view_; }

 private:
  std::vector<std::uint64_t> elements_;
  std::vector<std::string> owned_;
  std::vector<std::string_view> strings_;
  engine::TensorView view_;
};

class Tensors {
 public:
  explicit Tensors(const pybind11::list& given);
  std::span<const engine::TensorView> views() const { return views_; }

 private:
  std::vector<TensorIn> tensors_;
  std::vector<engine::TensorView> views_;
};

// (name, ONNX element type, shape, elements as for `TensorIn`) of an output.
pybind11::tuple tensor_out(const std::string& name, const engine::TensorView& tensor);

// (ONNX element type, shape, elements) of a row that was kept.
pybind11::tuple row_out(const engine::SampledTensor& tensor);

}  // namespace kedge::bindings
