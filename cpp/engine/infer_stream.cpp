#include "engine/infer_stream.hpp"

namespace kedge::engine {

void InferStream::admit(Request& request) {
  request.stream = this;
  request.sequence = next++;
  request.deadline_ns = deadline_ns;
  if (in_flight() == kMaxInFlight) {
    paused = true;
    peer->grpc().pause(*call);
  }
}

bool InferStream::deliver(std::uint64_t sequence, wire::Buffer&& framed) {
  const std::size_t slot = sequence % kMaxInFlight;
  arrived_[slot] = true;
  if (call != nullptr && !call->done() && (sequence == next_sent || charge(framed.size())))
    ring_[slot] = std::move(framed);
  while (in_flight() != 0 && arrived_[next_sent % kMaxInFlight]) {
    const std::size_t first = next_sent % kMaxInFlight;
    arrived_[first] = false;
    wire::Buffer answer = std::move(ring_[first]);
    if (next_sent++ != sequence) kept_.shrink(kept_.bytes() - answer.size());
    if (call != nullptr && !call->done()) peer->grpc().send(*call, std::move(answer));
  }
  if (call != nullptr) peer->mark_dirty();
  finish_if_done();
  return call == nullptr && in_flight() == 0;
}

// False: no more can be kept, and the call has ended.
bool InferStream::charge(std::size_t bytes) {
  wire::GrpcSession& grpc = peer->grpc();
  if (kept_.overdraw(grpc.budget(), bytes)) return true;
  drop();
  grpc.fail(*call, Code::kResourceExhausted, "too many bytes of answers wait for the one before them");
  return false;
}

void InferStream::drop() {
  for (wire::Buffer& answer : ring_) answer = {};
  kept_.release();
}

void InferStream::half_close() {
  half_closed = true;
  finish_if_done();
}

void InferStream::end() {
  cancelled.store(true, std::memory_order_relaxed);
  call = nullptr;
  peer = nullptr;
  drop();
}

void InferStream::finish_if_done() {
  if (!half_closed || in_flight() != 0 || call == nullptr || call->done()) return;
  peer->grpc().finish(*call);
  peer->mark_dirty();
}

}  // namespace kedge::engine
