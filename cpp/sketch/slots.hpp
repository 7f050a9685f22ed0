// Numbers the contract fixes: slots, bins and limits. Names and meanings as in src/kedge/kernel/contract.py.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

namespace kedge::sketch {

inline constexpr std::size_t kMaxBins = 20;
inline constexpr std::size_t kMaxAtoms = 5;
inline constexpr std::size_t kNumericSlots = 32;
inline constexpr std::size_t kFirstAtom = kMaxBins;
inline constexpr std::size_t kUnderflow = 25;
inline constexpr std::size_t kOverflow = 26;
inline constexpr std::size_t kOutOfRange = 27;
inline constexpr std::size_t kNan = 28;
inline constexpr std::size_t kPosInf = 29;
inline constexpr std::size_t kNegInf = 30;
inline constexpr std::size_t kMissingSlot = 31;

inline constexpr std::size_t kMaxVocabulary = 60;
inline constexpr std::size_t kCategoricalSlots = 64;
inline constexpr std::size_t kCatOther = 60;
inline constexpr std::size_t kCatUnseen = 61;
inline constexpr std::size_t kCatMissing = 62;
inline constexpr std::size_t kCatInvalid = 63;

inline constexpr std::size_t kMaxScores = 32;
inline constexpr std::size_t kConfidenceBins = 20;
inline constexpr std::size_t kConfidenceSlots = 32;
inline constexpr std::size_t kConfidenceInvalid = 31;
inline constexpr std::size_t kReliabilityBins = 20;
inline constexpr double kProbabilityUnit = 4294967296.0;

inline constexpr std::size_t kLatencySubBits = 6;
inline constexpr std::size_t kLatencyBuckets = 2048;
inline constexpr std::size_t kBatchSizeBuckets = 12;
// Of a batch of at least one row.
constexpr std::size_t batch_size_bucket(std::size_t rows) {
  return std::min(kBatchSizeBuckets - 1, static_cast<std::size_t>(std::bit_width(rows - 1)));
}
inline constexpr std::size_t kStatusCodes = 17;
inline constexpr std::size_t kSchemaKinds = 3;
inline constexpr std::size_t kSummaries = 5;

// The most bounds a feature compiles to: 21 edges, two an atom, a valid range of two, a sentinel of two,
// three for the infinities.
inline constexpr std::size_t kMaxBounds = kMaxBins + 1 + 2 * kMaxAtoms + 2 + 2 + 3;
// Position 0 is below every bound: NaN alone, for -inf is itself a bound. One spare keeps the stride even.
inline constexpr std::size_t kPositions = kMaxBounds + 2;

}  // namespace kedge::sketch
