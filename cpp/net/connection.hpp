// One client's socket: bytes between it, TLS if configured, and the gRPC session.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/pipeline.hpp"
#include "net/cold_calls.hpp"
#include "wire/tls.hpp"

namespace kedge::net {

// What a connection asks of the shard that owns it.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual engine::Pipeline& pipeline() = 0;
  virtual ColdCalls& cold() = 0;
  virtual bool leaving() const = 0;
  // `connection` has output; flush it at the end of the turn.
  virtual void add_dirty(class Connection& connection) = 0;
  // Which events of the socket are wanted.
  virtual void watch(class Connection& connection, bool read, bool write) = 0;
};

class Connection final : public engine::Peer, private wire::CallHandler {
 public:
  Connection(ConnectionOwner& owner, std::uint32_t shard, int fd, wire::Budget& budget,
             const wire::GrpcOptions& options, std::shared_ptr<const wire::TlsContext> tls);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Reads once, at most `scratch`; `decrypted` is for what TLS makes of it. False: the connection is to be
  // closed.
  bool read(std::span<std::uint8_t> scratch, wire::Buffer& decrypted);
  // Writes what there is to write. False: the connection is to be closed.
  bool flush();
  // Once a second. False: it idles, or its peer never finished its greeting.
  bool tick(std::int64_t now_ns);
  // GOAWAY; the second half follows in a later tick.
  void drain();

  wire::GrpcSession& grpc() override { return grpc_; }
  void mark_dirty() override;

  int fd() const { return fd_; }
  std::size_t held_bytes() { return grpc_.budget().used(); }
  std::size_t open_calls() const { return grpc_.open_calls(); }

  // The shard's own marks.
  bool dirty = false;
  bool backlogged = false;
  bool closing = false;
  std::uint32_t events = 0;

 private:
  void hold(std::size_t output_bytes);
  wire::Method method(std::string_view path) override;
  void on_call(wire::Call& call) override;
  void on_message(wire::Call& call, wire::Message&& message) override;
  void on_half_close(wire::Call& call) override;
  void on_ended(wire::Call& call, wire::Ended how) override;

  ConnectionOwner& owner_;
  int fd_;
  std::unique_ptr<wire::Tls> tls_;
  wire::GrpcSession grpc_;
  wire::Output plain_;
  wire::Reservation held_;  // of the connection itself and of output the socket has not taken
  std::int64_t opened_ns_;
  std::int64_t active_ns_;
  bool called_ = false;      // since the last tick
  bool input_over_ = false;  // write what is left, then close
  bool shutting_down_ = false;
};

}  // namespace kedge::net
