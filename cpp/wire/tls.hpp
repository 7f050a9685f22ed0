// TLS between socket and session, sans-I/O: OpenSSL on memory BIOs. ALPN `h2` is required of the client.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.hpp"
#include "wire/buffer.hpp"
#include "wire/output.hpp"

struct ssl_ctx_st;
struct ssl_st;
struct bio_st;

namespace kedge::wire {

// Server credentials, shared by connections. To reload, make a new one and give it to new connections; old
// connections keep theirs. Safe to share between threads.
class TlsContext {
 public:
  // PEM texts. With `client_ca` a client must present a certificate it signed (mTLS).
  // INVALID_ARGUMENT, naming which text is wrong and why.
  static Result<std::shared_ptr<const TlsContext>> make(std::string_view certificate, std::string_view key,
                                                        std::string_view client_ca = {});
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  friend class Tls;
  TlsContext() = default;
  ssl_ctx_st* context_ = nullptr;
};

// One connection's TLS.
class Tls {
 public:
  explicit Tls(std::shared_ptr<const TlsContext> context);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Takes what the socket delivered and appends the decrypted bytes to `plain`. False: the connection is over
  // (alert, close_notify, a client without ALPN h2); write what `cipher` holds, then close.
  bool feed(Bytes bytes, Buffer& plain);
  // Encrypts everything in `plain`; the records appear in `cipher`. Before the handshake is done nothing is
  // taken.
  bool write(Output& plain);
  // Bytes for the socket: handshake, records, alerts. The owner consumes them.
  [[nodiscard]] Output& cipher() { return cipher_; }
  [[nodiscard]] bool ready() const { return ready_; }
  // Memory kept for what the socket delivers next.
  [[nodiscard]] std::size_t input_capacity() const;
  // Frees what is kept, where there is much of it: `feed` keeps room for the most it was ever given.
  void trim();
  // Sends close_notify.
  void close();

 private:
  bool handshake();
  void collect();

  std::shared_ptr<const TlsContext> context_;
  ssl_st* ssl_ = nullptr;
  bio_st* in_ = nullptr;   // owned by ssl_
  bio_st* out_ = nullptr;  // owned by ssl_
  Output cipher_;
  std::size_t handshake_bytes_ = 0;
  bool ready_ = false;
  bool failed_ = false;
};

}  // namespace kedge::wire
