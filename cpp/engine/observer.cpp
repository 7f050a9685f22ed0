#include "engine/observer.hpp"

#include <algorithm>

namespace kedge::engine {

void Observer::ran(const std::shared_ptr<const Target>& target, const Lane& lane,
                   std::span<const std::int64_t> queue_ns, std::int64_t run_ns, std::int64_t rows) {
  sketch::Sketch* counts = cell(target);
  if (counts == nullptr) return;
  const auto row_count = static_cast<std::size_t>(rows);
  (void)counts->observe_batch(queue_ns, run_ns, row_count);
  counts->observe_status(0, queue_ns.size());
  if (rows == 0) return;
  const ModelConfig& config = target->model->config();
  // A model whose tensors are not what its bundle says goes on serving: such rows are left uncounted as a
  // whole.
  views_.clear();
  for (const std::size_t index : config.layout_inputs) views_.push_back(counted(lane.inputs()[index]));
  if (!views_.empty()) (void)counts->observe(views_);
  const Predictions::View seen = predictions_.read(*target->model, lane.outputs(), row_count);
  if (seen.classes != nullptr || seen.scores != nullptr) {
    (void)counts->observe_predictions(seen.classes, seen.scores, seen.probabilities);
  }
  if (config.batchable)
    reservoirs_.try_emplace(config.key, config.key).first->second.offer(lane.inputs(), rows);
}

void Observer::answered(const std::shared_ptr<const Target>& target, Code code) {
  if (sketch::Sketch* counts = cell(target)) counts->observe_status(static_cast<std::uint32_t>(code));
}

void Observer::refused(const std::shared_ptr<const Target>& target, const Refusal& refusal) {
  sketch::Sketch* counts = cell(target);
  if (counts == nullptr) return;
  if (refusal.fault == SchemaFault::unknown) counts->observe_schema_unknown();
  if (refusal.fault == SchemaFault::none || refusal.fault == SchemaFault::unknown) return;
  const std::vector<std::string>& watched = counts->layout().schema_inputs;
  const auto found = std::find(watched.begin(), watched.end(), refusal.tensor);
  if (found == watched.end()) return;
  const auto kind = refusal.fault == SchemaFault::missing    ? sketch::SchemaKind::kMissing
                    : refusal.fault == SchemaFault::mistyped ? sketch::SchemaKind::kMistyped
                                                             : sketch::SchemaKind::kMisshaped;
  (void)counts->observe_schema(kind, static_cast<std::size_t>(found - watched.begin()));
}

sketch::Sketch* Observer::cell(const std::shared_ptr<const Target>& target) {
  if (target->id == last_target_) return last_sketch_;
  const ModelConfig& config = target->model->config();
  for (Cell& known : cells_) {
    if (known.epoch != target->epoch || known.arm != target->arm || known.bundle != config.bundle) continue;
    known.target = target;
    last_target_ = target->id;
    last_sketch_ = known.sketch.get();
    return last_sketch_;
  }
  auto made = sketch::Sketch::create(*config.layout, *sketch::available_ops().front());
  if (!made.ok()) return nullptr;  // the layout was validated at load
  cells_.push_back({config.bundle, target->arm, target->epoch, target, std::move(made).value()});
  last_target_ = target->id;
  last_sketch_ = cells_.back().sketch.get();
  return last_sketch_;
}

void Observer::fold() {
  last_target_ = 0;
  std::vector<Cell*> closed;
  for (Cell& known : cells_) {
    if (known.epoch != kFolded && known.target.expired()) closed.push_back(&known);
  }
  std::sort(closed.begin(), closed.end(), [](const Cell* a, const Cell* b) { return a->epoch > b->epoch; });
  std::vector<Cell> old;
  for (std::size_t i = 0; i < closed.size(); ++i) {
    const auto newer = std::count_if(
        closed.begin(), closed.begin() + static_cast<std::ptrdiff_t>(i),
        [&](Cell* other) { return other->arm == closed[i]->arm && other->bundle == closed[i]->bundle; });
    if (static_cast<std::size_t>(newer) >= kClosedEpochs) old.push_back(std::move(*closed[i]));
  }
  std::erase_if(cells_, [](const Cell& known) { return known.sketch == nullptr; });
  for (Cell& one : old) {
    one.epoch = kFolded;
    take(std::move(one));
  }
}

void Observer::add(const Cell& from, sketch::Sketch& to) {
  std::vector<std::int64_t> words(from.sketch->state().words);
  std::vector<double> bounds(from.sketch->state().bounds);
  from.sketch->counts_into(words, bounds);
  (void)to.merge(words, bounds);  // cells of one bundle have one layout
}

void Observer::take(Cell&& cell) {
  for (Cell& known : cells_) {
    if (known.epoch == cell.epoch && known.arm == cell.arm && known.bundle == cell.bundle) {
      add(cell, *known.sketch);
      return;
    }
  }
  cells_.push_back(std::move(cell));
}

void Observer::absorb(Observer&& other) {
  last_target_ = 0;
  for (Cell& cell : other.cells_) take(std::move(cell));
  other.cells_.clear();
  other.last_target_ = 0;
}

std::vector<CellCounts> Observer::snapshot() const {
  std::vector<CellCounts> out;
  for (const Cell& known : cells_) {
    CellCounts copy{known.bundle, known.arm, known.epoch, {}};
    copy.counts.resize(known.sketch->state().snapshot_bytes());
    if (known.sketch->snapshot_into(copy.counts).ok()) out.push_back(std::move(copy));
  }
  return out;
}

std::vector<SampledRow> Observer::sample(std::uint64_t model_key) const {
  const auto found = reservoirs_.find(model_key);
  return found == reservoirs_.end() ? std::vector<SampledRow>{} : found->second.rows();
}

}  // namespace kedge::engine
