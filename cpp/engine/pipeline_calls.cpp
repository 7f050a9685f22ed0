// How calls end: by the client, by the clock, by a drain.
#include "engine/pipeline.hpp"

namespace kedge::engine {

void Pipeline::half_close(wire::Call& call) {
  auto* state = static_cast<CallState*>(call.user);
  if (state != nullptr && state->kind == CallState::Kind::stream)
    static_cast<InferStream*>(state)->half_close();
}

void Pipeline::ended(wire::Call& call) {
  auto* state = static_cast<CallState*>(call.user);
  if (state == nullptr) return;  // answered
  if (state->kind == CallState::Kind::stream) {
    auto* stream = static_cast<InferStream*>(state);
    stream->end();
    if (stream->in_flight() == 0) {
      std::erase(streams_, stream);
      std::erase(to_resume_, stream);
      delete stream;
    }
    return;
  }
  auto* request = static_cast<Request*>(state);
  request->call = nullptr;
  request->peer = nullptr;
  request->cancelled.store(true, std::memory_order_relaxed);
  if (request->message.bytes.empty()) recycle(request);  // cancelled before its message was whole
}

void Pipeline::expire(std::int64_t now) {
  trim();
  const bool draining = shared_.draining.load(std::memory_order_relaxed);
  for (InferStream* stream : streams_) {
    if (stream->call == nullptr || stream->call->done()) continue;
    if (stream->deadline_ns != 0 && now >= stream->deadline_ns) {
      stream->peer->grpc().fail(*stream->call, Code::kDeadlineExceeded, "the stream's deadline passed");
    } else if (draining && stream->in_flight() == 0) {
      stream->peer->grpc().fail(*stream->call, Code::kUnavailable, kDraining);
    } else {
      continue;
    }
    stream->peer->mark_dirty();
  }
}

void Pipeline::tidy() {
  std::erase_if(deadlines_, [](const Deadline& deadline) { return deadline.model->retired(); });
  worker_.tidy();
}

void Pipeline::fail_all() {
  for (InferStream* stream : streams_) {
    if (stream->call == nullptr || stream->call->done()) continue;
    stream->peer->grpc().fail(*stream->call, Code::kUnavailable, kDraining);
    stream->peer->mark_dirty();
  }
  for (const auto& request : all_) {
    if (request->call == nullptr) continue;
    request->cancelled.store(true, std::memory_order_relaxed);
    request->peer->grpc().fail(*request->call, Code::kUnavailable, kDraining);
    request->peer->mark_dirty();
    // One whose message has come goes its own way from here: when the call ends, it may be gone.
    if (!request->message.bytes.empty()) request->call->user = nullptr;
    request->call = nullptr;
  }
}

}  // namespace kedge::engine
