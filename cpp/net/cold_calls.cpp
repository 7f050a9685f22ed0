#include "net/cold_calls.hpp"

#include "wire/frame.hpp"

namespace kedge::net {

ColdCalls::Cold* ColdCalls::of(const wire::Call& call) {
  return static_cast<Cold*>(static_cast<engine::CallState*>(call.user));
}

void ColdCalls::open(engine::Peer& peer, wire::Call& call) {
  if (calls_.size() >= kMaxOpen) {
    peer.grpc().fail(call, Code::kResourceExhausted, "too many calls are open; end some first");
    peer.mark_dirty();
    return;
  }
  auto cold = std::make_unique<Cold>();
  cold->number = (static_cast<std::uint64_t>(shard_) << kShardShift) | next_++;
  cold->peer = &peer;
  cold->call = &call;
  call.user = static_cast<engine::CallState*>(cold.get());
  Cold& opened = *cold;
  calls_.emplace(opened.number, std::move(cold));
  if (!queue_->push({opened.number, ColdKind::open, std::string(call.path()), call.metadata(), {}})) {
    fail(opened, Code::kResourceExhausted, "too many calls wait to be answered; try again later");
    call.user = nullptr;
    calls_.erase(opened.number);
  }
}

void ColdCalls::message(engine::Peer&, wire::Call& call, wire::Message&& message) {
  Cold* cold = of(call);
  if (cold == nullptr) return;
  const std::string_view text = wire::as_text(message.bytes.view());
  if (!queue_->push({cold->number, ColdKind::message, {}, {}, std::string(text)})) {
    fail(*cold, Code::kResourceExhausted, "too many messages wait to be answered; try again later");
  }
}

void ColdCalls::half_close(wire::Call& call) {
  if (Cold* cold = of(call)) queue_->push({cold->number, ColdKind::half_close, {}, {}, {}});
}

void ColdCalls::ended(wire::Call& call) {
  Cold* cold = of(call);
  if (cold == nullptr) return;
  call.user = nullptr;
  queue_->push({cold->number, ColdKind::cancel, {}, {}, {}});
  calls_.erase(cold->number);
}

void ColdCalls::fail(Cold& cold, Code code, std::string_view text) {
  if (cold.call->done()) return;
  cold.peer->grpc().fail(*cold.call, code, text);
  cold.peer->mark_dirty();
}

void ColdCalls::reply(std::uint64_t number, const std::string* payload, bool last, Code code,
                      const std::string& text) {
  const auto found = calls_.find(number);
  if (found == calls_.end() || found->second->call->done()) return;
  Cold& cold = *found->second;
  wire::GrpcSession& grpc = cold.peer->grpc();
  wire::Buffer framed;
  if (payload != nullptr) {
    wire::write_frame_prefix(framed.extend(wire::frame_prefix_bytes), payload->size());
    framed.append(wire::as_bytes(*payload));
  }
  if (last) {
    cold.call->user = nullptr;  // answered: its end is not the answering thread's business
    if (code != Code::kOk) {
      grpc.fail(*cold.call, code, text);
    } else if (payload != nullptr) {
      grpc.finish(*cold.call, std::move(framed));
    } else {
      grpc.finish(*cold.call);
    }
  } else if (payload != nullptr) {
    if (cold.call->unsent() > kMaxUnsent) {
      fail(cold, Code::kResourceExhausted, "the client does not read its answers");
      return;
    }
    grpc.send(*cold.call, std::move(framed));
  }
  cold.peer->mark_dirty();
  if (last) calls_.erase(found);
}

void ColdCalls::fail_all() {
  for (auto& [number, cold] : calls_) fail(*cold, Code::kUnavailable, "the server is going away");
}

}  // namespace kedge::net
