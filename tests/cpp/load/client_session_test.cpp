#include "load/client_session.hpp"

#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "peer.hpp"

using namespace kedge::load;        // NOLINT: the subject
using namespace kedge::load::test;  // NOLINT: and its other side
using kedge::wire::as_bytes;
using kedge::wire::as_text;
using kedge::wire::Buffer;
using kedge::wire::Bytes;

namespace {

// Keeps what a session says.
struct Listener final : SessionEvents {
  struct Ended {
    std::uint32_t id;
    End end;
    int status;
    std::string message;
    std::string text;
  };

  void message(Exchange&, Bytes bytes) override { last = as_text(bytes); }
  void closed(Exchange& exchange, End end) override {
    ended.push_back({exchange.ask.id, end, exchange.grpc_status, last, exchange.text});
  }

  std::string last;
  std::vector<Ended> ended;
};

// A session and its server, talking.
struct Talk {
  explicit Talk(std::uint32_t streams = 8) : client(listener, head, streams) { turn(); }

  // Bytes both ways until neither says more; false once the client is done with the server.
  bool turn() {
    bool good = true;
    for (int count = 0; count < 20; ++count) {
      Buffer out;
      client.pull(out);
      if (!out.empty()) REQUIRE(server.feed(as_text(out.view())));
      const std::string said = server.pull();
      if (said.empty() && out.empty()) break;
      good = client.feed(as_bytes(said)) && good;
    }
    return good;
  }
  bool ask(std::uint32_t id, std::string_view rest = "rest") {
    Ask ask;
    ask.prefix = {'p', 'r', 'e'};
    ask.prefix_bytes = 3;
    ask.rest = as_bytes(rest);
    ask.id = id;
    return client.submit(ask);
  }

  RequestHead head{"http", "localhost:1", "/inference.GRPCInferenceService/ModelInfer", "50000u"};
  Listener listener;
  ClientSession client;
  ServerEnd server;
};

const std::string good_body = framed(answer_message("7", "1", "", ""));

}  // namespace

TEST_CASE("A request is sent as prefix and rest, and its answer comes with a status") {
  Talk talk;
  REQUIRE(talk.client.ready());
  REQUIRE(talk.ask(7));
  talk.turn();
  CHECK(talk.server.body == "prerest");
  CHECK(talk.server.timeout == "50000u");
  talk.server.answer(talk.server.asked.at(0), good_body, 0);
  CHECK(talk.turn());
  REQUIRE(talk.listener.ended.size() == 1);
  CHECK(talk.listener.ended[0].id == 7);
  CHECK(talk.listener.ended[0].end == End::answered);
  CHECK(talk.listener.ended[0].status == 0);
  CHECK(talk.listener.ended[0].message == good_body.substr(5));
  CHECK(talk.client.open() == 0);
}

