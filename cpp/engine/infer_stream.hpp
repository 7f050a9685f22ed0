// ModelStreamInfer: many requests on one call, answered in the order they came.
#pragma once

#include <array>
#include <atomic>

#include "engine/request.hpp"

namespace kedge::engine {

struct InferStream : CallState {
  static constexpr std::size_t kMaxInFlight = 64;  // one stream that takes the whole queue

  InferStream(Peer* p, wire::Call* c) : CallState{Kind::stream}, peer(p), call(c) {}

  Peer* peer;
  wire::Call* call;  // null once the call has ended
  std::int64_t deadline_ns = 0;
  std::uint64_t next = 0;       // sequence of the next request
  std::uint64_t next_sent = 0;  // sequence of the next answer to send
  bool half_closed = false;
  bool paused = false;
  // Set when the call has ended, read by whoever is about to run one of its requests.
  std::atomic<bool> cancelled{false};

  std::uint64_t in_flight() const { return next - next_sent; }

  // Gives a request its place; pauses the stream when its ring is full.
  void admit(Request& request);
  // Sends an answer and all that waited for it, or keeps it until it is next in line; too many bytes kept end
  // the call. True if nothing is left to do with this stream.
  bool deliver(std::uint64_t sequence, wire::Buffer&& framed);
  // The client has sent its last message. Sends the end if every answer is out.
  void half_close();
  // The call has ended: what is still under way is dropped as it comes.
  void end();

 private:
  bool charge(std::size_t bytes);
  void drop();
  void finish_if_done();

  std::array<wire::Buffer, kMaxInFlight> ring_;
  wire::Reservation kept_;  // of the connection's budget: answers that wait for an earlier one
  std::array<bool, kMaxInFlight> arrived_{};
};

}  // namespace kedge::engine
