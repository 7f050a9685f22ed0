#include "engine/validity.hpp"

#include <cmath>
#include <limits>

namespace kedge::engine {
namespace {

// Whether every element lies in [least, most]; a NaN never does. No early end: almost all batches are valid,
// and the loop without one is a few vector instructions.
template <class T>
bool within(const sketch::TensorView& tensor, std::size_t first, std::size_t count, T least, T most) {
  bool inside = true;
  for (std::size_t row = first; row < first + count; ++row) {
    for (std::size_t column = 0; column < tensor.columns; ++column) {
      const T value = sketch::load<T>(tensor.at(row, column));
      inside = inside & (value >= least) & (value <= most);
    }
  }
  return inside;
}

// The same for rows that lie one after another without gaps: one loop.
template <class T>
bool all_within(const sketch::TensorView& tensor, std::size_t first, std::size_t count, T least, T most) {
  const auto packed = static_cast<std::ptrdiff_t>(tensor.columns * sizeof(T));
  if (tensor.column_stride != sizeof(T) || tensor.row_stride != packed)
    return within(tensor, first, count, least, most);
  const std::byte* at = tensor.at(first, 0);
  bool inside = true;
  for (std::size_t i = 0; i < count * tensor.columns; ++i) {
    const T value = sketch::load<T>(at + i * sizeof(T));
    inside = inside & (value >= least) & (value <= most);
  }
  return inside;
}

template <class T>
bool valid(const PredictionView& seen, std::size_t first, std::size_t count) {
  constexpr T kMost = std::numeric_limits<T>::max();
  return seen.probabilities ? all_within<T>(*seen.scores, first, count, T{0}, T{1})
                            : all_within<T>(*seen.scores, first, count, -kMost, kMost);
}

}  // namespace

bool are_valid(const PredictionView& seen, std::size_t first, std::size_t count) {
  if (seen.scores == nullptr) return true;
  return seen.scores->element == sketch::Element::kFloat32 ? valid<float>(seen, first, count)
                                                           : valid<double>(seen, first, count);
}

bool are_finite(const sketch::TensorView& tensor, std::size_t first, std::size_t count) {
  if (!sketch::is_floating(tensor.element)) return true;
  bool finite = true;
  sketch::with_element(tensor.element, [&]<class T>(T) {
    for (std::size_t row = first; row < first + count; ++row) {
      for (std::size_t column = 0; column < tensor.columns; ++column) {
        finite = finite && std::isfinite(sketch::widen<double>(sketch::load<T>(tensor.at(row, column))));
      }
    }
  });
  return finite;
}

}  // namespace kedge::engine
