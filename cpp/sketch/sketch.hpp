// A sketch: all counts of one (bundle, arm, epoch) by one writer.
//
// One thread uses it at a time; there are no locks. After the first call of a given size nothing is allocated
// on the update path. A call that returns an error has counted nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "sketch/categorical.hpp"
#include "sketch/layout.hpp"
#include "sketch/numeric.hpp"
#include "sketch/ops.hpp"
#include "sketch/state.hpp"
#include "sketch/tensor.hpp"

namespace kedge::sketch {

enum class SchemaKind : std::uint8_t { kMissing = 0, kMistyped = 1, kMisshaped = 2 };

class Sketch {
 public:
  // Refuses a layout that breaks a rule of the contract. `ops` decides the instruction set.
  static Result<std::unique_ptr<Sketch>> create(const Layout& layout, const Ops& ops);

  const Layout& layout() const { return layout_; }
  const State& state() const { return state_; }

  // Count N rows: one view a tensor of the layout, in order. A summary tensor is given as [N, its columns].
  Status observe(std::span<const TensorView> tensors);

  // Count N predictions; null where not known. `classes` is [N] of an integer element, `scores` [N, C]
  // floating.
  Status observe_predictions(const TensorView* classes, const TensorView* scores, bool probabilities);

  // Count one batch. Negative times count as 0.
  Status observe_batch(std::span<const std::int64_t> queue_ns, std::int64_t run_ns, std::size_t rows);

  // Count answers of a gRPC status; a code past 16 is UNKNOWN.
  void observe_status(std::uint32_t code, std::uint64_t count = 1);

  // Count a violation of `layout().schema_inputs[input]`, or a tensor of unknown name.
  Status observe_schema(SchemaKind kind, std::size_t input);
  void observe_schema_unknown();

  // Add counts of the same layout, in the order of `state()`.
  Status merge(std::span<const std::int64_t> words, std::span<const double> bounds);
  Status merge(const Sketch& other);

  // The counts so far, in the order of `state()`, into buffers of exactly its size.
  void counts_into(std::span<std::int64_t> words, std::span<double> bounds) const;

  // The snapshot bytes of format version 1, into `state().snapshot_bytes()` bytes.
  Status snapshot_into(std::span<std::byte> out) const;

  void reset();

 private:
  Sketch(const Layout& layout, const Ops& ops);
  Status check(std::span<const TensorView> tensors) const;
  void summarise(std::span<const TensorView> tensors);

  Layout layout_;
  State state_;
  const Ops* ops_;
  NumericCounter features_;
  NumericCounter scores_;
  std::vector<CategoricalCounter> categorical_;
  std::vector<std::int64_t> words_;  // everything but what the numeric counters hold
  std::vector<double> bounds_;
  std::vector<TensorView> views_;
  std::vector<std::vector<double>> summaries_;
  std::vector<double> row_;
};

}  // namespace kedge::sketch
