// Handlers that write down what they are told.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "client.hpp"
#include "wire/grpc_session.hpp"

namespace kedge::wire::test {

inline std::string text(const Buffer& buffer) { return std::string(as_text(buffer.view())); }

inline Buffer buffer(std::string_view content) {
  Buffer made;
  made.append(as_bytes(content));
  return made;
}

// Paths under /stream/ are streaming, those under /cold/ keep their metadata; /echo answers at once.
class Recorder : public CallHandler {
 public:
  Method method(std::string_view asked) override {
    return {.cardinality = asked.starts_with("/stream/") ? Cardinality::streaming : Cardinality::unary,
            .keep_metadata = asked.starts_with("/cold/"),
            .tag = asked == "/echo" ? 1u : 0u};
  }
  void on_call(Call& call) override {
    log.push_back("call");
    calls.push_back(&call);
    key = call.key();
    timeout = call.timeout();
    metadata = call.metadata();
    path = call.path();
  }
  void on_message(Call& call, Message&& message) override {
    messages[call.id()].push_back(text(message.bytes));
    log.push_back("message");
    if (pause_after == messages[call.id()].size()) session->pause(call);
    if (call.method().tag == 1) session->finish(call, buffer(framed(text(message.bytes))));
    if (keep) held.push_back(std::move(message));
  }
  void on_half_close(Call&) override { log.push_back("half_close"); }
  void on_ended(Call& call, Ended how) override {
    log.push_back(how == Ended::answered ? "answered" : "cancelled");
    std::erase(calls, &call);
  }

  GrpcSession* session = nullptr;
  std::vector<std::string> log;
  std::vector<Call*> calls;
  std::map<std::int32_t, std::vector<std::string>> messages;
  std::vector<Message> held;
  std::string key;
  std::string path;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::optional<std::chrono::nanoseconds> timeout;
  std::size_t pause_after = 0;
  bool keep = false;
};

// A server and its client, connected.
struct Pair {
  explicit Pair(const GrpcOptions& options = {}, ClientOptions client_options = {})
      : client(client_options), session(handler, shard, options) {
    handler.session = &session;
  }
  void exchange(std::size_t chunk = SIZE_MAX) { test::exchange(client, session, chunk); }

  Recorder handler;
  Budget shard{limits::max_shard_bytes};
  Client client;
  GrpcSession session;
};

}  // namespace kedge::wire::test
