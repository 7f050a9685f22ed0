// Floods, each stopped by the limit that names it.
#include <doctest/doctest.h>

#include "recorder.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(payload.size() >> shift & 0xFF);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(stream >> shift & 0xFF);
  return out += payload;
}

// The error the server ends the connection with after `bytes`; none if it goes on. Reads all output, as a
// flooder may.
std::optional<std::uint32_t> verdict(Pair& pair, const std::string& bytes) {
  feed(pair.session, bytes, 16 * 1024);
  Output output;
  pair.session.pull(output);
  pair.client.input(drain(output));
  return pair.client.goaway;
}

std::string repeat(const std::string& one, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += one;
  return all;
}

}  // namespace

TEST_CASE("a PING flood by a reader ends in ENHANCE_YOUR_CALM") {
  Pair pair;
  pair.exchange();
  const std::string ping = frame(NGHTTP2_PING, 0, 0, "12345678");
  std::optional<std::uint32_t> error;
  for (std::size_t sent = 0; sent < 2 * limits::max_control_frames && !error; sent += 100) {
    error = verdict(pair, repeat(ping, 100));
  }
  CHECK(error == NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST_CASE("pings with messages or seconds between them go on for ever") {
  Pair pair;
  pair.exchange();
  const std::string ping = frame(NGHTTP2_PING, 0, 0, "12345678");
  for (std::size_t sent = 0; sent < 3 * limits::max_control_frames; sent += 100) {
    CHECK_FALSE(verdict(pair, repeat(ping, 100)));
    if (sent % 1000 == 0) pair.session.tick();
  }
}

TEST_CASE("acknowledgements a peer does not read end the connection") {
  Pair pair;
  pair.exchange();
  const std::string ping = frame(NGHTTP2_PING, 0, 0, "12345678");
  CHECK_FALSE(feed(pair.session, repeat(ping, 2 * limits::max_outbound_acks), SIZE_MAX));
}

TEST_CASE("a SETTINGS flood and an oversized SETTINGS frame end the connection") {
  Pair pair;
  pair.exchange();
  CHECK_FALSE(
      feed(pair.session, repeat(frame(NGHTTP2_SETTINGS, 0, 0, ""), 2 * limits::max_outbound_acks), SIZE_MAX));
  Pair other;
  other.exchange();
  const std::string entry("\0\4\0\0\xFF\xFF", 6);
  const bool alive =
      feed(other.session, frame(NGHTTP2_SETTINGS, 0, 0, repeat(entry, limits::max_settings_entries + 1)),
           SIZE_MAX);
  CHECK((!alive || verdict(other, "").has_value()));
}

TEST_CASE("a CONTINUATION flood ends the connection") {
  Pair pair;
  pair.exchange();
  std::string bytes = frame(NGHTTP2_HEADERS, 0, 1, "");
  bytes += repeat(frame(NGHTTP2_CONTINUATION, 0, 1, ""), limits::max_continuations + 2);
  const bool alive = feed(pair.session, bytes, SIZE_MAX);
  CHECK((!alive || verdict(pair, "").has_value()));
}

TEST_CASE("rapid reset ends the connection after the burst") {
  Pair pair;
  bool over = false;
  std::uint64_t resets = 0;
  while (!over && resets < 2 * limits::stream_reset_burst) {
    const std::int32_t id = pair.client.request("/hot", framed("x"));
    std::string up = pair.client.output();
    pair.client.reset(id);
    up += pair.client.output();
    over = !feed(pair.session, up, SIZE_MAX);
    Output output;
    pair.session.pull(output);
    pair.client.input(drain(output));
    over = over || pair.client.goaway.has_value();
    ++resets;
  }
  CHECK(over);
  CHECK(resets >= limits::stream_reset_burst);
}

TEST_CASE("resets a peer provokes and does not read end the connection") {
  constexpr std::uint32_t most = 100'000;
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(NGHTTP2_SETTINGS, 0, 0, "");
  const std::string block("\x83\x86\x84\x01\x01x", 6);  // POST, http, /, :authority x
  std::uint32_t sent = 0;
  // Streams past the limit, of a client that never acknowledges it.
  Pair many(GrpcOptions{.max_concurrent_streams = 10});
  bool alive = feed(many.session, preface, SIZE_MAX);
  for (; alive && sent < most; ++sent) {
    alive =
        feed(many.session, frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * sent + 1, block), SIZE_MAX);
  }
  CHECK(sent < most);
}

TEST_CASE("an empty-DATA flood ends in ENHANCE_YOUR_CALM") {
  Pair pair;
  const std::int32_t id = pair.client.request("/stream/x", framed("a"), {}, false);
  pair.exchange();
  const std::string empty = frame(NGHTTP2_DATA, 0, static_cast<std::uint32_t>(id), "");
  CHECK(verdict(pair, repeat(empty, limits::max_control_frames + 1)) == NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST_CASE("streams past the limit are refused and the others live") {
  Pair pair(GrpcOptions{.max_concurrent_streams = 10});
  for (int i = 0; i < 10; ++i) pair.client.request("/hot", framed("x"));
  pair.exchange();
  CHECK(pair.session.open_calls() == 10);
}

TEST_CASE("any bytes after the preface leave a session that can be destroyed") {
  std::uint64_t state = 1;
  for (int round = 0; round < 200; ++round) {
    Pair pair;
    pair.exchange();
    std::string noise(300, '\0');
    for (char& c : noise) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      c = static_cast<char>(state >> 56);
    }
    if (round % 2 == 0) noise[0] = noise[1] = '\0';
    feed(pair.session, noise, 13);
    Output output;
    pair.session.pull(output);
    pair.session.abandon();
    CHECK(pair.session.open_calls() == 0);
  }
}
