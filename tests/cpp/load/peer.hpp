// The other side: a server's session made by nghttp2 itself, sans-I/O, and a real socket that answers as
// told.
#pragma once

#include <nghttp2/nghttp2.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace kedge::load::test {

// A serialised ModelInferResponse; empty bundle and token are left out.
std::string answer_message(std::string_view id, std::string_view version, std::string_view bundle,
                           std::string_view token);

// gRPC's five bytes before a message.
std::string framed(std::string_view message);

// A server's end of one connection.
class ServerEnd {
 public:
  ServerEnd();
  ~ServerEnd();
  ServerEnd(const ServerEnd&) = delete;
  ServerEnd& operator=(const ServerEnd&) = delete;

  // Takes what the client said; false where it is no HTTP/2.
  bool feed(std::string_view bytes);
  // What is to be said to the client.
  std::string pull();

  // Streams whose request has ended, in order.
  std::vector<std::int32_t> asked;
  // Of the last request.
  std::string body;
  std::string timeout;

  // Answers a stream: status 200, gRPC, `body`, trailers with `status` (negative: none).
  void answer(std::int32_t stream, std::string body, int status, const char* http = "200");
  nghttp2_session* session() { return session_; }

  // An answer under way.
  struct Body {
    std::string bytes;
    std::size_t sent = 0;
    int status = 0;
  };

 private:
  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t*, std::size_t,
                       const std::uint8_t*, std::size_t, std::uint8_t, void*);
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t*, std::size_t, void*);
  static int on_frame(nghttp2_session*, const nghttp2_frame*, void*);

  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Body>> bodies_;
};

// Listens on loopback and lets `serve` have each connection, one after the other, until it is destroyed.
class TcpServer {
 public:
  explicit TcpServer(std::function<void(int fd)> serve);
  ~TcpServer();
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int accepted() const { return accepted_.load(); }

 private:
  int socket_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> accepted_{0};
  std::thread thread_;
};

}  // namespace kedge::load::test
