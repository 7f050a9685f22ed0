// A loaded bundle: its session, what its predictions are, and how its runs are scheduled.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/evidence.hpp"
#include "engine/session.hpp"
#include "engine/slices.hpp"
#include "engine/suspects.hpp"
#include "sketch/layout.hpp"

namespace kedge::engine {

enum class PredictionKind : std::uint8_t { none, probabilities, logits, label, value };

// What of the outputs is the prediction. Indices are into the session's outputs.
struct Prediction {
  PredictionKind kind = PredictionKind::none;
  std::size_t output = 0;
  std::optional<std::size_t>
      label_output;  // the chosen class itself, where the model has it beside its scores
  std::vector<std::string> classes;
  std::size_t lower_output = 0;  // where the calibration's score needs them
  std::size_t upper_output = 0;
  std::size_t sigma_output = 0;
};

// Of what kind calibration scores are: one less the class's probability; |y - prediction|; that in units of
// sigma; how far y lies outside the model's own bounds.
enum class ScoreKind : std::uint8_t { lac, absolute, scaled, quantile };

struct Calibration {
  ScoreKind score = ScoreKind::lac;
  double alpha = 0.1;      // miss rate that is promised
  double threshold = 0.0;  // score up to which the truth is expected, at load; may be infinite
};

enum class Execution : std::uint8_t { automatic, always_inline, pool };

// Everything a load needs to know, read from the bundle by the caller.
struct ModelConfig {
  std::uint64_t key = 0;  // the plane's number for it, never reused
  std::string bundle;     // id, 64 hex digits
  std::string name;
  std::string version;
  SessionOptions session;
  bool batchable = false;
  Prediction prediction;
  std::optional<Calibration> calibration;
  bool outcomes = true;              // predictions are sealed, so that labels may come back for them
  std::vector<SliceFeature> slices;  // by which labels are told apart
  std::int64_t max_batch = 256;
  std::int64_t max_queue_delay_us = 0;
  std::size_t max_queue = 4096;
  Execution execution = Execution::automatic;
  int instances = 1;
  std::shared_ptr<const sketch::Layout> layout;
  std::vector<std::size_t> layout_inputs;  // input of the session that each of the layout's tensors is
};

inline constexpr std::size_t kMaxInlineBytes = std::size_t{256} * 1024;
inline constexpr std::int64_t kInlineBudgetNs = 100'000;

// CPU time this thread has used; a system call.
std::int64_t thread_cpu_ns();

class ExecutorPool;

class Model {
 public:
  // Loads the session. Throws LoadError.
  Model(const Runtime& runtime, ModelConfig config);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const { return config_; }
  const std::shared_ptr<const Session>& session() const { return session_; }

  // Rows up to which a batch runs on the shard itself; 0: never.
  std::int64_t inline_rows() const { return inline_rows_.load(std::memory_order_relaxed); }
  // Runs copies of the sample's first row, in powers of two up to max_batch, and sets `inline_rows` to the
  // most whose 99th percentile of thread CPU time keeps within the budget. Warms the session up on the way;
  // without that, nothing is known and everything runs on the pool.
  void measure(std::span<const TensorView> sample, bool warm_up);
  // A run of at most `inline_rows` took this much CPU time. One far over the budget, or several over it, move
  // the model to its pool; many within it move it back, so that one hiccup of the machine is not for ever.
  void saw_run(std::int64_t cpu_ns, std::int64_t rows);

  // Score up to which the truth is expected; of a model with calibration.
  double threshold() const { return threshold_.load(std::memory_order_relaxed); }
  void confide(double threshold) { threshold_.store(threshold, std::memory_order_relaxed); }

  // Output index by name; the number of outputs when there is none.
  std::size_t output_index(std::string_view name) const;
  // Class id of a label, or `classes.size()` for one that is not listed.
  std::int64_t class_of(std::string_view label) const;

  const Slices& slices() const { return slices_; }
  // By which score its arms are compared.
  const ScoreRule& score() const { return score_; }
  Suspects& suspects() { return suspects_; }

  // No request can be picked for it again: whoever keeps it only for reuse lets go.
  bool retired() const { return retired_.load(std::memory_order_acquire); }
  void retire() { retired_.store(true, std::memory_order_release); }

  ExecutorPool* pool = nullptr;  // set once by the server before the model can be routed to

 private:
  ModelConfig config_;
  std::shared_ptr<const Session> session_;
  std::unordered_map<std::string, std::int64_t> class_ids_;
  Slices slices_;
  ScoreRule score_;
  Suspects suspects_;
  std::atomic<double> threshold_;
  std::atomic<std::int64_t> inline_rows_{0};
  std::int64_t measured_rows_ = 0;  // what `inline_rows` was at load
  std::atomic<int> over_budget_{0};
  std::atomic<int> within_budget_{0};
  std::atomic<bool> retired_{false};
};

}  // namespace kedge::engine
