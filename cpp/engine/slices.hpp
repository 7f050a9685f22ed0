// Which slice of the traffic a row is in. The scheme is that of src/kedge/bundle/slices.py, which is tested
// against this.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "engine/tensor.hpp"
#include "sketch/categorical.hpp"

namespace kedge::engine {

// A feature that slices: a categorical one, or a numeric one with its edges.
struct SliceFeature {
  std::size_t input = 0;  // of the session's inputs
  std::size_t column = 0;
  std::uint16_t stride = 1;  // of a place in the id
  std::vector<double> edges;
  double missing = std::numeric_limits<double>::quiet_NaN();  // beside NaN
  std::optional<sketch::CategoricalFeature> categories;
  std::array<std::uint8_t, sketch::kCategoricalSlots> places{};  // of the kernel's slots
};

class Slices {
 public:
  using Views = std::vector<sketch::TensorView>;

  explicit Slices(const std::vector<SliceFeature>& features);

  // The inputs that the features read, of `rows` rows. Empty where there are no features, or an input has not
  // a row for each: such rows are in no slice.
  void read(std::span<const TensorView> inputs, std::size_t rows, Views& views) const;
  // The id of a row of what was read; 0 where that is empty.
  std::uint16_t id(const Views& views, std::size_t row) const;

 private:
  struct Feature {
    SliceFeature said;
    std::optional<sketch::CategoryTable> table;
  };
  std::vector<Feature> features_;
};

}  // namespace kedge::engine
