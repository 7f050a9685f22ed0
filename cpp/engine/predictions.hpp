// From a run's outputs to what of them is counted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model.hpp"
#include "engine/validity.hpp"
#include "sketch/tensor.hpp"

namespace kedge::engine {

// A tensor as the sketch reads it: [rows, columns] of numbers, or of string views.
sketch::TensorView counted(const TensorView& tensor);

// An element of scores, which are float32 or float64.
inline double number_in(const sketch::TensorView& scores, std::size_t row, std::size_t column) {
  const std::byte* const at = scores.at(row, column);
  return scores.element == sketch::Element::kFloat32 ? static_cast<double>(sketch::load<float>(at))
                                                     : sketch::load<double>(at);
}

// Classes, scores, and whether the scores are probabilities. Holds what had to be computed until the next
// `read`.
class Predictions {
 public:
  using View = PredictionView;

  // Reads the outputs of `rows` rows. Outputs that are not what the bundle says give an empty view.
  View read(const Model& model, std::span<const TensorView> outputs, std::size_t rows);

 private:
  bool class_ids(const Model& model, const TensorView& labels, std::size_t rows);
  bool probabilities(const TensorView& scores, std::size_t rows, bool logits);
  template <class T>
  void convert(const TensorView& scores, std::size_t rows, std::size_t columns, bool logits);
  template <class T>
  void argmax(const sketch::TensorView& scores);

  std::vector<std::int64_t> ids_;
  std::vector<double> computed_;
  sketch::TensorView classes_;
  sketch::TensorView scores_;
};

}  // namespace kedge::engine
