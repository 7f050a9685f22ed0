#include "engine/evidence.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "engine/check.hpp"
#include "engine/validity.hpp"
#include "sketch/ops.hpp"
#include "sketch/sketch.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
sketch::TensorView view(const std::vector<T>& values, std::size_t columns) {
  constexpr auto kElement = sizeof(T) == 4 ? sketch::Element::kFloat32 : sketch::Element::kFloat64;
  return {kElement, reinterpret_cast<const std::byte*>(values.data()), values.size() / columns,
          columns,  static_cast<std::ptrdiff_t>(columns * sizeof(T)),  sizeof(T)};
}

sketch::NumericFeature score() {
  sketch::NumericFeature feature;
  feature.name = "y";
  feature.edges = {-2.0, 0.1, 1.0, 6.0};
  feature.atoms = {0.0, 0.3};
  feature.valid_min = -5;
  feature.valid_max = 50;
  feature.missing = -4.0;
  return feature;
}

std::int64_t word(const Evidence& evidence, std::size_t at) { return evidence.words()[at]; }

// Every value falls where the kernel puts it.
template <class T>
void slots_are_those_of_the_kernel() {
  sketch::Layout layout;
  layout.scores = {score()};
  const ScoreRule rule(layout);
  std::vector<T> values;
  for (const double at : {-5.0, -4.0, -2.0, 0.0, 0.1, 0.3, 1.0, 6.0, 50.0, kNaN, kInfinity, -kInfinity}) {
    const auto exact = static_cast<T>(at);
    for (const T value : {exact, std::nextafter(exact, -std::numeric_limits<T>::infinity()),
                          std::nextafter(exact, std::numeric_limits<T>::infinity())})
      values.push_back(value);
  }
  const sketch::TensorView column = view(values, 1);
  for (std::size_t row = 0; row < values.size(); ++row) {
    auto made = sketch::Sketch::create(layout, *sketch::available_ops().front());
    sketch::TensorView one = column;
    one.data = column.at(row, 0);
    one.rows = 1;
    CHECK(made.value()->observe_predictions(nullptr, &one, false).ok());
    std::vector<std::int64_t> words(made.value()->state().words);
    std::vector<double> bounds(made.value()->state().bounds);
    made.value()->counts_into(words, bounds);
    const auto read = rule.read({nullptr, &column, false}, row);
    CHECK(read.score.has_value() && rule.slot(*read.score).has_value());
    CHECK(words[made.value()->state().scores[0].slots + *rule.slot(*read.score)] == 1);
  }
}

void the_score_is_that_of_the_second_of_two_classes() {
  sketch::Layout two;
  two.classes = 2;
  two.scores = {score(), score()};
  const std::vector<float> p = {0.25F, 0.75F};
  const sketch::TensorView scores = view(p, 2);
  CHECK(*ScoreRule(two).read({nullptr, &scores, true}, 0).score == 0.75);
  CHECK(ScoreRule(two).unit() == 1.0);
  sketch::Layout many;  // more classes than scores are kept of
  many.classes = 40;
  CHECK(*ScoreRule(many).read({nullptr, &scores, true}, 0).score == 0.25);
  CHECK(!ScoreRule(many).slot(0.25).has_value());
  sketch::Layout value;
  value.scores = {score()};
  CHECK(ScoreRule(value).unit() == 8.0);
  CHECK(!ScoreRule(value).read({}, 0).score.has_value());
}

void codes_are_events_of_their_kind_and_some_of_none() {
  for (const Code code : {Code::kResourceExhausted, Code::kInternal, Code::kUnavailable})
    CHECK(events_of(code) == event(EventKind::errors));
  CHECK(events_of(Code::kDeadlineExceeded) == event(EventKind::timeouts));
  CHECK(events_of(Code::kInvalidArgument) == event(EventKind::refusals));
  CHECK(events_of(Code::kOk) == Events{0});
  CHECK(!events_of(Code::kCancelled).has_value() && !events_of(Code::kUnauthenticated).has_value());
}

