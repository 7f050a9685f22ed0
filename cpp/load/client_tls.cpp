#include "load/client_tls.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <array>
#include <cstdlib>

#include "wire/openssl_owned.hpp"

namespace kedge::load {

namespace {

constexpr std::array<std::uint8_t, 3> alpn_h2 = {2, 'h', '2'};

std::string reason(const char* otherwise) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const text = code == 0 ? nullptr : ERR_reason_error_string(code);
  return text == nullptr ? otherwise : text;
}

Status wrong(const char* what) {
  return {Code::kInvalidArgument,
          std::string(what) + " is not usable: " + reason("no PEM block of that kind")};
}

wire::OwnedBio memory(std::string_view text) {
  return wire::OwnedBio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

int no_passphrase(char*, int, int, void*) { return 0; }

bool trust(SSL_CTX* context, std::string_view pem) {
  const wire::OwnedBio bio = memory(pem);
  int count = 0;
  for (;; ++count) {
    const wire::OwnedX509 authority(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!authority) break;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1) return false;
  }
  if (count > 0) ERR_clear_error();
  return count > 0;
}

bool present(SSL_CTX* context, std::string_view certificate) {
  const wire::OwnedBio bio = memory(certificate);
  const wire::OwnedX509 leaf(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
  return leaf && SSL_CTX_use_certificate(context, leaf.get()) == 1;
}

bool own(SSL_CTX* context, std::string_view key) {
  const wire::OwnedBio bio = memory(key);
  const wire::OwnedKey owned(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  return owned && SSL_CTX_use_PrivateKey(context, owned.get()) == 1 &&
         SSL_CTX_check_private_key(context) == 1;
}

}  // namespace

Result<std::shared_ptr<const ClientTlsContext>> ClientTlsContext::make(std::string_view ca,
                                                                       std::string_view certificate,
                                                                       std::string_view key) {
  ERR_clear_error();
  const std::shared_ptr<ClientTlsContext> made(new ClientTlsContext);
  made->context_ = SSL_CTX_new(TLS_client_method());
  SSL_CTX* const context = made->context_;
  if (context == nullptr) return wrong("TLS");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_protos(context, alpn_h2.data(), alpn_h2.size());
  if (!trust(context, ca)) return wrong("the CA");
  if (!certificate.empty() && !present(context, certificate)) return wrong("the client certificate");
  if (!certificate.empty() && !own(context, key)) return wrong("the key of the client certificate");
  return std::shared_ptr<const ClientTlsContext>(made);
}

ClientTlsContext::~ClientTlsContext() { SSL_CTX_free(context_); }

ClientTls::ClientTls(const ClientTlsContext& context, int fd, const std::string& host)
    : ssl_(SSL_new(context.context_)) {
  if (ssl_ == nullptr || SSL_set_fd(ssl_, fd) != 1) std::abort();
  in6_addr address{};
  const bool numeric =
      inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
  if (numeric) {
    named_ = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), host.c_str()) == 1;
  } else {
    SSL_set_tlsext_host_name(ssl_, host.c_str());
    named_ = SSL_set1_host(ssl_, host.c_str()) == 1;
  }
}

ClientTls::~ClientTls() { SSL_free(ssl_); }

Io ClientTls::judge(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_NONE:
      return Io::done;
    case SSL_ERROR_WANT_READ:
      return Io::wants_read;
    case SSL_ERROR_WANT_WRITE:
      return Io::wants_write;
    default:
      break;
  }
  const long verified = SSL_get_verify_result(ssl_);
  why_ = verified == X509_V_OK ? reason("it ended the connection") : X509_verify_cert_error_string(verified);
  ERR_clear_error();
  return Io::over;
}

Io ClientTls::handshake() {
  if (!named_) {
    why_ = "a certificate cannot be checked for this host";
    return Io::over;
  }
  ERR_clear_error();
  const Io result = judge(SSL_connect(ssl_));
  if (result != Io::done) return result;
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &chosen, &size);
  if (wire::as_text({chosen, size}) == "h2") return Io::done;
  why_ = "it does not offer HTTP/2 (ALPN h2)";
  return Io::over;
}

Io ClientTls::read(std::span<std::uint8_t> to, std::size_t& count) {
  ERR_clear_error();
  return judge(SSL_read_ex(ssl_, to.data(), to.size(), &count));
}

Io ClientTls::write(wire::Bytes bytes, std::size_t& count) {
  ERR_clear_error();
  return judge(SSL_write_ex(ssl_, bytes.data(), bytes.size(), &count));
}

}  // namespace kedge::load
