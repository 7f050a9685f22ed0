// From a run's outputs to the requests' answers, on one thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/confidence.hpp"
#include "engine/lane.hpp"
#include "engine/request.hpp"
#include "engine/seal.hpp"

namespace kedge::engine {

class Encoder {
 public:
  explicit Encoder(Sealing& sealing) : sealer_(sealing) {}

  // The answers that follow are of a run of `rows` rows in this lane, for this target.
  void start(const Target& target, Lane& lane, std::int64_t rows);
  // Encodes the answer of a request whose rows begin at `first`.
  void answer(Request& request, std::int64_t first);

 private:
  // What all answers of a target begin with: who answered.
  struct Head {
    std::uint64_t target = 0;  // Target::id
    wire::Buffer fields;

    bool is(const Target& asked) const { return target == asked.id; }
  };

  const Predictions::View& seen() { return lane_->predicted(static_cast<std::size_t>(rows_)); }
  wire::Predicted predicted(std::size_t row);
  wire::TokenText seal(std::uint32_t key_bits, std::size_t row) {
    return sealer_.seal(key_bits, target_->model->slices().id(sliced_, row), predicted(row));
  }
  wire::OutputView ids(const Request& request, std::size_t first, Shape& shape);
  bool add_confidence(Request& request, std::size_t first);
  void forget_large();
  void encode(Request& request, std::string_view id);

  Sealer sealer_;
  ConfidenceTensors confidence_;
  Recent<Head> heads_;
  // Of the answer being encoded; kept for their memory.
  std::vector<Shape> shapes_;
  std::vector<wire::OutputView> views_;
  std::string ids_;
  std::vector<std::size_t> id_starts_;
  Slices::Views sliced_;  // of the run being answered

  // Of the run being answered.
  const Target* target_ = nullptr;
  const Head* head_ = nullptr;
  Lane* lane_ = nullptr;
  std::int64_t rows_ = 0;
  bool sealing_ = false;
};

}  // namespace kedge::engine
