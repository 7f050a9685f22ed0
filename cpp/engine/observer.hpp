// One thread's counts, by (bundle, arm, epoch). One writer, no other reader: no atomics, no locks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/fit.hpp"
#include "engine/lane.hpp"
#include "engine/reservoir.hpp"
#include "engine/shadow_port.hpp"
#include "sketch/sketch.hpp"

namespace kedge::engine {

// A cell's counts, as the kernel's snapshot bytes.
struct CellCounts {
  std::string bundle;
  Arm arm = Arm::live;
  std::uint64_t epoch = 0;
  std::vector<std::byte> counts;
  std::vector<std::int64_t> evidence;  // empty: none
};

class Observer {
 public:
  // Epoch under which all but the newest of a bundle and arm are added up: a cell is a quarter of a megabyte,
  // and every rollout makes epochs. The newest stays apart, for it may be in force though nothing holds its
  // target: a table that leaves a route as it was has targets of its own, and none of them was counted under
  // yet.
  static constexpr std::uint64_t kFolded = 0;

  // Counts one batch that ran: its inputs and outputs still lie in the lane. `requests` may be empty where
  // the target is not compared.
  void ran(const std::shared_ptr<const Target>& target, Lane& lane, std::span<const Request* const> requests,
           std::span<const std::int64_t> queue_ns, std::int64_t run_ns, std::int64_t rows);
  // Counts one answer that is not OK.
  void answered(const std::shared_ptr<const Target>& target, Code code, const Unit& unit);
  // Counts one tensor that does not fit the model.
  void refused(const std::shared_ptr<const Target>& target, const Refusal& refusal);

  // What the target's arm is compared by; null if its layout cannot be counted.
  Evidence* evidence(const std::shared_ptr<const Target>& target);

  // Takes over the counts of a writer that ends.
  void absorb(Observer&& other);
  // Adds up what was counted under targets that nobody holds any more, but for the newest epoch.
  void fold();
  // Drops the counts of a bundle that is loaded no more.
  void drop(const std::string& bundle);
  std::vector<CellCounts> snapshot() const;
  // Rows kept of a bundle, oldest first.
  std::vector<SampledRow> sample(std::uint64_t model_key) const;
  void forget(std::uint64_t model_key) { reservoirs_.erase(model_key); }

 private:
  struct Cell {
    std::string bundle;
    Arm arm;
    std::uint64_t epoch;
    std::weak_ptr<const Target> target;  // expired: closed
    std::unique_ptr<sketch::Sketch> sketch;
    std::unique_ptr<Evidence> evidence;  // null until something is counted
  };
  Cell* cell(const std::shared_ptr<const Target>& target);
  void add(Cell&& from, Cell& to);
  std::unique_ptr<sketch::Sketch> fresh_sketch(const ModelConfig& config);
  void judge(const Target& target, Cell& cell, std::span<const Request* const> requests,
             const PredictionView& seen, bool valid, std::int64_t run_ns);
  void take(Cell&& cell);

  // Making a sketch of a quarter of a megabyte, on fresh pages, holds requests up for a tenth of a
  // millisecond; so a few that were added up to others wait here, empty, for the next epoch of their bundle.
  static constexpr std::size_t kSpares = 4;
  struct Spare {
    std::string bundle;
    std::unique_ptr<sketch::Sketch> sketch;
  };

  std::vector<Cell> cells_;
  std::vector<Spare> spares_;
  std::uint64_t last_target_ = 0;  // Target::id of the last lookup, 0 for none
  std::size_t last_cell_ = 0;
  std::vector<sketch::TensorView> views_;
  std::unordered_map<std::uint64_t, Reservoir> reservoirs_;
  ShadowSender shadows_;
};

}  // namespace kedge::engine