void a_unit_counts_once_a_counter() {
  UnitFilter filter;
  Evidence evidence;
  const Unit first = filter.enter(1, 1);
  const Unit again = filter.enter(1, 1);
  const auto invalid = static_cast<std::size_t>(EventKind::invalid);
  const auto slow = static_cast<std::size_t>(EventKind::slow);
  evidence.answered(first, filter, event(EventKind::slow));
  for (int i = 0; i < 3; ++i)
    evidence.answered(again, filter, static_cast<Events>(event(EventKind::slow) | event(EventKind::invalid)));
  evidence.answered(Unit{}, filter, event(EventKind::errors));
  CHECK(word(evidence, evidence::kUnits) == 1);
  CHECK(word(evidence, evidence::kFirst + slow) == 1 && word(evidence, evidence::kRequest + slow) == 1);
  CHECK(word(evidence, evidence::kFirst + invalid) == 1 && word(evidence, evidence::kRequest + invalid) == 0);
  CHECK(word(evidence, evidence::kFirst) == 0);
}

void pairs_are_told_by_class_and_by_difference() {
  Evidence evidence;
  evidence.compared({2, 0.5}, 10, {2, 0.5}, 30, 1.0);
  evidence.compared({0, 0.5}, 10, {12, 0.984375}, 30, 1.0);  // 31/64
  evidence.compared({-1, 0.0}, 10, {8, 1.0}, 30, 1.0);
  evidence.compared({3, kNaN}, 10, {std::nullopt, 0.5}, 30, 1.0);
  evidence.compared({std::nullopt, 3.0}, 10, {std::nullopt, 5.0}, 30, 8.0);
  CHECK(word(evidence, evidence::kCompared) == 5 && word(evidence, evidence::kDisagreed) == 2);
  CHECK(word(evidence, evidence::kLiveNs) == 50 && word(evidence, evidence::kShadowNs) == 150);
  CHECK(word(evidence, evidence::kAgreement + 2 * 9 + 2) == 1);
  CHECK(word(evidence, evidence::kAgreement + 0 * 9 + 8) == 1);
  CHECK(word(evidence, evidence::kAgreement + 8 * 9 + 8) == 1);
  CHECK(word(evidence, evidence::kDifferences) == 1);
  CHECK(word(evidence, evidence::kDifferences + 31) == 1);
  CHECK(word(evidence, evidence::kDifferences + 63) == 2);
  CHECK(word(evidence, evidence::kDifferences + 16) == 1);
  Evidence twice;
  twice.add(evidence);
  twice.add(evidence);
  CHECK(word(twice, evidence::kShadowNs) == 300);
}

template <class T>
void predictions_are_valid_when_a_caller_can_use_them() {
  const auto judged = [](std::vector<T> values, bool probabilities) {
    const sketch::TensorView scores = view(values, 2);
    return are_valid({nullptr, &scores, probabilities}, 0, scores.rows);
  };
  CHECK(judged({T{0}, T{1}, T{0.5}, T{0.5}}, true));
  CHECK(!judged({T{0}, T{1}, T{-0.5}, T{0.5}}, true) && judged({T{-0.5}, T{1024}}, false));
  CHECK(!judged({T{0}, std::nextafter(T{1}, T{2})}, true));
  for (const double bad : {kNaN, kInfinity, -kInfinity}) {
    CHECK(!judged({T{0}, T{0}, T{0}, static_cast<T>(bad)}, true));
    CHECK(!judged({T{0}, T{0}, T{0}, static_cast<T>(bad)}, false));
  }
  CHECK(are_valid({}, 0, 3));  // classes alone
  // One column of two, read with gaps.
  const std::vector<T> pairs = {T{1}, static_cast<T>(kNaN), T{2}, static_cast<T>(kNaN)};
  sketch::TensorView column = view(pairs, 2);
  column.columns = 1;
  CHECK(are_valid({nullptr, &column, false}, 0, 2) && are_finite(column, 0, 2));
  const sketch::TensorView both = view(pairs, 2);
  CHECK(!are_valid({nullptr, &both, false}, 1, 1) && !are_finite(both, 1, 1));
}

}  // namespace

int main() {
  slots_are_those_of_the_kernel<float>();
  slots_are_those_of_the_kernel<double>();
  the_score_is_that_of_the_second_of_two_classes();
  codes_are_events_of_their_kind_and_some_of_none();
  a_unit_counts_once_a_counter();
  pairs_are_told_by_class_and_by_difference();
  predictions_are_valid_when_a_caller_can_use_them<float>();
  predictions_are_valid_when_a_caller_can_use_them<double>();
  std::puts("ok");
}
