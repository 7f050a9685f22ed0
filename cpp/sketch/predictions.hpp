// Predicted classes and how sure the model was of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sketch/layout.hpp"
#include "sketch/state.hpp"
#include "sketch/tensor.hpp"

namespace kedge::sketch {

// Count class ids, [N] of an integer element.
void count_classes(const TensorView& ids, std::size_t classes, std::span<std::int64_t> counters);

// Count top probability, margin, entropy and reliability of [N, C] probabilities.
void count_confidence(const TensorView& probabilities, const State& state,
                      const std::vector<double>& reliability_edges, std::span<std::int64_t> words);

}  // namespace kedge::sketch
