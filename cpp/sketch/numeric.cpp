#include "sketch/numeric.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kedge::sketch {
namespace {

// Rows counted before the next group's turn: a block of 32 float32 features stays in the first-level cache.
constexpr std::size_t kBlockRows = 128;
// Sums of q * q <= 2^30 in a double stay exact below 2^53.
constexpr std::size_t kFlushRows = std::size_t{1} << 22U;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kMax = std::numeric_limits<double>::max();

struct Lane {
  std::size_t tensor = 0;
  std::size_t column = 0;
  FeatureState place;
  std::array<std::uint8_t, kPositions> slot{};
  std::int64_t sum_q = 0;
  std::int64_t sum_q2 = 0;
};

// Copy one column of a block into one lane of the scratch rows.
template <class Out>
void gather(const TensorView& view, std::size_t column, std::size_t first, std::size_t n, Out* out,
            std::size_t width) {
  const std::byte* at = view.at(first, column);
  with_element(view.element, [&](auto type) {
    using Value = decltype(type);
    for (std::size_t row = 0; row < n; ++row, at += view.row_stride)
      out[row * width] = widen<Out>(load<Value>(at));
  });
}

std::int64_t wrapping_add(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

}  // namespace

struct NumericCounter::Group {
  alignas(64) float bounds32[kMaxBounds * kMaxWidth];
  alignas(64) double bounds64[kMaxBounds * kMaxWidth];
  alignas(64) double lowest[kMaxWidth];
  alignas(64) double highest[kMaxWidth];
  alignas(64) double missing[kMaxWidth];
  alignas(64) double center[kMaxWidth];
  alignas(64) double scale[kMaxWidth];
  alignas(64) double sum_q[kMaxWidth];
  alignas(64) double sum_q2[kMaxWidth];
  alignas(64) double minimum[kMaxWidth];
  alignas(64) double maximum[kMaxWidth];
  alignas(64) std::int64_t hits[kMaxWidth * kPositions];
  std::vector<Lane> lanes;
  std::size_t bounds = 0;
  bool consecutive = false;  // a full width of neighbouring columns of one tensor

  Group(std::span<const Item> items, std::size_t width);
  GroupView view();
  void clear();
  const std::byte* in_place(std::span<const TensorView> tensors) const;
  void flush_sums();
};

NumericCounter::Group::Group(std::span<const Item> items, std::size_t width) {
  std::fill(std::begin(bounds32), std::end(bounds32), std::numeric_limits<float>::quiet_NaN());
  std::fill(std::begin(bounds64), std::end(bounds64), kNaN);
  std::fill(std::begin(lowest), std::end(lowest), kInfinity);  // a dead lane covers nothing
  std::fill(std::begin(highest), std::end(highest), -kInfinity);
  std::fill(std::begin(missing), std::end(missing), kNaN);
  std::fill(std::begin(center), std::end(center), 0.0);
  std::fill(std::begin(scale), std::end(scale), 1.0);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const NumericFeature& feature = *items[i].feature;
    const Intervals intervals = compile(feature);
    bounds = std::max(bounds, intervals.bounds.size());
    for (std::size_t k = 0; k < intervals.bounds.size(); ++k) {
      bounds32[k * width + i] = round_up(intervals.bounds[k]);
      bounds64[k * width + i] = intervals.bounds[k];
    }
    lowest[i] = std::max(feature.valid_min, -kMax);
    highest[i] = std::min(feature.valid_max, kMax);
    missing[i] = feature.missing.value_or(kNaN);
    center[i] = feature.center;
    scale[i] = feature.scale;
    lanes.push_back({feature.tensor, feature.column, items[i].place, intervals.slot});
  }
  consecutive = lanes.size() == width;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    consecutive = consecutive && lanes[i].tensor == lanes[0].tensor && lanes[i].column == lanes[0].column + i;
  }
  clear();
}

void NumericCounter::Group::clear() {
  std::fill(std::begin(sum_q), std::end(sum_q), 0.0);
  std::fill(std::begin(sum_q2), std::end(sum_q2), 0.0);
  std::fill(std::begin(minimum), std::end(minimum), kInfinity);
  std::fill(std::begin(maximum), std::end(maximum), -kInfinity);
  std::fill(std::begin(hits), std::end(hits), 0);
  for (Lane& lane : lanes) lane.sum_q = lane.sum_q2 = 0;
}

GroupView NumericCounter::Group::view() {
  return {bounds32, bounds64, bounds, lanes.size(), lowest,  highest, missing,
          center,   scale,    sum_q,  sum_q2,       minimum, maximum, hits};
}

// The first row, where the loops can read the tensor itself; else null.
const std::byte* NumericCounter::Group::in_place(std::span<const TensorView> tensors) const {
  if (!consecutive) return nullptr;
  const TensorView& tensor = tensors[lanes[0].tensor];
  const bool packed = (tensor.element == Element::kFloat32 && tensor.column_stride == 4) ||
                      (tensor.element == Element::kFloat64 && tensor.column_stride == 8);
  return packed ? tensor.at(0, lanes[0].column) : nullptr;
}

