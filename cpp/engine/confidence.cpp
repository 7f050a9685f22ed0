#include "engine/confidence.hpp"

#include <cmath>

namespace kedge::engine {
namespace {

bool is_score(ort::Element type) { return type == ort::Element::float32 || type == ort::Element::float64; }

bool is_probabilistic(const ModelConfig& config) {
  return config.prediction.kind == PredictionKind::probabilities ||
         config.prediction.kind == PredictionKind::logits;
}

template <class T>
wire::Bytes bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

std::string_view no_confidence(const ModelConfig& config) {
  if (config.prediction.kind == PredictionKind::none)
    return "its bundle says of no output that it is the prediction";
  if (!config.calibration.has_value()) return "its bundle has no calibration scores";
  const std::vector<TensorSpec>& outputs = config.session.outputs;
  const std::size_t index = config.prediction.output;
  if (index < outputs.size() && !is_score(outputs[index].type)) return "its scores are neither FP32 nor FP64";
  return {};
}

Intervals::Intervals(const Model& model, const sketch::TensorView& values,
                     std::span<const TensorView> outputs)
    : score_(model.config().calibration->score), threshold_(model.threshold()), values_(values) {
  const Prediction& prediction = model.config().prediction;
  const auto read = [&](sketch::TensorView& to, std::size_t index) {
    const TensorView& output = outputs[index];
    to = counted(output);
    readable_ = readable_ && to.rows == values_.rows && to.columns == 1 && is_score(output.type);
  };
  if (score_ == ScoreKind::scaled) read(bounds_[0], prediction.sigma_output);
  if (score_ == ScoreKind::quantile) {
    read(bounds_[0], prediction.lower_output);
    read(bounds_[1], prediction.upper_output);
  }
}

// An empty interval, as an empty set, gets what is most likely: the prediction, or the middle of the bounds.
Interval Intervals::at(std::size_t row) const {
  if (score_ == ScoreKind::quantile) {
    const double low = number_in(bounds_[0], row, 0);
    const double high = number_in(bounds_[1], row, 0);
    const Interval found{low - threshold_, high + threshold_};
    if (!(found.lower > found.upper)) return found;
    const double middle = low / 2 + high / 2;
    return {middle, middle};
  }
  const double value = number_in(values_, row, 0);
  double half = threshold_;
  if (score_ == ScoreKind::scaled && std::isfinite(threshold_)) half *= number_in(bounds_[0], row, 0);
  if (half < 0) half = 0;
  return {value - half, value + half};
}

std::span<const wire::OutputView> ConfidenceTensors::compute(const Model& model,
                                                             const Predictions::View& seen,
                                                             std::span<const TensorView> outputs,
                                                             std::size_t first, std::size_t rows) {
  const Calibration& calibration = *model.config().calibration;
  const std::span<const std::int64_t> by_row(shape_.data(), 1);
  shape_ = {static_cast<std::int64_t>(rows), 0};
  const bool classes = is_probabilistic(model.config());
  if (rows != 0) {
    if (seen.scores == nullptr || seen.probabilities != classes) return {};
    if (classes) {
      sets(*seen.scores, model.threshold(), first, rows);
    } else {
      const Intervals found(model, *seen.scores, outputs);
      if (!found.readable()) return {};
      intervals(found, 1 - calibration.alpha, first, rows);
    }
  } else {
    confidence_.clear();
    set_.clear();
    lower_.clear();
    upper_.clear();
  }
  views_[0] = {kConfidence, wire::DType::fp64, by_row, bytes_of(confidence_), {}};
  if (classes) {
    shape_[1] = static_cast<std::int64_t>(rows != 0 ? seen.scores->columns
                                                    : model.config().prediction.classes.size());
    views_[1] = {kSet, wire::DType::boolean, shape_, bytes_of(set_), {}};
    return {views_.data(), 2};
  }
  views_[1] = {kLower, wire::DType::fp64, by_row, bytes_of(lower_), {}};
  views_[2] = {kUpper, wire::DType::fp64, by_row, bytes_of(upper_), {}};
  return {views_.data(), 3};
}

void ConfidenceTensors::sets(const sketch::TensorView& probabilities, double threshold, std::size_t first,
                             std::size_t rows) {
  const std::size_t classes = probabilities.columns;
  confidence_.resize(rows);
  set_.resize(rows * classes);
  for (std::size_t row = 0; row < rows; ++row) {
    std::uint8_t* const members = set_.data() + row * classes;
    std::size_t best = 0;
    double top = number_in(probabilities, first + row, 0);
    bool empty = true;
    for (std::size_t c = 0; c < classes; ++c) {
      const double p = number_in(probabilities, first + row, c);
      if (p > top) {
        top = p;
        best = c;
      }
      members[c] = 1 - p <= threshold ? 1 : 0;
      empty = empty && members[c] == 0;
    }
    if (empty) members[best] = 1;
    confidence_[row] = top;
  }
}

void ConfidenceTensors::intervals(const Intervals& of, double confidence, std::size_t first,
                                  std::size_t rows) {
  confidence_.assign(rows, confidence);
  lower_.resize(rows);
  upper_.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const Interval found = of.at(first + row);
    lower_[row] = found.lower;
    upper_[row] = found.upper;
  }
}

}  // namespace kedge::engine
