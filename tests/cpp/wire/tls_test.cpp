// TLS in memory, against OpenSSL's own client.
#include "wire/tls.hpp"

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <optional>

#include "certificates.hpp"
#include "recorder.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

class TlsClient {
 public:
  explicit TlsClient(std::string_view alpn, const Identity* identity = nullptr,
                     int max_version = TLS1_3_VERSION)
      : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_, max_version);
    if (identity != nullptr) {
      SSL_CTX_use_certificate(context_, identity->certificate.get());
      SSL_CTX_use_PrivateKey(context_, identity->key.get());
    }
    ssl_ = SSL_new(context_);
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_connect_state(ssl_);
    if (!alpn.empty()) {
      const std::string list = static_cast<char>(alpn.size()) + std::string(alpn);
      SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(list.data()),
                          static_cast<unsigned>(list.size()));
    }
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // Takes the server's bytes; returns what it has to say.
  std::string turn(std::string_view bytes) {
    ERR_clear_error();
    if (!bytes.empty()) BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
    SSL_do_handshake(ssl_);
    char space[4096];
    for (int size = 0; (size = SSL_read(ssl_, space, sizeof space)) > 0;)
      received += std::string(space, static_cast<std::size_t>(size));
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    std::string out(data, static_cast<std::size_t>(size));
    (void)BIO_reset(out_);
    return out;
  }
  void send(std::string_view text) { SSL_write(ssl_, text.data(), static_cast<int>(text.size())); }
  void finish() { SSL_shutdown(ssl_); }
  std::string server_name() {
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl_), X509_free);
    char name[100] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name, sizeof name);
    return name;
  }

  std::string received;

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
};

// Lets both speak until neither has anything to say; what the server read, or none once it is over.
std::optional<std::string> talk(TlsClient& client, Tls& server, std::size_t chunk = SIZE_MAX) {
  Buffer plain;
  for (;;) {
    const std::string down = drain(server.cipher());
    const std::string up = client.turn(down);
    if (up.empty() && down.empty()) return text(plain);
    for (std::size_t at = 0; at < up.size();) {
      const std::string_view piece = std::string_view(up).substr(at, chunk);
      if (!server.feed(as_bytes(piece), plain)) {
        client.turn(drain(server.cipher()));
        return std::nullopt;
      }
      at += piece.size();
    }
  }
}

std::shared_ptr<const TlsContext> context(const Identity& identity, std::string_view client_ca = {}) {
  Result<std::shared_ptr<const TlsContext>> made =
      TlsContext::make(identity.certificate_pem(), identity.key_pem(), client_ca);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  return made.value();
}

}  // namespace

TEST_CASE("a client that offers h2 talks both ways, a byte at a time and large, by TLS 1.2 and 1.3") {
  const Identity identity = make_identity("server");
  const auto shared = context(identity);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const std::size_t chunk : {std::size_t{1}, SIZE_MAX}) {
      TlsClient client("h2", nullptr, version);
      Tls server(shared);
      CHECK_FALSE(server.ready());
      CHECK(talk(client, server, chunk) == "");
      CHECK(server.ready());
      client.send("hello");
      CHECK(talk(client, server, chunk) == "hello");
      Output output;
      const std::string large(300'000, 'x');
      output.append(as_bytes(large));
      CHECK(server.write(output));
      CHECK(output.empty());
      talk(client, server, chunk);
      CHECK(client.received == large);
    }
  }
}

TEST_CASE("nothing is taken for sending before the handshake is done") {
  const Identity identity = make_identity("server");
  Tls server(context(identity));
  Output output;
  output.append(as_bytes("early"));
  CHECK(server.write(output));
  CHECK(output.size() == 5);
  CHECK(server.cipher().empty());
}

