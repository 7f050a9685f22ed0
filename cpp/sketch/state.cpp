#include "sketch/state.hpp"

namespace kedge::sketch {

State::State(const Layout& layout) {
  words = kStatusWord + kStatusCodes;
  const auto take = [this](std::size_t count) {
    words += count;
    return words - count;
  };
  const auto take_numeric = [&] {
    bounds += 2;
    return FeatureState{take(kNumericSlots + 2), bounds - 2};
  };
  for (const Feature& feature : layout.features) {
    const bool numeric = std::holds_alternative<NumericFeature>(feature);
    features.push_back(numeric ? take_numeric() : FeatureState{take(kCategoricalSlots), 0});
  }
  const bool watched = layout.classes > 0;
  classes = take(watched ? layout.classes + 1 : 0);
  for (std::size_t i = 0; i < layout.scores.size(); ++i) scores.push_back(take_numeric());
  const std::size_t slots = watched ? kConfidenceSlots : 0;
  top = take(slots);
  margin = take(slots);
  entropy = take(slots);
  const std::size_t bins = watched ? layout.reliability_edges.size() + 1 : 0;
  reliability_n = take(bins);
  reliability_p = take(bins);
  reliability_v = take(bins);
  schema = take(layout.schema_inputs.size() * kSchemaKinds);
  latency_queue = take(kLatencyBuckets);
  latency_run_by_size = take(kBatchSizeBuckets * kLatencyBuckets);
}

}  // namespace kedge::sketch
