// One inference request on its way through the plane.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "engine/route_table.hpp"
#include "wire/grpc_session.hpp"
#include "wire/infer_request.hpp"

namespace kedge::engine {

// A connection, as far as the engine needs one.
class Peer {
 public:
  explicit Peer(std::uint32_t shard) : shard_(shard) {}
  virtual ~Peer() = default;
  virtual wire::GrpcSession& grpc() = 0;
  // Its session has output to write at the end of the turn.
  virtual void mark_dirty() = 0;
  std::uint32_t shard() const { return shard_; }

 private:
  std::uint32_t shard_;
};

// What a call's `user` points to: first a tag, so that the call's end finds its owner.
struct CallState {
  enum class Kind : std::uint8_t { infer, stream, cold } kind;
};

struct InferStream;

// When `wait` nanoseconds from `now` are over; 0, as for no deadline, if that is past the end of the clock.
constexpr std::int64_t deadline_after(std::int64_t now, std::int64_t wait) {
  return wait > std::numeric_limits<std::int64_t>::max() - now ? 0 : now + wait;
}

// Among the outputs a request asks for: one sealed id a row, which the server makes.
inline constexpr std::string_view kPredictionIds = "kedge.prediction_id";
inline constexpr std::size_t kPredictionIdsIndex = std::numeric_limits<std::size_t>::max();

// How a request ends: an encoded answer, or a code and one line.
struct Answer {
  Code code = Code::kOk;
  std::string message;
  wire::Buffer framed;
};

struct Request : CallState {
  Request() : CallState{Kind::infer} {}

  // Touched by the owning shard alone.
  Peer* peer = nullptr;
  wire::Call* call = nullptr;     // null once the call has ended; of a stream's request always null
  InferStream* stream = nullptr;  // the stream it came on, if any
  std::uint64_t sequence = 0;     // its place in that stream
  std::uint32_t shard = 0;
  std::size_t slot = 0;  // among its pipeline's

  // Written before the request is handed on, read-only from then.
  wire::Message message;
  wire::InferRequest infer;                    // views into `message`
  std::vector<const wire::InputView*> inputs;  // in the model's order
  std::vector<std::size_t> outputs;            // indices asked for, or kPredictionIdsIndex; empty: all
  std::int64_t rows = 0;
  std::uint32_t key_bits = 0;  // low bits of the sticky hash; 0 without a key
  std::uint32_t row_bits = 0;  // the same for the rows of a request without a key that was drawn
  std::int64_t received_ns = 0;
  std::int64_t deadline_ns = 0;  // 0: none
  Unit unit;

  // Set by the shard when the client is gone, read by whoever is about to run it.
  std::atomic<bool> cancelled{false};

  // Written by whoever ran it.
  Answer answer;
  std::int64_t queue_ns = 0;

  // Whether nobody waits for the answer any more. Of a stream's request: not after it was answered, for its
  // stream may be gone then.
  bool is_cancelled() const;
  void reset();
};

// Requests that run as one: of one target, equal in trailing shapes.
struct Batch {
  std::shared_ptr<const Target> target;
  std::vector<Request*> requests;
  std::int64_t rows = 0;
  std::int64_t close_at_ns = 0;  // when it runs even if it could grow; 0: at the end of the turn
};

// Whether `request` may join requests that look like `first`.
bool joins(const Request& first, const Request& request);

}  // namespace kedge::engine