TEST_CASE("Large requests and answers come whole") {
  Talk talk;
  const std::string rest(300'000, 'r');
  REQUIRE(talk.ask(1, rest));
  talk.turn();
  CHECK(talk.server.body.size() == rest.size() + 3);
  talk.server.answer(talk.server.asked.at(0), framed(std::string(400'000, '\0')), 0);
  talk.turn();
  REQUIRE(talk.listener.ended.size() == 1);
  CHECK(talk.listener.ended[0].end == End::answered);
  CHECK(talk.listener.last.size() == 400'000);
}

TEST_CASE("An answer may come byte by byte") {
  Talk talk;
  REQUIRE(talk.ask(1));
  talk.turn();
  talk.server.answer(talk.server.asked.at(0), good_body, 0);
  for (const char byte : talk.server.pull()) CHECK(talk.client.feed(as_bytes({&byte, 1})));
  REQUIRE(talk.listener.ended.size() == 1);
  CHECK(talk.listener.ended[0].end == End::answered);
}

TEST_CASE("No more requests are open than asked for, and exchanges are used again") {
  Talk talk(2);
  for (std::uint32_t turn = 0; turn < 5; ++turn) {
    CHECK(talk.ask(2 * turn));
    CHECK(talk.ask(2 * turn + 1));
    CHECK_FALSE(talk.ask(99));
    talk.turn();
    for (const std::int32_t stream : talk.server.asked) talk.server.answer(stream, good_body, 0);
    talk.server.asked.clear();
    talk.turn();
  }
  CHECK(talk.listener.ended.size() == 10);
}

TEST_CASE("What is no whole gRPC answer is malformed") {
  struct Case {
    std::string body;
    int status;
    const char* http;
  };
  std::string compressed = good_body;
  compressed[0] = 1;
  std::string huge = good_body;
  huge[1] = '\x7f';
  const std::vector<Case> cases = {
      {good_body, -1, "200"},              // no status
      {good_body, 99, "200"},              // no such status
      {good_body, 0, "500"},               // HTTP says no
      {"", 0, "200"},                      // OK without a message
      {good_body.substr(0, 9), 0, "200"},  // cut
      {good_body + good_body, 0, "200"},   // two
      {compressed, 0, "200"},
      {huge, 0, "200"},
  };
  for (const Case& each : cases) {
    Talk talk;
    REQUIRE(talk.ask(1));
    talk.turn();
    talk.server.answer(talk.server.asked.at(0), each.body, each.status, each.http);
    talk.turn();
    REQUIRE(talk.listener.ended.size() == 1);
    CHECK(talk.listener.ended[0].end == End::malformed);
  }
}

TEST_CASE("An error has no message and is an answer") {
  Talk talk;
  REQUIRE(talk.ask(1));
  talk.turn();
  talk.server.answer(talk.server.asked.at(0), "", 8);
  talk.turn();
  REQUIRE(talk.listener.ended.size() == 1);
  CHECK(talk.listener.ended[0].end == End::answered);
  CHECK(talk.listener.ended[0].status == 8);
}

TEST_CASE("Resets and refusals are told apart") {
  Talk talk;
  REQUIRE(talk.ask(1));
  REQUIRE(talk.ask(2));
  talk.turn();
  nghttp2_submit_rst_stream(talk.server.session(), 0, talk.server.asked.at(0), NGHTTP2_INTERNAL_ERROR);
  nghttp2_submit_rst_stream(talk.server.session(), 0, talk.server.asked.at(1), NGHTTP2_REFUSED_STREAM);
  talk.turn();
  REQUIRE(talk.listener.ended.size() == 2);
  CHECK(talk.listener.ended[0].end == End::reset);
  CHECK(talk.listener.ended[1].end == End::refused);
}

TEST_CASE("After GOAWAY the running ones end and none begins") {
  Talk talk;
  REQUIRE(talk.ask(1));
  REQUIRE(talk.ask(2));
  talk.turn();
  nghttp2_submit_goaway(talk.server.session(), 0, talk.server.asked.at(0), NGHTTP2_NO_ERROR, nullptr, 0);
  CHECK(talk.turn());
  REQUIRE(talk.listener.ended.size() == 1);
  CHECK(talk.listener.ended[0].id == 2);
  CHECK(talk.listener.ended[0].end == End::refused);
  CHECK_FALSE(talk.client.takes_requests());
  CHECK_FALSE(talk.ask(3));
  talk.server.answer(talk.server.asked.at(0), good_body, 0);
  CHECK_FALSE(talk.turn());
  CHECK(talk.listener.ended.back().end == End::answered);
  CHECK(talk.client.why() == "it ended the connection");
}

TEST_CASE("A connection that is gone ends every exchange once") {
  Talk talk;
  REQUIRE(talk.ask(1));
  REQUIRE(talk.ask(2));
  talk.turn();
  talk.client.abandon();
  talk.client.abandon();
  REQUIRE(talk.listener.ended.size() == 2);
  CHECK(talk.listener.ended[0].end == End::connection);
}

TEST_CASE("A header that never ends is an error, not memory") {
  Talk talk;
  REQUIRE(talk.ask(1));
  talk.turn();
  const std::string large(30'000, 'x');
  std::vector<nghttp2_nv> headers;
  for (const char* name : {":status", "content-type", "a", "b", "c", "d"}) {
    const std::string_view key(name);
    const std::string_view value = key == ":status" ? "200" : std::string_view(large);
    headers.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(key.data())),
                       reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), key.size(),
                       value.size(), 0});
  }
  nghttp2_submit_response(talk.server.session(), talk.server.asked.at(0), headers.data(), 3, nullptr);
  talk.turn();
  talk.client.abandon();
  REQUIRE(talk.listener.ended.size() == 1);
  CHECK(talk.listener.ended[0].end != End::answered);
}

TEST_CASE("What is no HTTP/2 ends the connection with a reason") {
  for (const std::string_view said : {std::string_view("HTTP/1.1 400 Bad Request\r\n\r\n"),
                                      std::string_view("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 21)}) {
    RequestHead head{"http", "localhost", "/", ""};
    Listener listener;
    ClientSession client(listener, head, 4);
    Buffer out;
    client.pull(out);
    bool good = client.feed(as_bytes(said));
    out.clear();
    client.pull(out);
    good = good && client.feed(as_bytes("more"));
    CHECK_FALSE(client.ready());
    CHECK_FALSE(client.has_room());
  }
}

TEST_CASE("Damaged answers of a real server never crash it") {
  std::mt19937 random(11);
  for (int turn = 0; turn < 400; ++turn) {
    Talk talk;
    for (std::uint32_t id = 0; id < 3; ++id) REQUIRE(talk.ask(id));
    talk.turn();
    for (const std::int32_t stream : talk.server.asked) talk.server.answer(stream, good_body, 0);
    std::string said = talk.server.pull();
    for (unsigned count = 1 + random() % 4; count > 0; --count) {
      said[random() % said.size()] = static_cast<char>(random());
    }
    static_cast<void>(talk.client.feed(as_bytes(said)));
    Buffer out;
    talk.client.pull(out);
    talk.client.abandon();
    CHECK(talk.listener.ended.size() == 3);
  }
}
