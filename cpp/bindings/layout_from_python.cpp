#include "bindings/layout_from_python.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

namespace py = pybind11;

namespace kedge::bindings {
namespace {

sketch::NumericFeature numeric(const py::handle& feature) {
  return {
      feature.attr("name").cast<std::string>(),
      feature.attr("tensor").cast<std::size_t>(),
      feature.attr("column").cast<std::size_t>(),
      feature.attr("edges").cast<std::vector<double>>(),
      feature.attr("atoms").cast<std::vector<double>>(),
      feature.attr("valid_min").cast<double>(),
      feature.attr("valid_max").cast<double>(),
      feature.attr("missing").cast<std::optional<double>>(),
      feature.attr("center").cast<double>(),
      feature.attr("scale").cast<double>(),
  };
}

sketch::Category category(const py::handle& value) {
  if (py::isinstance<py::int_>(value)) return value.cast<std::int64_t>();
  return value.cast<std::string>();
}

std::vector<sketch::Category> categories(const py::object& values) {
  std::vector<sketch::Category> result;
  for (const py::handle value : values) result.push_back(category(value));
  return result;
}

}  // namespace

sketch::CategoricalFeature categorical_from_python(const py::handle& feature) {
  sketch::CategoricalFeature result;
  result.name = feature.attr("name").cast<std::string>();
  result.tensor = feature.attr("tensor").cast<std::size_t>();
  result.column = feature.attr("column").cast<std::size_t>();
  result.vocabulary = categories(feature.attr("vocabulary"));
  result.other = categories(feature.attr("other"));
  const py::object missing = feature.attr("missing");
  if (!missing.is_none()) result.missing = category(missing);
  return result;
}

sketch::Layout layout_from_python(const py::object& layout, const py::bytes& digest) {
  sketch::Layout result;
  for (const py::handle tensor : layout.attr("tensors")) {
    result.tensors.push_back({tensor.attr("name").cast<std::string>(),
                              tensor.attr("columns").cast<std::size_t>(),
                              tensor.attr("summary").cast<bool>()});
  }
  for (const py::handle feature : layout.attr("features")) {
    if (py::hasattr(feature, "edges")) {
      result.features.emplace_back(numeric(feature));
    } else {
      result.features.emplace_back(categorical_from_python(feature));
    }
  }
  result.classes = layout.attr("classes").cast<std::size_t>();
  for (const py::handle score : layout.attr("scores")) result.scores.push_back(numeric(score));
  result.reliability_edges = layout.attr("reliability_edges").cast<std::vector<double>>();
  result.schema_inputs = layout.attr("schema_inputs").cast<std::vector<std::string>>();
  const auto bytes = static_cast<std::string>(digest);
  if (bytes.size() != result.digest.size()) throw py::value_error("a layout digest has 32 bytes");
  std::transform(bytes.begin(), bytes.end(), result.digest.begin(),
                 [](char c) { return static_cast<std::uint8_t>(c); });
  return result;
}

}  // namespace kedge::bindings
