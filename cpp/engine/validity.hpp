// Whether predictions are ones a caller can use: finite, and probabilities within [0, 1].
#pragma once

#include <cstddef>

#include "sketch/tensor.hpp"

namespace kedge::engine {

// A batch's predictions as they are counted: classes, scores, and whether the scores are probabilities.
struct PredictionView {
  const sketch::TensorView* classes = nullptr;
  const sketch::TensorView* scores = nullptr;
  bool probabilities = false;
};

// Of all `count` rows from `first` on. Classes alone are always valid.
bool are_valid(const PredictionView& seen, std::size_t first, std::size_t count);

// Whether no element of these rows is infinite or NaN; strings and integers never are.
bool are_finite(const sketch::TensorView& tensor, std::size_t first, std::size_t count);

}  // namespace kedge::engine
