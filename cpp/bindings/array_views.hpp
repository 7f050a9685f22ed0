// numpy arrays as the views the kernel counts, without copying elements.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sketch/layout.hpp"
#include "sketch/tensor.hpp"

namespace kedge::bindings {

// Raises kedge.errors.KernelError.
[[noreturn]] void raise_kernel_error(const std::string& message);

// Opens arrays and keeps alive what their views point at, until clear(). Needs the GIL; the views do not.
class ArrayViews {
 public:
  // A view [N, expected.columns] of a numpy array. Raises KernelError where dtype or shape does not fit.
  sketch::TensorView open(const sketch::Tensor& expected, pybind11::handle array);

  void clear();

 private:
  sketch::TensorView strings(const sketch::Tensor& expected, const pybind11::array& array,
                             std::size_t columns);
  std::string_view object_text(const sketch::Tensor& expected, PyObject* value);
  std::string_view fixed_text(const sketch::Tensor& expected, const std::byte* at, char kind,
                              std::size_t size);
  std::string_view utf8(const sketch::Tensor& expected, PyObject* text);

  // Elements are owned too: another thread may replace them in their array while the GIL is released.
  std::vector<pybind11::object> owned_;
  std::deque<std::vector<std::string_view>> texts_;
};

}  // namespace kedge::bindings
