// One connection of the generator: socket, TLS if asked for, session; made again when it breaks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "load/client_session.hpp"
#include "load/client_tls.hpp"
#include "load/target.hpp"

namespace kedge::load {

// Attempts in a row before a connection that broke is given up: some 17 seconds.
inline constexpr int max_attempts = 20;
// Of one connection in all: a server that ends every connection at once must not be dialled for ever.
inline constexpr std::uint64_t max_reconnects = 1000;
// The wait before the first attempt, doubled before every next one up to the most.
inline constexpr std::int64_t first_wait_ns = 20'000'000;
inline constexpr std::int64_t most_wait_ns = 1'000'000'000;

class Connection {
 public:
  enum class State : std::uint8_t { connecting, securing, greeting, ready, waiting, given_up };

  Connection(SessionEvents& events, const Target& target, std::uint32_t streams, int epoll);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Dials; later again by `redial`.
  void dial(std::int64_t now_ns);
  // Dials again if it waits and the time has come; gives up what does not greet, or takes no more requests.
  void redial(std::int64_t now_ns);
  // What epoll said of the socket.
  void act(std::uint32_t events, std::span<std::uint8_t> scratch, std::int64_t now_ns);
  // Writes what the session has to say.
  void flush(std::int64_t now_ns);
  // Closes for good; open exchanges end by `connection`.
  void close();

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool has_room() const { return state_ == State::ready && session_->has_room(); }
  [[nodiscard]] std::uint32_t open() const { return session_ ? session_->open() : 0; }
  [[nodiscard]] bool submit(const Ask& ask) { return session_->submit(ask); }
  // Why it is not there, or was not the last time.
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] std::uint64_t reconnects() const { return reconnects_; }
  [[nodiscard]] std::uint64_t bytes_in() const { return bytes_in_; }
  [[nodiscard]] std::uint64_t bytes_out() const { return bytes_out_; }

  bool dirty = false;         // the owner's mark: it has something to flush
  std::uint32_t allowed = 0;  // the owner's: exchanges at a time in a closed loop

 private:
  void watch(bool write);
  void connected(std::int64_t now_ns);
  void secure(std::int64_t now_ns);
  bool read(std::span<std::uint8_t> scratch);
  void broke(std::string why, std::int64_t now_ns);
  void release();

  SessionEvents& events_;
  const Target& target_;
  const std::uint32_t streams_;
  const int epoll_;
  State state_ = State::waiting;
  int fd_ = -1;
  std::uint32_t watched_ = 0;
  std::optional<ClientTls> tls_;
  std::optional<ClientSession> session_;
  wire::Buffer out_;
  std::size_t written_ = 0;  // of out_
  std::string why_;
  int attempts_ = 0;
  std::int64_t dial_at_ns_ = 0;
  std::int64_t dialled_ns_ = 0;
  std::int64_t left_ns_ = 0;  // when it was first seen to take no more requests; 0: it takes some
  std::uint64_t reconnects_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace kedge::load
