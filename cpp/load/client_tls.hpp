// TLS of a client on its own socket: the server's certificate is checked against a CA and its name; ALPN h2.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.hpp"
#include "wire/bytes.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace kedge::load {

// Shared by connections and threads.
class ClientTlsContext {
 public:
  // PEM texts; `certificate` and `key` both or neither. INVALID_ARGUMENT, naming which is wrong and why.
  static Result<std::shared_ptr<const ClientTlsContext>> make(std::string_view ca,
                                                              std::string_view certificate,
                                                              std::string_view key);
  ~ClientTlsContext();
  ClientTlsContext(const ClientTlsContext&) = delete;
  ClientTlsContext& operator=(const ClientTlsContext&) = delete;

 private:
  friend class ClientTls;
  ClientTlsContext() = default;
  ssl_ctx_st* context_ = nullptr;
};

// What came of a call on a socket that does not block.
enum class Io : std::uint8_t { done, wants_read, wants_write, over };

class ClientTls {
 public:
  // `host` is the name or IP address that the certificate must be for. The socket stays the caller's.
  ClientTls(const ClientTlsContext& context, int fd, const std::string& host);
  ~ClientTls();
  ClientTls(const ClientTls&) = delete;
  ClientTls& operator=(const ClientTls&) = delete;

  Io handshake();
  // Sets `count` where done.
  Io read(std::span<std::uint8_t> to, std::size_t& count);
  Io write(wire::Bytes bytes, std::size_t& count);
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  Io judge(int result);

  ssl_st* ssl_ = nullptr;
  bool named_ = false;  // whom the certificate must be for; without, any would do
  std::string why_;
};

}  // namespace kedge::load
