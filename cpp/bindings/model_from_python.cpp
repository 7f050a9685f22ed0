#include "bindings/model_from_python.hpp"

#include <algorithm>
#include <memory>

#include "bindings/layout_from_python.hpp"

namespace py = pybind11;

namespace kedge::bindings {
namespace {

// From (name, ONNX element type, shape) tuples.
std::vector<engine::TensorSpec> tensor_specs(const py::handle& given) {
  std::vector<engine::TensorSpec> specs;
  for (const py::handle each : given) {
    const auto spec = py::reinterpret_borrow<py::tuple>(each);
    const auto shape = spec[2].cast<std::vector<std::int64_t>>();
    if (shape.size() > engine::kMaxRank)
      throw engine::LoadError("a tensor has more dimensions than can be served");
    specs.push_back(
        {spec[0].cast<std::string>(), static_cast<ort::Element>(spec[1].cast<int>()), engine::Shape(shape)});
  }
  return specs;
}

// From (input, column, stride, edges, missing, kernel feature or None, places of its slots).
std::vector<engine::SliceFeature> slice_features(const py::handle& given) {
  std::vector<engine::SliceFeature> features;
  for (const py::handle each : given) {
    const auto said = py::reinterpret_borrow<py::tuple>(each);
    engine::SliceFeature& feature = features.emplace_back();
    feature.input = said[0].cast<std::size_t>();
    feature.column = said[1].cast<std::size_t>();
    feature.stride = said[2].cast<std::uint16_t>();
    feature.edges = said[3].cast<std::vector<double>>();
    feature.missing = said[4].cast<double>();
    if (!said[5].is_none()) feature.categories = categorical_from_python(said[5]);
    const auto places = said[6].cast<std::vector<std::uint8_t>>();
    std::copy_n(places.begin(), std::min(places.size(), feature.places.size()), feature.places.begin());
  }
  return features;
}

}  // namespace

engine::ModelConfig model_from_python(const py::dict& given) {
  engine::ModelConfig config;
  config.key = item<std::uint64_t>(given, "key");
  config.bundle = item<std::string>(given, "bundle");
  config.name = item<std::string>(given, "name");
  config.version = item<std::string>(given, "version");
  config.session.path = item<std::string>(given, "path");
  config.session.intra_op_threads = item<int>(given, "intra_op_threads");
  config.session.providers = item<std::vector<std::string>>(given, "providers");
  config.session.inputs = tensor_specs(given["inputs"]);
  config.session.outputs = tensor_specs(given["outputs"]);
  config.batchable = item<bool>(given, "batchable");
  config.prediction.kind = static_cast<engine::PredictionKind>(item<int>(given, "prediction_kind"));
  config.prediction.output = item<std::size_t>(given, "prediction_output");
  config.prediction.label_output = item<std::optional<std::size_t>>(given, "label_output");
  config.prediction.classes = item<std::vector<std::string>>(given, "classes");
  config.prediction.lower_output = item<std::size_t>(given, "lower_output");
  config.prediction.upper_output = item<std::size_t>(given, "upper_output");
  config.prediction.sigma_output = item<std::size_t>(given, "sigma_output");
  if (const auto scores = item<std::optional<std::tuple<int, double, double>>>(given, "calibration")) {
    const auto& [score, alpha, threshold] = *scores;
    config.calibration = {static_cast<engine::ScoreKind>(score), alpha, threshold};
  }
  config.outcomes = item<bool>(given, "outcomes");
  config.slices = slice_features(given["slices"]);
  config.max_batch = item<std::int64_t>(given, "max_batch");
  config.max_queue_delay_us = item<std::int64_t>(given, "max_queue_delay_us");
  config.max_queue = item<std::size_t>(given, "max_queue");
  config.execution = static_cast<engine::Execution>(item<int>(given, "execution"));
  config.instances = item<int>(given, "instances");
  config.layout = std::make_shared<const sketch::Layout>(
      layout_from_python(given["layout"].cast<py::object>(), given["layout_digest"].cast<py::bytes>()));
  config.layout_inputs = item<std::vector<std::size_t>>(given, "layout_inputs");
  return config;
}

}  // namespace kedge::bindings
