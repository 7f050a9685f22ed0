// A gRPC client's HTTP/2 session, sans-I/O: unary requests in, what became of each out. nghttp2 does the
// protocol; the server is not trusted: what it may make this side hold is bounded.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.hpp"
#include "wire/buffer.hpp"
#include "wire/bytes.hpp"

struct nghttp2_session;

namespace kedge::load {

// How an exchange ended.
enum class End : std::uint8_t {
  answered,    // with a grpc-status; OK only together with a whole message
  malformed,   // not gRPC: another HTTP status, no grpc-status, or OK without a whole message
  reset,       // the server reset the stream
  refused,     // it refused it, or went away before it looked at it
  connection,  // the connection ended first
};

// What every request of a session says.
struct RequestHead {
  std::string scheme;     // http, https
  std::string authority;  // host:port
  std::string path;       // /package.Service/Method
  std::string timeout;    // grpc-timeout; empty: none
};

// A request to send: the body is `prefix`, then `rest`, which must live until the exchange has ended.
struct Ask {
  static constexpr std::size_t max_prefix_bytes = 24;
  std::array<std::uint8_t, max_prefix_bytes> prefix;
  std::uint8_t prefix_bytes = 0;
  wire::Bytes rest;
  std::int64_t intended_ns = 0;
  std::int64_t sent_ns = 0;
  std::uint32_t message = 0;  // the user's own: which message this is
  std::uint32_t id = 0;       // the user's own: which request this is
};

// One request and its answer.
struct Exchange {
  static constexpr int no_status = -1;

  Ask ask;
  std::size_t sent_bytes = 0;
  std::int32_t stream = -1;  // -1: idle
  std::uint16_t http_status = 0;
  int grpc_status = no_status;
  bool grpc_content = false;
  bool has_message = false;  // a whole one came
  bool broken = false;       // it sent what is no single uncompressed message
  std::string text;          // grpc-message, as sent
  wire::Buffer partial;      // of a message that comes in several pieces

  // The user's own, from `message` to `closed`.
  std::uint16_t origin = 0;
  bool wrong_id = false;
  std::string prediction_id;
};

// Called from within `feed`, `pull` and `abandon` only.
class SessionEvents {
 public:
  virtual ~SessionEvents() = default;
  // A whole message, before its status is known.
  virtual void message(Exchange& exchange, wire::Bytes bytes) = 0;
  // The last event of an exchange.
  virtual void closed(Exchange& exchange, End end) = 0;
};

class ClientSession {
 public:
  // At most `streams` exchanges at a time; fewer if the server says so. `head` must outlive the session.
  ClientSession(SessionEvents& events, const RequestHead& head, std::uint32_t streams);
  ~ClientSession();
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  // Takes what arrived. False: the connection is over, `why` says why.
  bool feed(wire::Bytes bytes);
  // Appends what is to be sent.
  void pull(wire::Buffer& out);
  // Begins an exchange; false where none can begin now.
  bool submit(const Ask& ask);
  // Ends every exchange: the connection is gone.
  void abandon();

  // The server's SETTINGS have arrived: it speaks HTTP/2.
  [[nodiscard]] bool ready() const { return ready_; }
  // A request could begin now.
  [[nodiscard]] bool has_room() const;
  // Requests may begin, if not now: neither side has said goodbye, and stream ids are left.
  [[nodiscard]] bool takes_requests() const;
  [[nodiscard]] std::uint32_t open() const { return open_; }
  // Why it is over; empty while it is not.
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  friend struct ClientCallbacks;

  void take_body(Exchange& exchange, wire::Bytes bytes);
  void end(Exchange& exchange, std::uint32_t error);
  void fail(std::string why);
  [[nodiscard]] bool finished() const;
  [[nodiscard]] std::string goodbye() const;

  SessionEvents& events_;
  const RequestHead& head_;
  const std::uint32_t streams_;
  nghttp2_session* session_ = nullptr;
  bool ready_ = false;
  std::uint32_t open_ = 0;
  std::size_t partial_bytes_ = 0;  // held in `partial` by all exchanges
  std::string why_;
  std::string complaint_;  // nghttp2's own words on what the server did wrong
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::vector<Exchange*> idle_;
};

}  // namespace kedge::load
