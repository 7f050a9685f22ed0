#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "wire/openssl_owned.hpp"
#include "wire/tls.hpp"

namespace kedge::wire {

namespace {

// The first reason OpenSSL has queued, and an empty queue.
std::string reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  return text == nullptr ? "no PEM block of that kind" : text;
}

Status wrong(const char* what) {
  return {Code::kInvalidArgument, std::string(what) + " is not usable: " + reason()};
}

OwnedBio memory(std::string_view text) {
  return OwnedBio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A key under a passphrase is refused rather than asked for on the terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

bool use_chain(SSL_CTX* context, std::string_view pem) {
  const OwnedBio bio = memory(pem);
  const OwnedX509 leaf(PEM_read_bio_X509_AUX(bio.get(), nullptr, no_passphrase, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return false;
  for (;;) {
    OwnedX509 issuer(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!issuer) break;
    if (SSL_CTX_add0_chain_cert(context, issuer.get()) != 1) return false;
    issuer.release();  // the context owns it now
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (at_end) ERR_clear_error();
  return at_end;
}

bool trust(SSL_CTX* context, std::string_view pem) {
  const OwnedBio bio = memory(pem);
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  int count = 0;
  for (;; ++count) {
    const OwnedX509 authority(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!authority) break;
    if (X509_STORE_add_cert(store, authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1)
      return false;
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (at_end && count > 0) ERR_clear_error();
  return at_end && count > 0;
}

// Only h2: a client that offers anything else gets an alert instead of a protocol it did not mean (RFC 7301).
int select_h2(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
              unsigned int offered_size, void*) {
  static constexpr unsigned char h2[] = {2, 'h', '2'};
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, h2, sizeof h2, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<const TlsContext>> TlsContext::make(std::string_view certificate, std::string_view key,
                                                           std::string_view client_ca) {
  ERR_clear_error();
  const std::shared_ptr<TlsContext> made(new TlsContext());
  SSL_CTX* const context = made->context_ = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return Status{Code::kInternal, "OpenSSL could not make a TLS context: " + reason()};
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // RFC 9113 section 9.2: no renegotiation, no compression. Tickets would outlive a reload of the
  // certificates.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // RFC 9113 appendix A forbids the older suites of TLS 1.2.
  SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context, select_h2, nullptr);
  if (!use_chain(context, certificate)) return wrong("the certificate");
  const OwnedBio key_bio = memory(key);
  const OwnedKey private_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, no_passphrase, nullptr));
  if (!private_key || SSL_CTX_use_PrivateKey(context, private_key.get()) != 1)
    return wrong("the private key");
  if (SSL_CTX_check_private_key(context) != 1) return wrong("the private key");
  if (!client_ca.empty()) {
    if (!trust(context, client_ca)) return wrong("the client CA");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return std::shared_ptr<const TlsContext>(made);
}

}  // namespace kedge::wire
