#include "engine/observer.hpp"

#include <algorithm>

namespace kedge::engine {
namespace {

// Keeps the rows whose inputs were all finite and whose prediction was not.
void suspect(Model& model, const Lane& lane, const PredictionView& seen, std::size_t rows) {
  const auto inputs = lane.inputs();
  const bool by_row = std::all_of(inputs.begin(), inputs.end(), [&](const TensorView& input) {
    return input.shape.rank() != 0 && input.shape[0] == static_cast<std::int64_t>(rows);
  });
  for (std::size_t row = 0; by_row && row < rows && !model.suspects().full(); ++row) {
    if (are_finite(*seen.scores, row, 1)) continue;
    const bool finite = std::all_of(inputs.begin(), inputs.end(), [&](const TensorView& input) {
      return are_finite(counted(input), row, 1);
    });
    if (finite) model.suspects().add(copy_row(inputs, static_cast<std::int64_t>(row)));
  }
}

}  // namespace

void Observer::ran(const std::shared_ptr<const Target>& target, Lane& lane,
                   std::span<const Request* const> requests, std::span<const std::int64_t> queue_ns,
                   std::int64_t run_ns, std::int64_t rows) {
  Cell* const found = cell(target);
  if (found == nullptr) return;
  sketch::Sketch& counts = *found->sketch;
  const auto row_count = static_cast<std::size_t>(rows);
  (void)counts.observe_batch(queue_ns, run_ns, row_count);
  counts.observe_status(0, queue_ns.size());
  const ModelConfig& config = target->model->config();
  PredictionView seen;
  bool valid = true;
  if (rows != 0) {
    // A model whose tensors are not what its bundle says goes on serving: such rows are left uncounted as a
    // whole.
    views_.clear();
    for (const std::size_t index : config.layout_inputs) views_.push_back(counted(lane.inputs()[index]));
    if (!views_.empty()) (void)counts.observe(views_);
    seen = lane.predicted(row_count);
    const bool counts_them = config.layout->classes != 0 || !config.layout->scores.empty();
    if (counts_them && (seen.classes != nullptr || seen.scores != nullptr)) {
      (void)counts.observe_predictions(seen.classes, seen.scores, seen.probabilities);
    }
    valid = are_valid(seen, 0, row_count);
    if (!valid) suspect(*target->model, lane, seen, row_count);
    if (config.batchable)
      reservoirs_.try_emplace(config.key, config.key).first->second.offer(lane.inputs(), rows);
  }
  if (target->units != nullptr) judge(*target, *found, requests, seen, valid, run_ns);
  if (target->shadow != nullptr) shadows_.offer(target->shadow, lane, requests, seen, run_ns);
}

// What each request of a batch says for or against its arm.
void Observer::judge(const Target& target, Cell& cell, std::span<const Request* const> requests,
                     const PredictionView& seen, bool valid, std::int64_t run_ns) {
  if (cell.evidence == nullptr) cell.evidence = std::make_unique<Evidence>();
  std::size_t rows = 0;
  for (const Request* request : requests) rows += static_cast<std::size_t>(request->rows);
  const std::int64_t slow_ns = rows == 0 ? 0 : target.slow_ns[sketch::batch_size_bucket(rows)];
  const Events of_batch = slow_ns != 0 && run_ns > slow_ns ? event(EventKind::slow) : Events{0};
  std::size_t first = 0;
  for (const Request* request : requests) {
    const auto count = static_cast<std::size_t>(request->rows);
    const std::size_t row = std::exchange(first, first + count);
    if (request->answer.code != Code::kOk) continue;  // counted as what it was
    Events events = of_batch;
    if (!valid && !are_valid(seen, row, count)) events |= event(EventKind::invalid);
    const bool counts = cell.evidence->answered(request->unit, *target.units, events, slow_ns != 0);
    if (!counts || count == 0) continue;
    const ScoreRule& rule = target.model->score();
    const RowPrediction read = rule.read(seen, row);
    const auto slot = read.score.has_value() ? rule.slot(*read.score) : std::nullopt;
    if (slot.has_value()) cell.evidence->scored(*slot);
  }
}

void Observer::answered(const std::shared_ptr<const Target>& target, Code code, const Unit& unit) {
  Cell* const found = cell(target);
  if (found == nullptr) return;
  found->sketch->observe_status(static_cast<std::uint32_t>(code));
  if (target->units == nullptr) return;
  if (const auto events = events_of(code)) evidence(target)->answered(unit, *target->units, *events);
}

Evidence* Observer::evidence(const std::shared_ptr<const Target>& target) {
  Cell* const found = cell(target);
  if (found == nullptr) return nullptr;
  if (found->evidence == nullptr) found->evidence = std::make_unique<Evidence>();
  return found->evidence.get();
}

void Observer::refused(const std::shared_ptr<const Target>& target, const Refusal& refusal) {
  Cell* const found = cell(target);
  if (found == nullptr) return;
  sketch::Sketch* const counts = found->sketch.get();
  if (refusal.fault == SchemaFault::unknown) counts->observe_schema_unknown();
  if (refusal.fault == SchemaFault::none || refusal.fault == SchemaFault::unknown) return;
  const std::vector<std::string>& watched = counts->layout().schema_inputs;
  const auto input = std::find(watched.begin(), watched.end(), refusal.tensor);
  if (input == watched.end()) return;
  const auto kind = refusal.fault == SchemaFault::missing    ? sketch::SchemaKind::kMissing
                    : refusal.fault == SchemaFault::mistyped ? sketch::SchemaKind::kMistyped
                                                             : sketch::SchemaKind::kMisshaped;
  (void)counts->observe_schema(kind, static_cast<std::size_t>(input - watched.begin()));
}

Observer::Cell* Observer::cell(const std::shared_ptr<const Target>& target) {
  if (target->id == last_target_) return &cells_[last_cell_];
  const ModelConfig& config = target->model->config();
  for (Cell& known : cells_) {
    if (known.epoch != target->epoch || known.arm != target->arm || known.bundle != config.bundle) continue;
    known.target = target;
    last_target_ = target->id;
    last_cell_ = static_cast<std::size_t>(&known - cells_.data());
    return &known;
  }
  std::unique_ptr<sketch::Sketch> made = fresh_sketch(config);
  if (made == nullptr) return nullptr;
  cells_.push_back({config.bundle, target->arm, target->epoch, target, std::move(made), nullptr});
  last_target_ = target->id;
  last_cell_ = cells_.size() - 1;
  return &cells_.back();
}

std::unique_ptr<sketch::Sketch> Observer::fresh_sketch(const ModelConfig& config) {
  const auto spare = std::find_if(spares_.begin(), spares_.end(),
                                  [&](const Spare& one) { return one.bundle == config.bundle; });
  if (spare != spares_.end()) {
    std::unique_ptr<sketch::Sketch> found = std::move(spare->sketch);
    spares_.erase(spare);
    return found;
  }
  auto made = sketch::Sketch::create(*config.layout, *sketch::available_ops().front());
  if (!made.ok()) return nullptr;  // the layout was validated at load
  return std::move(made).value();
}

void Observer::fold() {
  last_target_ = 0;
  shadows_.tidy();
  const auto has_newer = [&](const Cell& one) {
    return std::any_of(cells_.begin(), cells_.end(), [&](const Cell& other) {
      return other.epoch > one.epoch && other.arm == one.arm && other.bundle == one.bundle;
    });
  };
  const auto is_over = [&](const Cell& one) {
    return one.epoch != kFolded && one.target.expired() && has_newer(one);
  };
  for (;;) {  // a newer one is never folded before it, whatever their order
    const auto over = std::find_if(cells_.begin(), cells_.end(), is_over);
    if (over == cells_.end()) return;
    Cell old = std::move(*over);
    cells_.erase(over);
    old.epoch = kFolded;
    take(std::move(old));
  }
}

void Observer::drop(const std::string& bundle) {
  last_target_ = 0;
  std::erase_if(cells_, [&](const Cell& known) { return known.bundle == bundle; });
  std::erase_if(spares_, [&](const Spare& known) { return known.bundle == bundle; });
}

void Observer::add(Cell&& from, Cell& to) {
  (void)to.sketch->merge(*from.sketch);  // cells of one bundle have one layout
  from.sketch->reset();
  if (spares_.size() == kSpares) spares_.erase(spares_.begin());
  spares_.push_back({std::move(from.bundle), std::move(from.sketch)});
  if (from.evidence == nullptr) return;
  if (to.evidence == nullptr) {
    to.evidence = std::move(from.evidence);
  } else {
    to.evidence->add(*from.evidence);
  }
}

void Observer::take(Cell&& cell) {
  for (Cell& known : cells_) {
    if (known.epoch == cell.epoch && known.arm == cell.arm && known.bundle == cell.bundle) {
      add(std::move(cell), known);
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
    CellCounts copy{known.bundle, known.arm, known.epoch, {}, {}};
    if (known.evidence != nullptr) {
      const auto words = known.evidence->words();
      copy.evidence.assign(words.begin(), words.end());
    }
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
