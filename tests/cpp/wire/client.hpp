// An HTTP/2 client in memory: the other end of a session under test.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/bytes.hpp"

namespace kedge::wire::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Answer {
  Fields headers;  // both blocks, in order
  std::string body;
  std::optional<std::uint32_t> closed;  // error code of the stream's end
  bool ended = false;                   // END_STREAM came
  bool reset = false;                   // RST_STREAM came

  [[nodiscard]] std::string header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
};

struct ClientOptions {
  bool auto_window = true;       // gives window back as it reads
  std::uint32_t window = 65535;  // SETTINGS_INITIAL_WINDOW_SIZE
};

class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // A gRPC request with these extra headers; `body` as given. Without `end` more may follow by `send`.
  std::int32_t request(std::string_view path, std::string body, const Fields& extra = {}, bool end = true);
  // A request with exactly these headers.
  std::int32_t raw_request(const Fields& headers, std::string body, bool end = true);
  void send(std::int32_t id, std::string body, bool end);
  void reset(std::int32_t id);
  void ping();

  // Everything the client wants to send now.
  std::string output();
  // What the server sent; false if it makes no sense.
  bool input(std::string_view bytes);

  std::map<std::int32_t, Answer> answers;
  std::optional<std::uint32_t> goaway;  // its error code
  std::int32_t goaway_last = -1;        // its last stream id
  int pongs = 0;
  nghttp2_session* session = nullptr;

 private:
  friend struct ClientCallbacks;
  struct Body {
    std::string left;
    bool end = false;
    bool deferred = false;
  };
  std::map<std::int32_t, Body> bodies_;
};

// One gRPC message with its prefix.
std::string framed(std::string_view message, bool compressed = false);

// Hands both ends' output to each other until neither has any. `chunk`: at most so many bytes at a time.
template <class Server>
void exchange(Client& client, Server& server, std::size_t chunk = SIZE_MAX);

}  // namespace kedge::wire::test

#include "wire/output.hpp"

namespace kedge::wire::test {

inline std::string drain(Output& output) {
  std::string text;
  while (!output.empty()) {
    text += as_text(output.front());
    output.consume(output.front().size());
  }
  return text;
}

// Feeds `bytes` in pieces; false as soon as the server says it is over.
template <class Server>
bool feed(Server& server, std::string_view bytes, std::size_t chunk) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, chunk);
    // A copy of the exact size, so that AddressSanitizer sees a read past it.
    const std::vector<std::uint8_t> exact(piece.begin(), piece.end());
    if (!server.feed({exact.data(), exact.size()})) return false;
    bytes.remove_prefix(piece.size());
  }
  return true;
}

template <class Server>
void exchange(Client& client, Server& server, std::size_t chunk) {
  for (;;) {
    const std::string up = client.output();
    feed(server, up, chunk);
    Output output;
    server.pull(output);
    const std::string down = drain(output);
    if (up.empty() && down.empty()) return;
    if (!client.input(down)) return;
  }
}

}  // namespace kedge::wire::test
