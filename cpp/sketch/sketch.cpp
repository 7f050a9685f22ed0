#include "sketch/sketch.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "sketch/predictions.hpp"

namespace kedge::sketch {
namespace {

static_assert(std::endian::native == std::endian::little, "snapshots are written as they lie in memory");

constexpr std::uint32_t kUnknownStatus = 2;
constexpr std::uint16_t kSnapshotVersion = 1;

Status refuse(std::string what) { return {Code::kFailedPrecondition, std::move(what)}; }

std::vector<NumericCounter::Item> numeric_items(const Layout& layout, const State& state) {
  std::vector<NumericCounter::Item> items;
  for (std::size_t i = 0; i < layout.features.size(); ++i) {
    if (const auto* feature = std::get_if<NumericFeature>(&layout.features[i])) {
      items.push_back({feature, state.features[i]});
    }
  }
  return items;
}

std::vector<NumericCounter::Item> score_items(const Layout& layout, const State& state) {
  std::vector<NumericCounter::Item> items;
  for (std::size_t i = 0; i < layout.scores.size(); ++i)
    items.push_back({&layout.scores[i], state.scores[i]});
  return items;
}

std::size_t latency_bucket(std::int64_t nanoseconds) {
  const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(0, nanoseconds));
  if (value < (1U << kLatencySubBits)) return static_cast<std::size_t>(value);
  const auto shift = static_cast<std::size_t>(std::bit_width(value)) - 1 - kLatencySubBits;
  return std::min(kLatencyBuckets - 1, (shift << kLatencySubBits) + static_cast<std::size_t>(value >> shift));
}

}  // namespace

Result<std::unique_ptr<Sketch>> Sketch::create(const Layout& layout, const Ops& ops) {
  Status status = validate(layout);
  if (!status.ok()) return status;
  return std::unique_ptr<Sketch>(new Sketch(layout, ops));
}

Sketch::Sketch(const Layout& layout, const Ops& ops)
    : layout_(layout),
      state_(layout),
      ops_(&ops),
      features_(ops, numeric_items(layout_, state_)),
      scores_(ops, score_items(layout_, state_)),
      views_(layout.tensors.size()),
      summaries_(layout.tensors.size()) {
  for (std::size_t i = 0; i < layout_.features.size(); ++i) {
    if (const auto* feature = std::get_if<CategoricalFeature>(&layout_.features[i])) {
      categorical_.emplace_back(*feature, state_.features[i].slots);
    }
  }
  words_.resize(state_.words);
  bounds_.resize(state_.bounds);
  reset();
}

Status Sketch::check(std::span<const TensorView> tensors) const {
  if (tensors.size() != layout_.tensors.size()) {
    return refuse("got " + std::to_string(tensors.size()) + " tensors; the layout has " +
                  std::to_string(layout_.tensors.size()));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& expected = layout_.tensors[i];
    if (tensors[i].columns != expected.columns) {
      return refuse("tensor '" + expected.name + "' has " + std::to_string(tensors[i].columns) +
                    " columns; [N, " + std::to_string(expected.columns) + "] is asked for");
    }
    if (tensors[i].rows != tensors[0].rows) {
      return refuse("tensor '" + expected.name + "' has " + std::to_string(tensors[i].rows) +
                    " rows, the first one " + std::to_string(tensors[0].rows));
    }
    if (expected.summary && tensors[i].element == Element::kString) {
      return refuse("tensor '" + expected.name + "' is a summary; it cannot hold strings");
    }
  }
  for (const Feature& feature : layout_.features) {
    const auto* numeric = std::get_if<NumericFeature>(&feature);
    if (numeric != nullptr && tensors[numeric->tensor].element == Element::kString) {
      return refuse("feature '" + numeric->name + "' is numeric; its tensor holds strings");
    }
  }
  return {};
}

Status Sketch::observe(std::span<const TensorView> tensors) {
  Status status = check(tensors);
  if (!status.ok() || tensors.empty()) return status;
  const std::size_t rows = tensors[0].rows;
  if (rows == 0) return {};
  summarise(tensors);
  features_.observe(views_, rows);
  for (const CategoricalCounter& counter : categorical_) counter.observe(views_, words_);
  words_[kRowsWord] += static_cast<std::int64_t>(rows);
  return {};
}

// Fill views_: the tensors as given, and the five values a row in place of every summary tensor.
void Sketch::summarise(std::span<const TensorView> tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& view = tensors[i];
    if (!layout_.tensors[i].summary) {
      views_[i] = view;
      continue;
    }
    std::vector<double>& values = summaries_[i];
    values.resize(std::max(values.size(), view.rows * kSummaries));
    row_.resize(std::max(row_.size(), view.columns));
    with_element(view.element, [&](auto type) {
      using Value = decltype(type);
      for (std::size_t row = 0; row < view.rows; ++row) {
        const std::byte* at = view.at(row, 0);
        for (std::size_t column = 0; column < view.columns; ++column, at += view.column_stride) {
          row_[column] = widen<double>(load<Value>(at));
        }
        ops_->summary64(row_.data(), view.columns, &values[row * kSummaries]);
      }
    });
    views_[i] = {Element::kFloat64,
                 reinterpret_cast<const std::byte*>(values.data()),
                 view.rows,
                 kSummaries,
                 kSummaries * sizeof(double),
                 sizeof(double)};
  }
}

