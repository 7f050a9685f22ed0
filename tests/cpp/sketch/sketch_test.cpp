#include "sketch/sketch.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "mixed_layout.hpp"

namespace kedge::sketch::test {
TEST_CASE("a sketch counts everything it is shown") {
  for (const Ops* ops : available_ops()) {
    const auto sketch = make(mixed_layout(), *ops);
    observe_all(*sketch);
    const Counts found = counts(*sketch);
    const State& state = sketch->state();
    CHECK(found.words[kRowsWord] == 4);
    CHECK(found.words[state.features[0].slots + 1] == 4);
    CHECK(found.words[state.features[9].slots + kCatMissing] == 1);
    CHECK(found.words[state.features[10].slots] == 4);  // the norm of 20 twos is 8.9
    CHECK(found.words[state.classes] == 1);
    CHECK(found.words[state.scores[0].slots + 1] == 2);
    CHECK(found.words[kStatusWord] == 4);
    CHECK(found.words[kStatusWord + 2] == 1);
    CHECK(found.words[state.schema + 2] == 1);
    CHECK(found.words[kSchemaUnknownWord] == 1);
    CHECK(found.words[state.latency_queue] == 1);
    CHECK(found.words[state.latency_run_by_size + 2 * kLatencyBuckets + 5] == 1);
    CHECK(found.bounds[0] == 1.5);
  }
}

TEST_CASE("what does not fit is refused and not counted") {
  const auto sketch = make(mixed_layout(), *available_ops().front());
  const Counts before = counts(*sketch);
  const TensorView x = view(kX, 9);
  const TensorView words = view(kWords);
  const TensorView image = view(kImage, 20);
  TensorView short_words = words;
  short_words.rows = 3;
  CHECK_FALSE(sketch->observe(std::array{x, words}).ok());
  CHECK_FALSE(sketch->observe(std::array{x, short_words, image}).ok());
  CHECK_FALSE(sketch->observe(std::array{view(kX, 3), words, image}).ok());
  CHECK_FALSE(sketch->observe(std::array{x, words, view(kWords, 4)}).ok());
  const TensorView scores = view(kScores, 2);
  const TensorView ids = view(kIds);
  CHECK_FALSE(sketch->observe_predictions(&scores, nullptr, false).ok());
  CHECK_FALSE(sketch->observe_predictions(nullptr, &ids, false).ok());
  CHECK_FALSE(sketch->observe_predictions(&ids, nullptr, true).ok());
  CHECK_FALSE(sketch->observe_batch({}, 1, 0).ok());
  CHECK_FALSE(sketch->observe_schema(SchemaKind::kMissing, 1).ok());
  CHECK_FALSE(sketch->merge(std::array<std::int64_t, 1>{1}, {}).ok());
  CHECK(counts(*sketch) == before);
}

TEST_CASE("merging adds, resetting forgets, and the snapshot has its header") {
  const auto sketch = make(mixed_layout(), *available_ops().front());
  const Counts empty = counts(*sketch);
  observe_all(*sketch);
  const Counts once = counts(*sketch);
  observe_all(*sketch);
  const auto merged = make(mixed_layout(), *available_ops().back());
  REQUIRE(merged->merge(once.words, once.bounds).ok());
  observe_all(*merged);
  CHECK(counts(*merged) == counts(*sketch));

  std::vector<std::byte> bytes(sketch->state().snapshot_bytes());
  REQUIRE(sketch->snapshot_into(bytes).ok());
  CHECK(std::memcmp(bytes.data(), "KDGC\1\0\0\0", 8) == 0);
  CHECK(bytes[8] == std::byte{0xAB});
  CHECK(load<std::uint64_t>(bytes.data() + 40) == sketch->state().words);
  CHECK(load<std::int64_t>(bytes.data() + kHeaderBytes) == 8);
  CHECK_FALSE(sketch->snapshot_into(std::span(bytes).first(bytes.size() - 8)).ok());

  sketch->reset();
  CHECK(counts(*sketch) == empty);
}

TEST_CASE("a sketch adds up to another, and one of another layout does not") {
  const auto twice = make(mixed_layout(), *available_ops().front());
  observe_all(*twice);
  observe_all(*twice);
  const auto once = make(mixed_layout(), *available_ops().back());
  observe_all(*once);
  const auto sum = make(mixed_layout(), *available_ops().front());
  observe_all(*sum);
  REQUIRE(sum->merge(*once).ok());
  CHECK(counts(*sum) == counts(*twice));
  observe_all(*sum);
  REQUIRE(once->merge(*twice).ok());
  CHECK(counts(*once) == counts(*sum));

  Layout smaller = mixed_layout();
  smaller.schema_inputs.clear();
  CHECK_FALSE(sum->merge(*make(smaller, *available_ops().front())).ok());
  CHECK(counts(*once) == counts(*sum));
}

TEST_CASE("instruction sets are found by name") {
  for (const Ops* ops : available_ops()) CHECK(find_ops(ops->isa) == ops);
  CHECK(find_ops("mmx") == nullptr);
}

}  // namespace kedge::sketch::test
