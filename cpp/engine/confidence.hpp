// Confidence of predictions, from the conformal threshold of the bundle's calibration. The portable twin is
// kedge/plane/portable/confidence.py.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/model.hpp"
#include "engine/predictions.hpp"
#include "wire/infer_response.hpp"

namespace kedge::engine {

inline constexpr std::string_view kConfidence = "kedge.confidence";
inline constexpr std::string_view kSet = "kedge.set";
inline constexpr std::string_view kLower = "kedge.lower";
inline constexpr std::string_view kUpper = "kedge.upper";

// Whether the model's confidence can be told: "" or why not.
std::string_view no_confidence(const ModelConfig& config);

struct Interval {
  double lower;
  double upper;
};

// The intervals of a run that predicted values.
class Intervals {
 public:
  // `values` and what `outputs` hold of them must outlive it.
  Intervals(const Model& model, const sketch::TensorView& values, std::span<const TensorView> outputs);
  // False: an output the score needs is not what the bundle says.
  bool readable() const { return readable_; }
  Interval at(std::size_t row) const;

 private:
  ScoreKind score_;
  double threshold_;
  sketch::TensorView values_;
  std::array<sketch::TensorView, 2> bounds_;  // sigma; or lower and upper
  bool readable_ = true;
};

// The tensors that `kedge_confidence` adds to one answer; holds them until the next `compute`.
class ConfidenceTensors {
 public:
  // Of rows [first, first + rows) of a run. None where the outputs are not what the bundle says.
  std::span<const wire::OutputView> compute(const Model& model, const Predictions::View& seen,
                                            std::span<const TensorView> outputs, std::size_t first,
                                            std::size_t rows);
  // What it holds.
  std::size_t bytes() const {
    return set_.capacity() +
           sizeof(double) * (confidence_.capacity() + lower_.capacity() + upper_.capacity());
  }

 private:
  void sets(const sketch::TensorView& probabilities, double threshold, std::size_t first, std::size_t rows);
  void intervals(const Intervals& of, double confidence, std::size_t first, std::size_t rows);

  std::vector<double> confidence_;
  std::vector<double> lower_;
  std::vector<double> upper_;
  std::vector<std::uint8_t> set_;
  std::array<std::int64_t, 2> shape_{};
  std::array<wire::OutputView, 3> views_;
};

}  // namespace kedge::engine