Status Sketch::observe_predictions(const TensorView* classes, const TensorView* scores, bool probabilities) {
  if (classes != nullptr) {
    if (layout_.classes == 0) return refuse("class ids given; the layout has no classes");
    if (is_floating(classes->element) || classes->element == Element::kString ||
        classes->element == Element::kBool || classes->columns != 1) {
      return refuse("class ids must be [N] integers");
    }
  }
  if (scores != nullptr) {
    const std::size_t width = std::max<std::size_t>(1, layout_.classes);
    if (!is_floating(scores->element) || scores->columns != width) {
      return refuse("scores must be floating [N, " + std::to_string(width) + "]");
    }
    if (classes != nullptr && classes->rows != scores->rows) {
      return refuse(std::to_string(classes->rows) + " class ids, " + std::to_string(scores->rows) +
                    " rows of scores");
    }
  }
  if (probabilities && (scores == nullptr || layout_.classes == 0)) {
    return refuse("probabilities need scores and a layout with classes");
  }
  if (classes != nullptr) {
    count_classes(*classes, layout_.classes, std::span(words_).subspan(state_.classes, layout_.classes + 1));
  }
  if (scores != nullptr && scores->rows > 0) {
    scores_.observe({scores, 1}, scores->rows);
    if (probabilities) count_confidence(*scores, state_, layout_.reliability_edges, words_);
  }
  return {};
}

Status Sketch::observe_batch(std::span<const std::int64_t> queue_ns, std::int64_t run_ns, std::size_t rows) {
  if (rows == 0) return refuse("a batch of 0 rows");
  for (const std::int64_t nanoseconds : queue_ns)
    ++words_[state_.latency_queue + latency_bucket(nanoseconds)];
  ++words_[state_.latency_run_by_size + batch_size_bucket(rows) * kLatencyBuckets + latency_bucket(run_ns)];
  return {};
}

void Sketch::observe_status(std::uint32_t code, std::uint64_t count) {
  words_[kStatusWord + (code < kStatusCodes ? code : kUnknownStatus)] += static_cast<std::int64_t>(count);
}

Status Sketch::observe_schema(SchemaKind kind, std::size_t input) {
  if (input >= layout_.schema_inputs.size()) return refuse("no counter for schema violations of this input");
  ++words_[state_.schema + input * kSchemaKinds + static_cast<std::size_t>(kind)];
  return {};
}

void Sketch::observe_schema_unknown() { ++words_[kSchemaUnknownWord]; }

Status Sketch::merge(std::span<const std::int64_t> words, std::span<const double> bounds) {
  if (words.size() != words_.size() || bounds.size() != bounds_.size()) {
    return {Code::kInvalidArgument, "counts of two layouts never mix"};
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    words_[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(words_[i]) +
                                          static_cast<std::uint64_t>(words[i]));
  }
  for (std::size_t i = 0; i < bounds.size(); i += 2) {
    bounds_[i] = std::min(bounds_[i], bounds[i]);
    bounds_[i + 1] = std::max(bounds_[i + 1], bounds[i + 1]);
  }
  return {};
}

Status Sketch::merge(const Sketch& other) {
  Status status = merge(other.words_, other.bounds_);
  if (!status.ok()) return status;
  other.features_.add_to(words_, bounds_);
  other.scores_.add_to(words_, bounds_);
  return {};
}

void Sketch::counts_into(std::span<std::int64_t> words, std::span<double> bounds) const {
  std::copy(words_.begin(), words_.end(), words.begin());
  std::copy(bounds_.begin(), bounds_.end(), bounds.begin());
  features_.add_to(words, bounds);
  scores_.add_to(words, bounds);
}

Status Sketch::snapshot_into(std::span<std::byte> out) const {
  if (out.size() != state_.snapshot_bytes() ||
      reinterpret_cast<std::uintptr_t>(out.data()) % alignof(double) != 0) {
    return {Code::kInvalidArgument, "a snapshot goes into exactly snapshot_bytes() bytes, aligned to 8"};
  }
  struct Header {
    char magic[4] = {'K', 'D', 'G', 'C'};
    std::uint16_t version = kSnapshotVersion;
    std::uint16_t zero = 0;
    std::array<std::uint8_t, 32> digest{};
    std::uint64_t words = 0;
    std::uint64_t bounds = 0;
  } header;
  static_assert(sizeof(Header) == kHeaderBytes);
  header.digest = layout_.digest;
  header.words = state_.words;
  header.bounds = state_.bounds;
  std::memcpy(out.data(), &header, sizeof header);
  auto* const words = reinterpret_cast<std::int64_t*>(out.data() + kHeaderBytes);
  counts_into({words, state_.words}, {reinterpret_cast<double*>(words + state_.words), state_.bounds});
  return {};
}

void Sketch::reset() {
  std::fill(words_.begin(), words_.end(), 0);
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    bounds_[i] = (i % 2 == 0 ? 1 : -1) * std::numeric_limits<double>::infinity();
  }
  features_.clear();
  scores_.clear();
}

}  // namespace kedge::sketch
