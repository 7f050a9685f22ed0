// gRPC over one HTTP/2 connection, sans-I/O: what a server's connection holds. Header rules, message framing,
// budgets, deadlines as durations, status trailers.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
#pragma once

#include <memory>
#include <string_view>

#include "wire/call.hpp"

namespace kedge::wire {

struct GrpcOptions {
  std::uint32_t max_concurrent_streams = limits::max_concurrent_streams;
  std::size_t max_message_bytes = limits::max_message_bytes;
  std::size_t max_connection_bytes = limits::max_connection_bytes;
};

class GrpcSession final : private StreamEvents {
 public:
  // `shard` is the budget all connections of the shard share; it and `handler` must outlive the session.
  GrpcSession(CallHandler& handler, Budget& shard, const GrpcOptions& options);
  ~GrpcSession() override;

  // See Session: bytes in, bytes out, life and death of the connection.
  bool feed(Bytes bytes) { return session_.feed(bytes); }
  void pull(Output& out) { session_.pull(out); }
  [[nodiscard]] bool over() const { return session_.over(); }
  [[nodiscard]] std::size_t queued_bytes() const { return session_.queued_bytes(); }
  [[nodiscard]] bool ready() const { return session_.ready(); }
  [[nodiscard]] std::size_t open_calls() const { return session_.open_streams(); }
  void announce_shutdown() { session_.announce_shutdown(); }
  void shutdown() { session_.shutdown(); }
  void terminate(H2Error error) { session_.terminate(error); }
  void tick() { session_.tick(); }
  void abandon() { session_.abandon(); }
  // What this connection may hold, and does.
  [[nodiscard]] Budget& budget() { return *budget_; }

  // The call with this stream id, or null if it has ended. Ids are never reused within a connection.
  [[nodiscard]] Call* find(std::int32_t id) const { return static_cast<Call*>(session_.find(id)); }

  // Sends one message of a streaming answer. `framed` begins with its 5-byte prefix (see frame.hpp,
  // infer_response.hpp).
  void send(Call& call, Buffer&& framed);
  // Sends the last message, if any, and status OK.
  void finish(Call& call, Buffer&& framed);
  void finish(Call& call);
  // Ends the call with an error: trailers-only if nothing was sent. A client that is still sending is told to
  // stop.
  void fail(Call& call, Code code, std::string_view message);
  void fail(Call& call, const Status& status) { fail(call, status.code(), status.message()); }
  // Stops and resumes delivery of a streaming call's messages; meanwhile its window stays shut.
  void pause(Call& call) { call.paused_ = true; }
  void resume(Call& call);

 private:
  std::unique_ptr<Stream> open(std::int32_t id) override;
  void header(Stream& stream, std::string_view name, std::string_view value) override;
  void headers_done(Stream& stream) override;
  void data(Stream& stream, Bytes bytes) override;
  void ended(Stream& stream) override;
  void closed(Stream& stream, H2Error error) override;

  bool keep(Call& call, std::size_t bytes);
  void start(Call& call);
  // Parses as many messages as are in `bytes` and wanted; returns the bytes used.
  std::size_t deliver(Call& call, Bytes bytes);
  void trim_backlog(Call& call);
  void half_close(Call& call);

  CallHandler& handler_;
  GrpcOptions options_;
  Budget::Owned budget_;
  Session session_;
};

}  // namespace kedge::wire
