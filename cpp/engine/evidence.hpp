// What arms of one route are compared by. The contract, with the meaning of every word, is
// src/kedge/plane/evidence.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/status.hpp"
#include "engine/unit_filter.hpp"
#include "engine/validity.hpp"
#include "sketch/intervals.hpp"

namespace kedge::engine {

namespace evidence {

inline constexpr std::size_t kUnits = 0;
inline constexpr std::size_t kFirst = kUnits + 1;
inline constexpr std::size_t kRequest = kFirst + kEventKinds;
inline constexpr std::size_t kScores = kRequest + kEventKinds;
inline constexpr std::size_t kOffered = kScores + sketch::kNumericSlots;
inline constexpr std::size_t kDropped = kOffered + 1;
inline constexpr std::size_t kFailed = kDropped + 1;
inline constexpr std::size_t kCompared = kFailed + 1;
inline constexpr std::size_t kDisagreed = kCompared + 1;
inline constexpr std::size_t kLiveNs = kDisagreed + 1;
inline constexpr std::size_t kShadowNs = kLiveNs + 1;
inline constexpr std::size_t kAgreement = kShadowNs + 1;
inline constexpr std::size_t kAgreementClasses = 9;
inline constexpr std::size_t kDifferences = kAgreement + kAgreementClasses * kAgreementClasses;
inline constexpr std::size_t kDifferenceBins = 64;
inline constexpr std::size_t kJudged = kDifferences + kDifferenceBins;
inline constexpr std::size_t kWords = kJudged + 1;

}  // namespace evidence

// A set of event kinds, one bit each.
using Events = std::uint8_t;
constexpr Events event(EventKind kind) { return static_cast<Events>(1U << static_cast<unsigned>(kind)); }

// What an answer's code is an event of; nothing for a code that counts as nothing at all. (UNKNOWN and
// DATA_LOSS are errors too; this plane never answers them.)
std::optional<Events> events_of(Code code);

// What a prediction says of one row, as far as its bundle says it.
struct RowPrediction {
  std::optional<std::int64_t> label;
  std::optional<double> score;
};

// Which score of a row arms are compared by, and its slot.
class ScoreRule {
 public:
  explicit ScoreRule(const sketch::Layout& layout);

  RowPrediction read(const PredictionView& seen, std::size_t row) const;
  // Null where the bundle's layout has no such score.
  std::optional<std::size_t> slot(double score) const;
  // What a difference of scores of 1 stands for: values are compared in spans of the reference.
  double unit() const { return unit_; }

 private:
  std::size_t column_;
  double unit_ = 1;
  sketch::Intervals intervals_;
};

// The counts of one cell by one writer.
class Evidence {
 public:
  // A request that was drawn was answered, with these events. `judged`: it ran in a batch of a size whose
  // slow runs can be told. Returns whether it was the first of its unit.
  bool answered(const Unit& unit, UnitFilter& filter, Events events, bool judged = false);
  // The score of the first row of a unit's first request.
  void scored(std::size_t slot) { ++words_[evidence::kScores + slot]; }

  void offered(std::int64_t count) { words_[evidence::kOffered] += count; }
  void dropped(std::int64_t count) { words_[evidence::kDropped] += count; }
  void failed(std::int64_t count) { words_[evidence::kFailed] += count; }
  // One pair. `unit`: ScoreRule's.
  void compared(const RowPrediction& live, std::int64_t live_ns, const RowPrediction& shadow,
                std::int64_t shadow_ns, double unit);

  void add(const Evidence& other);
  std::span<const std::int64_t, evidence::kWords> words() const { return words_; }

 private:
  std::array<std::int64_t, evidence::kWords> words_{};
};

}  // namespace kedge::engine