void NumericCounter::Group::flush_sums() {
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    lanes[i].sum_q = wrapping_add(lanes[i].sum_q, static_cast<std::int64_t>(sum_q[i]));
    lanes[i].sum_q2 = wrapping_add(lanes[i].sum_q2, static_cast<std::int64_t>(sum_q2[i]));
    sum_q[i] = sum_q2[i] = 0.0;
  }
}

NumericCounter::NumericCounter(const Ops& ops, std::span<const Item> items)
    : ops_(&ops), scratch_(new std::byte[kBlockRows * kMaxWidth * sizeof(double)]) {
  std::vector<Item> sorted(items.begin(), items.end());
  const auto where = [](const Item& item) { return std::pair(item.feature->tensor, item.feature->column); };
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const Item& a, const Item& b) { return where(a) < where(b); });
  const auto cut = [&](std::span<const Item> group) {
    groups_.push_back(std::make_unique<Group>(group, ops.width));
  };
  std::vector<Item> rest;
  for (std::size_t i = 0; i < sorted.size();) {
    std::size_t run = 1;
    const auto [tensor, column] = where(sorted[i]);
    while (run < ops.width && i + run < sorted.size() &&
           where(sorted[i + run]) == std::pair(tensor, column + run))
      ++run;
    if (run == ops.width) {
      cut(std::span(sorted).subspan(i, run));
      i += run;
    } else {
      rest.push_back(sorted[i++]);
    }
  }
  for (std::size_t i = 0; i < rest.size(); i += ops.width) {
    cut(std::span(rest).subspan(i, std::min(ops.width, rest.size() - i)));
  }
}

NumericCounter::NumericCounter(NumericCounter&&) noexcept = default;
NumericCounter& NumericCounter::operator=(NumericCounter&&) noexcept = default;
NumericCounter::~NumericCounter() = default;

void NumericCounter::observe(std::span<const TensorView> tensors, std::size_t rows) {
  for (std::size_t first = 0; first < rows; first += kBlockRows) {
    const std::size_t n = std::min(kBlockRows, rows - first);
    for (const auto& group : groups_) {
      const TensorView& tensor = tensors[group->lanes[0].tensor];
      const std::byte* block = group->in_place(tensors);
      std::ptrdiff_t stride = tensor.row_stride;
      bool narrow = tensor.element == Element::kFloat32;
      if (block != nullptr) {
        block += static_cast<std::ptrdiff_t>(first) * stride;
      } else {
        narrow = std::all_of(group->lanes.begin(), group->lanes.end(),
                             [&](const Lane& lane) { return fits_float32(tensors[lane.tensor].element); });
        block = scratch_.get();
        stride = static_cast<std::ptrdiff_t>(ops_->width * (narrow ? sizeof(float) : sizeof(double)));
        for (std::size_t i = 0; i < group->lanes.size(); ++i) {
          const Lane& lane = group->lanes[i];
          void* const out = scratch_.get();
          if (narrow) {
            gather(tensors[lane.tensor], lane.column, first, n, static_cast<float*>(out) + i, ops_->width);
          } else {
            gather(tensors[lane.tensor], lane.column, first, n, static_cast<double*>(out) + i, ops_->width);
          }
        }
      }
      const GroupView view = group->view();
      (narrow ? ops_->count32 : ops_->count64)(view, block, stride, n);
      (narrow ? ops_->moments32 : ops_->moments64)(view, block, stride, n);
    }
    rows_since_flush_ += n;
    if (rows_since_flush_ >= kFlushRows) flush_sums();
  }
}

void NumericCounter::flush_sums() {
  for (const auto& group : groups_) group->flush_sums();
  rows_since_flush_ = 0;
}

void NumericCounter::add_to(std::span<std::int64_t> words, std::span<double> bounds) const {
  for (const auto& group : groups_) {
    for (std::size_t i = 0; i < group->lanes.size(); ++i) {
      const Lane& lane = group->lanes[i];
      const auto slots = words.subspan(lane.place.slots, kNumericSlots + 2);
      for (std::size_t position = 0; position < kPositions; ++position) {
        slots[lane.slot[position]] += group->hits[i * kPositions + position];
      }
      const auto add = [&](std::size_t word, std::int64_t flushed, double recent) {
        slots[word] = wrapping_add(slots[word], wrapping_add(flushed, static_cast<std::int64_t>(recent)));
      };
      add(kNumericSlots, lane.sum_q, group->sum_q[i]);
      add(kNumericSlots + 1, lane.sum_q2, group->sum_q2[i]);
      bounds[lane.place.bounds] = std::min(bounds[lane.place.bounds], group->minimum[i]);
      bounds[lane.place.bounds + 1] = std::max(bounds[lane.place.bounds + 1], group->maximum[i]);
    }
  }
}

void NumericCounter::clear() {
  for (const auto& group : groups_) group->clear();
  rows_since_flush_ = 0;
}

}  // namespace kedge::sketch
