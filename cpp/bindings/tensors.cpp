#include "bindings/tensors.hpp"

#include <pybind11/stl.h>

#include <algorithm>

namespace py = pybind11;

namespace kedge::bindings {
namespace {

py::object elements_out(const std::uint8_t* data, std::size_t size) {
  return py::bytes(reinterpret_cast<const char*>(data), size);
}

}  // namespace

TensorIn::TensorIn(const py::tuple& given) {
  view_.type = static_cast<ort::Element>(given[0].cast<int>());
  view_.shape = engine::Shape(given[1].cast<std::vector<std::int64_t>>());
  if (view_.type == ort::Element::string) {
    owned_ = given[2].cast<std::vector<std::string>>();
    strings_.assign(owned_.begin(), owned_.end());
    view_.strings = strings_;
  } else {
    // Copied, so that the elements are aligned and cannot change while the GIL is released.
    const auto bytes = given[2].cast<std::string_view>();
    elements_.resize(bytes.size() / sizeof(std::uint64_t) + 1);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(elements_.data()));
    view_.bytes = {reinterpret_cast<const std::uint8_t*>(elements_.data()), bytes.size()};
  }
}

Tensors::Tensors(const py::list& given) {
  for (const py::handle each : given) tensors_.emplace_back(py::reinterpret_borrow<py::tuple>(each));
  for (const TensorIn& tensor : tensors_) views_.push_back(tensor.view());
}

py::tuple tensor_out(const std::string& name, const engine::TensorView& tensor) {
  py::object data;
  if (tensor.type == ort::Element::string) {
    py::list texts;
    for (std::size_t i = 0; i < tensor.offsets.size(); ++i) {
      const std::size_t end = i + 1 < tensor.offsets.size() ? tensor.offsets[i + 1] : tensor.bytes.size();
      texts.append(elements_out(tensor.bytes.data() + tensor.offsets[i], end - tensor.offsets[i]));
    }
    data = texts;
  } else {
    data = elements_out(tensor.bytes.data(), tensor.bytes.size());
  }
  const auto dims = tensor.shape.dims();
  return py::make_tuple(name, static_cast<int>(tensor.type),
                        std::vector<std::int64_t>(dims.begin(), dims.end()), data);
}

py::tuple row_out(const engine::SampledTensor& tensor) {
  py::object data;
  if (tensor.type == ort::Element::string) {
    py::list texts;
    for (const std::string& text : tensor.strings) texts.append(py::bytes(text));
    data = texts;
  } else {
    data = elements_out(tensor.bytes.data(), tensor.bytes.size());
  }
  const auto dims = tensor.shape.dims();
  return py::make_tuple(static_cast<int>(tensor.type), std::vector<std::int64_t>(dims.begin(), dims.end()),
                        data);
}

}  // namespace kedge::bindings
