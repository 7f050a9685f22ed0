#include "engine/evidence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kedge::engine {
namespace {

// The element as float64; NaN for one that is no number.
double number_at(const sketch::TensorView& view, std::size_t row, std::size_t column) {
  double value = std::numeric_limits<double>::quiet_NaN();
  sketch::with_element(view.element, [&]<class T>(T) {
    value = sketch::widen<double>(sketch::load<T>(view.at(row, column)));
  });
  return value;
}

}  // namespace

std::optional<Events> events_of(Code code) {
  switch (code) {
    case Code::kCancelled:
    case Code::kUnauthenticated:
      return std::nullopt;
    case Code::kResourceExhausted:
    case Code::kInternal:
    case Code::kUnavailable:
      return event(EventKind::errors);
    case Code::kDeadlineExceeded:
      return event(EventKind::timeouts);
    case Code::kInvalidArgument:
      return event(EventKind::refusals);
    default:
      return Events{0};
  }
}

ScoreRule::ScoreRule(const sketch::Layout& layout) : column_(layout.classes == 2 ? 1 : 0) {
  if (column_ >= layout.scores.size()) return;
  const sketch::NumericFeature& score = layout.scores[column_];
  if (layout.classes == 0) unit_ = score.edges.back() - score.edges.front();
  intervals_ = sketch::compile(score);
}

// The position of a value is the number of bounds that are not above it; none is for a NaN.
std::optional<std::size_t> ScoreRule::slot(double score) const {
  if (intervals_.bounds.empty()) return std::nullopt;
  if (std::isnan(score)) return intervals_.slot[0];
  const auto above = std::upper_bound(intervals_.bounds.begin(), intervals_.bounds.end(), score);
  return intervals_.slot[static_cast<std::size_t>(above - intervals_.bounds.begin())];
}

RowPrediction ScoreRule::read(const PredictionView& seen, std::size_t row) const {
  RowPrediction read;
  if (seen.classes != nullptr) read.label = sketch::load<std::int64_t>(seen.classes->at(row, 0));
  if (seen.scores != nullptr && column_ < seen.scores->columns)
    read.score = number_at(*seen.scores, row, column_);
  return read;
}

bool Evidence::answered(const Unit& unit, UnitFilter& filter, Events events, bool judged) {
  if (unit.kind == Unit::Kind::none) return false;
  const bool first = filter.first_request(unit);
  if (first) {
    ++words_[evidence::kUnits];
    words_[evidence::kJudged] += judged ? 1 : 0;
  }
  for (std::size_t kind = 0; events != 0 && kind < kEventKinds; ++kind) {
    if ((events & event(static_cast<EventKind>(kind))) == 0) continue;
    if (first) ++words_[evidence::kRequest + kind];
    if (filter.first_event(unit, static_cast<EventKind>(kind))) ++words_[evidence::kFirst + kind];
  }
  return first;
}

void Evidence::compared(const RowPrediction& live, std::int64_t live_ns, const RowPrediction& shadow,
                        std::int64_t shadow_ns, double unit) {
  ++words_[evidence::kCompared];
  words_[evidence::kLiveNs] += live_ns;
  words_[evidence::kShadowNs] += shadow_ns;
  if (live.label.has_value() && shadow.label.has_value()) {
    static constexpr std::size_t kLast = evidence::kAgreementClasses - 1;
    const auto place = [](std::int64_t label) {
      return label < 0 ? kLast : std::min(static_cast<std::size_t>(label), kLast);
    };
    ++words_[evidence::kAgreement + place(*live.label) * evidence::kAgreementClasses + place(*shadow.label)];
    words_[evidence::kDisagreed] += *live.label != *shadow.label ? 1 : 0;
  }
  if (live.score.has_value() && shadow.score.has_value()) {
    constexpr auto kBins = static_cast<double>(evidence::kDifferenceBins);
    const double difference = std::abs(*live.score - *shadow.score) / unit;
    const std::size_t bin =
        difference < 1.0 ? static_cast<std::size_t>(difference * kBins) : evidence::kDifferenceBins - 1;
    ++words_[evidence::kDifferences + bin];
  }
}

void Evidence::add(const Evidence& other) {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] += other.words_[i];
}

}  // namespace kedge::engine
