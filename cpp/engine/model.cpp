#include "engine/model.hpp"

#include <time.h>

#include <algorithm>
#include <cstring>

namespace kedge::engine {
namespace {

constexpr int kMeasuredRuns = 100;
constexpr std::int64_t kLongWarmUpNs = 250'000'000;  // larger batches would make the load slow for little
constexpr int kRunsOverBudget = 16;
constexpr int kRunsWithinBudget = 256;
constexpr std::int64_t kFarOver = 20;

// `rows` copies of the first row of a tensor.
struct Repeated {
  std::vector<std::uint8_t> bytes;
  std::vector<std::string_view> strings;
  TensorView view;

  Repeated(const TensorView& sample, std::int64_t rows) : view(sample) {
    if (view.shape.rank() == 0) return;
    const std::int64_t have = std::max<std::int64_t>(sample.shape[0], 1);
    const std::size_t row_bytes = sample.bytes.size() / static_cast<std::size_t>(have);
    const std::size_t row_strings = sample.strings.size() / static_cast<std::size_t>(have);
    for (std::int64_t row = 0; row < rows; ++row) {
      bytes.insert(bytes.end(), sample.bytes.begin(),
                   sample.bytes.begin() + static_cast<std::ptrdiff_t>(row_bytes));
      strings.insert(strings.end(), sample.strings.begin(),
                     sample.strings.begin() + static_cast<std::ptrdiff_t>(row_strings));
    }
    view.shape[0] = rows;
    view.bytes = bytes;
    view.strings = strings;
  }
};

// Whether the 99th percentile of a run's CPU time keeps within the budget.
bool is_short(Runner& runner, std::span<const TensorView> inputs) {
  int over = 0;
  for (int run = 0; run < kMeasuredRuns; ++run) {
    const std::int64_t start = thread_cpu_ns();
    if (!runner.run(inputs).empty()) return false;
    if (thread_cpu_ns() - start > kInlineBudgetNs && ++over > kMeasuredRuns / 100) return false;
  }
  return true;
}

}  // namespace

std::int64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

Model::Model(const Runtime& runtime, ModelConfig config)
    : config_(std::move(config)),
      session_(std::make_shared<Session>(runtime, config_.session)),
      slices_(config_.slices),
      score_(config_.layout != nullptr ? *config_.layout : sketch::Layout{}),
      threshold_(config_.calibration.has_value() ? config_.calibration->threshold : 0.0) {
  for (std::size_t i = 0; i < config_.prediction.classes.size(); ++i) {
    class_ids_.emplace(config_.prediction.classes[i], static_cast<std::int64_t>(i));
  }
}

Model::~Model() = default;

void Model::measure(std::span<const TensorView> sample, bool warm_up) {
  Runner runner(session_, config_.batchable);
  const std::int64_t have = sample.empty() || sample[0].shape.rank() == 0 ? 1 : sample[0].shape[0];
  const std::int64_t most = config_.batchable ? config_.max_batch : have;
  std::int64_t fits = 0;
  bool short_so_far = true;
  for (std::int64_t rows = config_.batchable ? 1 : have; warm_up && rows > 0;) {
    std::vector<Repeated> repeated;
    std::vector<TensorView> inputs;
    repeated.reserve(sample.size());
    for (const TensorView& tensor : sample) repeated.emplace_back(tensor, rows);
    for (const Repeated& one : repeated) inputs.push_back(one.view);
    const std::int64_t start = thread_cpu_ns();
    // A made-up sample need not be a legal one; golden rows are judged by who compares their answer.
    if (!runner.run(inputs).empty()) break;
    if (thread_cpu_ns() - start > kLongWarmUpNs) break;
    short_so_far = short_so_far && is_short(runner, inputs);
    if (short_so_far) fits = rows;
    if (rows >= most) break;
    rows = std::min(rows * 2, most);
  }
  if (config_.execution == Execution::pool || config_.session.intra_op_threads > 1) fits = 0;
  if (config_.execution == Execution::always_inline) fits = most;
  measured_rows_ = fits;
  inline_rows_.store(fits, std::memory_order_relaxed);
}

void Model::saw_run(std::int64_t cpu_ns, std::int64_t rows) {
  if (config_.execution != Execution::automatic || measured_rows_ == 0 || rows > measured_rows_) return;
  const bool is_inline = inline_rows() != 0;
  if (cpu_ns <= kInlineBudgetNs) {
    over_budget_.store(0, std::memory_order_relaxed);
    if (is_inline || within_budget_.fetch_add(1, std::memory_order_relaxed) + 1 < kRunsWithinBudget) return;
    within_budget_.store(0, std::memory_order_relaxed);
    inline_rows_.store(measured_rows_, std::memory_order_relaxed);
    return;
  }
  within_budget_.store(0, std::memory_order_relaxed);
  const int over = over_budget_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (over >= kRunsOverBudget || cpu_ns > kFarOver * kInlineBudgetNs)
    inline_rows_.store(0, std::memory_order_relaxed);
}

std::size_t Model::output_index(std::string_view name) const {
  const auto outputs = session_->outputs();
  std::size_t index = 0;
  while (index < outputs.size() && outputs[index].name != name) ++index;
  return index;
}

std::int64_t Model::class_of(std::string_view label) const {
  const auto found = class_ids_.find(std::string(label));
  return found == class_ids_.end() ? static_cast<std::int64_t>(config_.prediction.classes.size())
                                   : found->second;
}

}  // namespace kedge::engine
