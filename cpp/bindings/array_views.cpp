#include "bindings/array_views.hpp"

#include <cstring>
#include <optional>

namespace py = pybind11;

namespace kedge::bindings {
namespace {

using sketch::Element;
using sketch::TensorView;

std::optional<Element> element_of(char kind, py::ssize_t size) {
  switch (kind) {
    case 'b':
      return Element::kBool;
    case 'i':
      return size == 1   ? Element::kInt8
             : size == 2 ? Element::kInt16
             : size == 4 ? Element::kInt32
                         : Element::kInt64;
    case 'u':
      return size == 1   ? Element::kUint8
             : size == 2 ? Element::kUint16
             : size == 4 ? Element::kUint32
                         : Element::kUint64;
    case 'f':
      if (size > 8) return std::nullopt;
      return size == 2 ? Element::kFloat16 : size == 4 ? Element::kFloat32 : Element::kFloat64;
    case 'O':
    case 'S':
    case 'U':
      return Element::kString;
    default:
      return std::nullopt;
  }
}

std::string shape_text(const py::array& array) {
  std::string text = "[";
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(array.shape(i));
  }
  return text + "]";
}

// Whether [N, ...] has `columns` elements a row.
bool fits(const sketch::Tensor& expected, const py::array& array) {
  if (array.ndim() == 0 || (array.ndim() > 2 && !expected.summary)) return false;
  std::size_t columns = 1;
  for (py::ssize_t i = 1; i < array.ndim(); ++i) columns *= static_cast<std::size_t>(array.shape(i));
  return columns == expected.columns;
}

const std::byte* first_element(const py::array& array) { return static_cast<const std::byte*>(array.data()); }

}  // namespace

void raise_kernel_error(const std::string& message) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> error;
  const py::object& type =
      error.call_once_and_store_result([] { return py::module_::import("kedge.errors").attr("KernelError"); })
          .get_stored();
  py::set_error(type, message.c_str());
  throw py::error_already_set();
}

void ArrayViews::clear() {
  owned_.clear();
  for (auto& texts : texts_) texts.clear();
}

TensorView ArrayViews::open(const sketch::Tensor& expected, py::handle handle) {
  if (!py::isinstance<py::array>(handle)) {
    raise_kernel_error("tensor '" + expected.name + "' is a " +
                       py::type::of(handle).attr("__name__").cast<std::string>() + ", not a numpy array");
  }
  auto array = py::reinterpret_borrow<py::array>(handle);
  const py::dtype dtype = array.dtype();
  const char kind = dtype.kind();
  const std::optional<Element> element = element_of(kind, dtype.itemsize());
  if (!element) {
    raise_kernel_error("tensor '" + expected.name + "' has dtype " + py::str(dtype).cast<std::string>() +
                       ", which is not counted");
  }
  if (expected.summary && *element == Element::kString) {
    raise_kernel_error("tensor '" + expected.name + "' is a summary; it cannot hold strings");
  }
  if (!fits(expected, array)) {
    raise_kernel_error("tensor '" + expected.name + "' has shape " + shape_text(array) + "; [N, " +
                       std::to_string(expected.columns) + "] is asked for");
  }
  if (dtype.byteorder() == '>') array = array.attr("astype")(dtype.attr("newbyteorder")("="));
  if (array.ndim() > 2) array = array.attr("reshape")(array.shape(0), expected.columns);
  owned_.push_back(array);
  if (*element == Element::kString) return strings(expected, array, expected.columns);
  return {*element,         first_element(array), static_cast<std::size_t>(array.shape(0)),
          expected.columns, array.strides(0),     array.ndim() == 2 ? array.strides(1) : 0};
}

TensorView ArrayViews::strings(const sketch::Tensor& expected, const py::array& array, std::size_t columns) {
  std::vector<std::string_view>* texts = nullptr;
  for (auto& candidate : texts_) {
    if (candidate.empty()) texts = &candidate;
  }
  if (texts == nullptr) texts = &texts_.emplace_back();
  const char kind = array.dtype().kind();
  const auto size = static_cast<std::size_t>(array.itemsize());
  const auto rows = static_cast<std::size_t>(array.shape(0));
  const TensorView elements = {
      Element::kUint8, first_element(array), rows,
      columns,         array.strides(0),     array.ndim() == 2 ? array.strides(1) : 0};
  texts->reserve(rows * columns);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      const std::byte* at = elements.at(row, column);
      texts->push_back(kind == 'O' ? object_text(expected, sketch::load<PyObject*>(at))
                                   : fixed_text(expected, at, kind, size));
    }
  }
  constexpr auto kStep = static_cast<std::ptrdiff_t>(sizeof(std::string_view));
  return {Element::kString, reinterpret_cast<const std::byte*>(texts->data()), rows,
          columns,          static_cast<std::ptrdiff_t>(columns) * kStep,      kStep};
}

std::string_view ArrayViews::object_text(const sketch::Tensor& expected, PyObject* value) {
  if (value != nullptr && PyBytes_Check(value)) {
    owned_.push_back(py::reinterpret_borrow<py::object>(value));
    return {PyBytes_AS_STRING(value), static_cast<std::size_t>(PyBytes_GET_SIZE(value))};
  }
  if (value == nullptr || !PyUnicode_Check(value)) {
    const std::string type = value == nullptr ? "NoneType" : Py_TYPE(value)->tp_name;
    raise_kernel_error("tensor '" + expected.name + "' holds a " + type + "; strings are bytes or str");
  }
  owned_.push_back(py::reinterpret_borrow<py::object>(value));
  return utf8(expected, value);
}

// An element of a numpy 'S' or 'U' array, which cannot tell trailing NULs from padding.
std::string_view ArrayViews::fixed_text(const sketch::Tensor& expected, const std::byte* at, char kind,
                                        std::size_t size) {
  if (kind == 'S') {
    while (size > 0 && at[size - 1] == std::byte{0}) --size;
    return {reinterpret_cast<const char*>(at), size};
  }
  std::u32string points(size / sizeof(char32_t), U'\0');
  std::memcpy(points.data(), at, points.size() * sizeof(char32_t));
  points.erase(points.find_last_not_of(U'\0') + 1);
  PyObject* const text =
      PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, points.data(), static_cast<py::ssize_t>(points.size()));
  if (text != nullptr) owned_.push_back(py::reinterpret_steal<py::object>(text));
  return utf8(expected, text);
}

std::string_view ArrayViews::utf8(const sketch::Tensor& expected, PyObject* text) {
  py::ssize_t size = 0;
  const char* const data = text == nullptr ? nullptr : PyUnicode_AsUTF8AndSize(text, &size);
  if (data == nullptr) {
    PyErr_Clear();
    raise_kernel_error("tensor '" + expected.name + "' holds a str that is not valid Unicode");
  }
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace kedge::bindings
