// A layout with something of everything, and one call of everything a sketch counts.
#pragma once

#include <doctest/doctest.h>

#include <array>

#include "helpers.hpp"

namespace kedge::sketch::test {

inline Layout mixed_layout() {
  Layout layout;
  layout.tensors = {{"x", 9, false}, {"word", 1, false}, {"image", 20, true}};
  for (std::size_t column = 0; column < 9; ++column)
    layout.features.emplace_back(numeric(0, column, {0, 1, 2}));
  layout.features.emplace_back(CategoricalFeature{"word", 1, 0, {"a", "b"}, {}, ""});
  layout.features.emplace_back(numeric(2, 2, {0, 10, 100}));
  layout.classes = 2;
  layout.scores = {numeric(0, 1, {0, 0.5, 1})};
  layout.schema_inputs = {"x"};
  layout.digest.fill(0xAB);
  return layout;
}

inline const std::vector<float> kX(9 * 4, 1.5F);
inline const std::vector<std::string_view> kWords = {"a", "b", "", "?"};
inline const std::vector<double> kImage(20 * 4, 2.0);
inline const std::vector<float> kScores = {0.25F, 0.75F, 0.5F, 0.5F};
inline const std::vector<std::int32_t> kIds = {1, 0};

inline void observe_all(Sketch& sketch) {
  const std::array tensors = {view(kX, 9), view(kWords), view(kImage, 20)};
  REQUIRE(sketch.observe(tensors).ok());
  const TensorView ids = view(kIds);
  const TensorView scores = view(kScores, 2);
  REQUIRE(sketch.observe_predictions(&ids, &scores, true).ok());
  const std::array<std::int64_t, 2> queue = {-1, 1'000'000};
  REQUIRE(sketch.observe_batch(queue, 5, 4).ok());
  sketch.observe_status(0, 4);
  sketch.observe_status(99);
  REQUIRE(sketch.observe_schema(SchemaKind::kMisshaped, 0).ok());
  sketch.observe_schema_unknown();
}

}  // namespace kedge::sketch::test
