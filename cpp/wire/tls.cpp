#include "wire/tls.hpp"

#include <openssl/buffer.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdlib>

#include "base/limits.hpp"

namespace kedge::wire {

namespace {

constexpr std::size_t record_bytes = 16 * 1024;  // the most a TLS record carries

// Null when there is no memory.
bio_st* make_buffer() {
  bio_st* const made = BIO_new(BIO_s_mem());
  // An empty memory BIO means "more later", not the end.
  if (made != nullptr) BIO_set_mem_eof_return(made, -1);
  return made;
}

}  // namespace

Tls::Tls(std::shared_ptr<const TlsContext> context)
    : context_(std::move(context)), ssl_(SSL_new(context_->context_)) {
  in_ = make_buffer();
  out_ = make_buffer();
  if (ssl_ == nullptr || in_ == nullptr || out_ == nullptr) std::abort();  // out of memory
  SSL_set_bio(ssl_, in_, out_);
  SSL_set_accept_state(ssl_);
}

Tls::~Tls() { SSL_free(ssl_); }

bool Tls::handshake() {
  const int code = SSL_do_handshake(ssl_);
  if (code == 1) {
    const unsigned char* protocol = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_, &protocol, &size);
    if (as_text({protocol, size}) != "h2") return false;  // the client offered no ALPN at all
    ready_ = true;
    return true;
  }
  return SSL_get_error(ssl_, code) == SSL_ERROR_WANT_READ;
}

bool Tls::feed(Bytes bytes, Buffer& plain) {
  if (failed_) return false;
  ERR_clear_error();
  if (!ready_) {
    handshake_bytes_ += bytes.size();
    if (handshake_bytes_ > limits::max_handshake_bytes) failed_ = true;
  }
  if (!failed_ && !bytes.empty() && BIO_write(in_, bytes.data(), static_cast<int>(bytes.size())) < 0)
    failed_ = true;
  if (!failed_ && !ready_ && !handshake()) failed_ = true;
  while (!failed_ && ready_) {
    const std::size_t before = plain.size();
    std::size_t read = 0;
    const int code = SSL_read_ex(ssl_, plain.extend(record_bytes), record_bytes, &read);
    plain.resize(before + read);
    if (code == 1) continue;
    // Anything but "more later" ends the connection: close_notify, an alert, a damaged record.
    if (SSL_get_error(ssl_, code) != SSL_ERROR_WANT_READ) failed_ = true;
    break;
  }
  collect();
  return !failed_;
}

bool Tls::write(Output& plain) {
  if (failed_) return false;
  if (!ready_) return true;
  ERR_clear_error();
  while (!plain.empty()) {
    std::size_t written = 0;
    if (SSL_write_ex(ssl_, plain.front().data(), plain.front().size(), &written) != 1) {
      failed_ = true;  // memory BIOs are never full, so nothing can be waited for
      break;
    }
    plain.consume(written);
    collect();
  }
  return !failed_;
}

std::size_t Tls::input_capacity() const {
  BUF_MEM* memory = nullptr;
  BIO_get_mem_ptr(in_, &memory);
  return memory->max;
}

void Tls::trim() {
  if (failed_ || BIO_pending(in_) != 0 || input_capacity() <= record_bytes) return;
  bio_st* const fresh = make_buffer();
  if (fresh == nullptr) return;
  SSL_set0_rbio(ssl_, fresh);  // frees the one before
  in_ = fresh;
}

void Tls::close() {
  if (failed_ || !ready_) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  failed_ = true;
  collect();
}

void Tls::collect() {
  char* data = nullptr;
  const long size = BIO_get_mem_data(out_, &data);
  if (size <= 0) return;
  cipher_.append({reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)});
  BIO_reset(out_);
}

}  // namespace kedge::wire
