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
  ring_[slot] = std::move(framed);
  arrived_[slot] = true;
  while (in_flight() != 0 && arrived_[next_sent % kMaxInFlight]) {
    const std::size_t first = next_sent % kMaxInFlight;
    arrived_[first] = false;
    ++next_sent;
    if (call != nullptr && !call->done()) peer->grpc().send(*call, std::move(ring_[first]));
    ring_[first] = {};
  }
  if (call != nullptr) peer->mark_dirty();
  finish_if_done();
  return call == nullptr && in_flight() == 0;
}

void InferStream::half_close() {
  half_closed = true;
  finish_if_done();
}

void InferStream::end() {
  call = nullptr;
  peer = nullptr;
}

void InferStream::finish_if_done() {
  if (!half_closed || in_flight() != 0 || call == nullptr || call->done()) return;
  peer->grpc().finish(*call);
  peer->mark_dirty();
}

}  // namespace kedge::engine
