#include "sketch/predictions.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace kedge::sketch {
namespace {

std::size_t confidence_bin(double value) {
  return std::min(kConfidenceBins - 1,
                  static_cast<std::size_t>(value * static_cast<double>(kConfidenceBins)));
}

void add_probability(std::int64_t& sum, double value) {
  const auto units = static_cast<std::uint64_t>(std::nearbyint(value * kProbabilityUnit));
  sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(sum) + units);
}

struct Confidence {
  bool valid = true;
  double top = -1.0;
  double second = -1.0;
  double entropy = 0.0;  // in nats
};

template <class Value>
Confidence confidence_of(const std::byte* at, std::ptrdiff_t stride, std::size_t classes) {
  Confidence row;
  for (std::size_t i = 0; i < classes; ++i, at += stride) {
    const auto p = widen<double>(load<Value>(at));
    if (!(p >= 0.0 && p <= 1.0)) {
      row.valid = false;
      return row;
    }
    row.second = std::max(row.second, std::min(row.top, p));
    row.top = std::max(row.top, p);
    if (p > 0.0) row.entropy -= p * std::log(p);
  }
  return row;
}

}  // namespace

void count_classes(const TensorView& ids, std::size_t classes, std::span<std::int64_t> counters) {
  with_element(ids.element, [&](auto type) {
    using Value = decltype(type);
    if constexpr (std::is_integral_v<Value>) {
      for (std::size_t row = 0; row < ids.rows; ++row) {
        // A negative id wraps to one that is far too large.
        const auto id = static_cast<std::uint64_t>(load<Value>(ids.at(row, 0)));
        ++counters[id < classes ? static_cast<std::size_t>(id) : classes];
      }
    }
  });
}

void count_confidence(const TensorView& probabilities, const State& state,
                      const std::vector<double>& reliability_edges, std::span<std::int64_t> words) {
  const std::size_t classes = probabilities.columns;
  const double most = classes > 1 ? std::log(static_cast<double>(classes)) : 1.0;
  with_element(probabilities.element, [&](auto type) {
    using Value = decltype(type);
    for (std::size_t i = 0; i < probabilities.rows; ++i) {
      const Confidence row =
          confidence_of<Value>(probabilities.at(i, 0), probabilities.column_stride, classes);
      if (!row.valid) {
        for (const std::size_t histogram : {state.top, state.margin, state.entropy}) {
          ++words[histogram + kConfidenceInvalid];
        }
        continue;
      }
      const double top = row.top + 0.0;
      ++words[state.top + confidence_bin(top)];
      ++words[state.margin + confidence_bin(classes > 1 ? top - row.second : top)];
      ++words[state.entropy + confidence_bin(classes > 1 ? std::clamp(row.entropy / most, 0.0, 1.0) : 0.0)];
      const auto above = std::upper_bound(reliability_edges.begin(), reliability_edges.end(), top);
      const auto bin = static_cast<std::size_t>(above - reliability_edges.begin());
      ++words[state.reliability_n + bin];
      add_probability(words[state.reliability_p + bin], top);
      add_probability(words[state.reliability_v + bin], top * (1.0 - top));
    }
  });
}

}  // namespace kedge::sketch