TEST_CASE("room for much that came at once is given back, even inside a record") {
  const Identity identity = make_identity("a");
  Tls server(context(identity));
  TlsClient client("h2");
  REQUIRE(talk(client, server).has_value());
  const std::string much(200'000, 'x');
  for (int turn = 0; turn < 2; ++turn) {
    client.send(much);
    const std::string up = client.turn({});
    const std::size_t cut = up.size() - 1000;
    Buffer plain;
    REQUIRE(server.feed(as_bytes(up).first(cut), plain));
    CHECK(server.input_capacity() >= cut);
    server.trim();
    CHECK(server.input_capacity() < 1000);
    REQUIRE(server.feed(as_bytes(up).subspan(cut), plain));
    CHECK(text(plain) == much);
  }
}

TEST_CASE("a client without h2 is turned away") {
  const Identity identity = make_identity("server");
  const auto shared = context(identity);
  for (const std::string_view alpn : {"http/1.1", ""}) {
    TlsClient client(alpn);
    Tls server(shared);
    CHECK_FALSE(talk(client, server).has_value());
    CHECK_FALSE(server.ready());
  }
}

TEST_CASE("with a client CA only its clients come in") {
  const Identity authority = make_identity("authority");
  const Identity server_identity = make_identity("server");
  const Identity good = make_identity("alice", &authority);
  const Identity bad = make_identity("mallory");
  const auto shared = context(server_identity, authority.certificate_pem());
  {
    TlsClient client("h2", &good);
    Tls server(shared);
    CHECK(talk(client, server).has_value());
    CHECK(server.ready());
  }
  for (const Identity* identity : {&bad, static_cast<const Identity*>(nullptr)}) {
    TlsClient client("h2", identity);
    Tls server(shared);
    CHECK_FALSE(talk(client, server).has_value());
    CHECK_FALSE(server.ready());
  }
}

TEST_CASE("after a reload new connections get the new certificate and old ones go on") {
  auto current = context(make_identity("old"));
  TlsClient first("h2");
  Tls old_server(current);
  talk(first, old_server);
  current = context(make_identity("new"));
  TlsClient second("h2");
  Tls new_server(current);
  talk(second, new_server);
  CHECK(first.server_name() == "old");
  CHECK(second.server_name() == "new");
  first.send("still here");
  CHECK(talk(first, old_server) == "still here");
}

TEST_CASE("credentials that do not work are named") {
  const Identity one = make_identity("one");
  const Identity two = make_identity("two");
  const auto said = [](std::string_view certificate, std::string_view key, std::string_view ca = {}) {
    const auto made = TlsContext::make(certificate, key, ca);
    CHECK(made.status().code() == Code::kInvalidArgument);
    return made.status().message();
  };
  CHECK(said("nonsense", one.key_pem()).starts_with("the certificate is not usable: "));
  CHECK(said(one.certificate_pem(), "nonsense").starts_with("the private key is not usable: "));
  CHECK(said(one.certificate_pem(), two.key_pem()).find("mismatch") != std::string::npos);
  CHECK(said(one.certificate_pem(), one.key_pem(), "nonsense").starts_with("the client CA is not usable: "));
}

TEST_CASE("noise, damage and the end are the end") {
  const Identity identity = make_identity("server");
  const auto shared = context(identity);
  Buffer plain;
  Tls noise(shared);
  CHECK_FALSE(noise.feed(as_bytes("GET / HTTP/1.1\r\n\r\n"), plain));
  CHECK_FALSE(noise.feed(as_bytes("more"), plain));

  TlsClient client("h2");
  Tls damaged(shared);
  talk(client, damaged);
  client.send("hello");
  std::string record = client.turn("");
  record.back() = static_cast<char>(~record.back());
  CHECK_FALSE(damaged.feed(as_bytes(record), plain));

  TlsClient leaving("h2");
  Tls left(shared);
  talk(leaving, left);
  leaving.finish();
  CHECK_FALSE(talk(leaving, left).has_value());
}

TEST_CASE("a handshake has a bounded size") {
  const Identity identity = make_identity("server");
  Tls server(context(identity));
  Buffer plain;
  // Well-formed records of handshake fragments that never complete.
  const std::string record = std::string("\x16\x03\x01\x20\x00", 5) + std::string("\x01\xFF\xFF\xFF", 4) +
                             std::string(0x2000 - 4, '\0');
  bool alive = true;
  for (int i = 0; i < 20 && alive; ++i) alive = server.feed(as_bytes(record), plain);
  CHECK_FALSE(alive);
}

TEST_CASE("closing says so to the peer") {
  const Identity identity = make_identity("server");
  TlsClient client("h2");
  Tls server(context(identity));
  talk(client, server);
  server.close();
  CHECK_FALSE(server.cipher().empty());
}
