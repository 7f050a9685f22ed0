#include "sketch/predictions.hpp"

#include <doctest/doctest.h>

#include "helpers.hpp"

namespace kedge::sketch::test {

TEST_CASE("ids outside the classes share the last counter") {
  std::vector<std::int64_t> counters(3);
  count_classes(view(std::vector<std::int64_t>{0, 1, 1, 2, -1, std::numeric_limits<std::int64_t>::min()}), 2,
                counters);
  CHECK(counters == std::vector<std::int64_t>{1, 2, 3});
  count_classes(view(std::vector<std::int8_t>{-1, 1}), 2, counters);
  CHECK(counters == std::vector<std::int64_t>{1, 3, 4});
}

TEST_CASE("confidence falls into its bins") {
  Layout layout;
  layout.classes = 2;
  layout.reliability_edges = {0.75};
  const State state(layout);
  std::vector<std::int64_t> words(state.words);
  const std::vector<double> p = {0.75, 0.25, 0.5, 0.5, 1.0, 0.0, kNaN, 0.0, 1.25, -0.25};
  count_confidence(view(p, 2), state, layout.reliability_edges, words);
  CHECK(words[state.top + 15] == 1);
  CHECK(words[state.top + 10] == 1);
  CHECK(words[state.top + 19] == 1);
  CHECK(words[state.margin + 10] == 1);
  CHECK(words[state.margin + 0] == 1);
  CHECK(words[state.entropy + 0] == 1);
  CHECK(words[state.entropy + 19] == 1);
  CHECK(words[state.entropy + kConfidenceInvalid] == 2);
  CHECK(words[state.reliability_n] == 1);
  CHECK(words[state.reliability_n + 1] == 2);
  CHECK(words[state.reliability_p] == std::int64_t{1} << 31U);
  CHECK(words[state.reliability_v + 1] == std::int64_t{3} << 28U);
}

}  // namespace kedge::sketch::test
