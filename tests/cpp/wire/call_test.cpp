// Unary gRPC calls through GrpcSession, from a real HTTP/2 client.
#include <doctest/doctest.h>

#include "gzip.hpp"
#include "recorder.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;
using Log = std::vector<std::string>;

TEST_CASE("a unary call is answered with headers, one message and status OK") {
  for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, SIZE_MAX}) {
    Pair pair;
    const std::int32_t id = pair.client.request("/echo", framed("hello"));
    pair.exchange(chunk);
    const Answer& answer = pair.client.answers[id];
    CHECK(answer.body == framed("hello"));
    CHECK(answer.header(":status") == "200");
    CHECK(answer.header("content-type") == "application/grpc");
    CHECK(answer.header("grpc-status") == "0");
    CHECK(answer.closed == NGHTTP2_NO_ERROR);
    CHECK_FALSE(answer.reset);
    CHECK(pair.handler.log == Log{"call", "message", "answered"});
    CHECK(pair.session.open_calls() == 0);
    CHECK(pair.shard.used() == 0);
  }
}

TEST_CASE("a body larger than every window arrives whole, in both directions") {
  const std::string large(5'000'000, 'x');
  Pair pair;
  const std::int32_t id = pair.client.request("/echo", framed(large));
  pair.exchange(60'000);
  CHECK(pair.client.answers[id].body == framed(large));
  CHECK(pair.client.answers[id].header("grpc-status") == "0");
  CHECK(pair.shard.used() == 0);
}

TEST_CASE("a thousand calls at once are all answered") {
  Pair pair;
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(pair.client.request("/echo", framed(std::to_string(i))));
  pair.exchange();
  for (int i = 0; i < 1000; ++i)
    CHECK(pair.client.answers[ids[static_cast<std::size_t>(i)]].body == framed(std::to_string(i)));
}

TEST_CASE("an empty message is a message") {
  Pair pair;
  const std::int32_t id = pair.client.request("/echo", framed(""));
  pair.exchange();
  CHECK(pair.client.answers[id].body == framed(""));
}

TEST_CASE("a wrong content-type is answered by 415, a wrong method by 405") {
  for (const std::string type : {"application/json", "application/grpc-web", "application/grpc+json", ""}) {
    Pair pair;
    Fields headers = {{":method", "POST"}, {":scheme", "http"}, {":path", "/echo"}, {":authority", "x"}};
    if (!type.empty()) headers.emplace_back("content-type", type);
    const std::int32_t id = pair.client.raw_request(headers, framed("x"));
    pair.exchange();
    CHECK(pair.client.answers[id].header(":status") == "415");
    CHECK(pair.handler.log.empty());
  }
  Pair pair;
  const std::int32_t id = pair.client.raw_request({{":method", "GET"},
                                                   {":scheme", "http"},
                                                   {":path", "/echo"},
                                                   {":authority", "x"},
                                                   {"content-type", "application/grpc"}},
                                                  "");
  pair.exchange();
  CHECK(pair.client.answers[id].header(":status") == "405");
}

TEST_CASE("content types of gRPC over protobuf are taken") {
  for (const std::string type :
       {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"}) {
    Pair pair;
    const std::int32_t id = pair.client.raw_request({{":method", "POST"},
                                                     {":scheme", "http"},
                                                     {":path", "/echo"},
                                                     {":authority", "x"},
                                                     {"content-type", type}},
                                                    framed("x"));
    pair.exchange();
    CHECK(pair.client.answers[id].header("grpc-status") == "0");
  }
}

TEST_CASE("timeout, key and metadata reach the handler") {
  Pair pair;
  pair.client.request("/cold/x", framed(""),
                      {{"grpc-timeout", "250m"}, {"x-kedge-key", "user-1"}, {"authorization", "Bearer t"}});
  pair.exchange();
  CHECK(pair.handler.timeout == std::chrono::milliseconds(250));
  CHECK(pair.handler.key == "user-1");
  CHECK(pair.handler.path == "/cold/x");
  bool found = false;
  for (const auto& [name, value] : pair.handler.metadata)
    found |= name == "authorization" && value == "Bearer t";
  CHECK(found);
}

TEST_CASE("metadata is not copied for methods that do not want it") {
  Pair pair;
  pair.client.request("/hot", framed(""), {{"authorization", "Bearer t"}});
  pair.exchange();
  CHECK(pair.handler.metadata.empty());
}

TEST_CASE("a malformed grpc-timeout is refused") {
  Pair pair;
  const std::int32_t id = pair.client.request("/echo", framed("x"), {{"grpc-timeout", "5x"}});
  pair.exchange();
  CHECK(pair.client.answers[id].header("grpc-status") == "3");
  CHECK(pair.handler.log.empty());
}

TEST_CASE("a refusal holds little of a header that is long") {
  for (const char* name : {"grpc-timeout", "grpc-encoding"}) {
    Pair pair;
    const std::int32_t id = pair.client.request("/echo", framed("x"), {{name, std::string(10'000, 'x')}});
    pair.exchange();
    CHECK(pair.client.answers[id].header("grpc-message").size() < 300);
  }
}

TEST_CASE("an unknown grpc-encoding is UNIMPLEMENTED and names those that work") {
  Pair pair;
  const std::int32_t id = pair.client.request("/echo", framed("x"), {{"grpc-encoding", "snappy"}});
  pair.exchange();
  CHECK(pair.client.answers[id].header("grpc-status") == "12");
  CHECK(pair.client.answers[id].header("grpc-accept-encoding") == "identity,gzip");
}

TEST_CASE("a gzip message is inflated; the answer is not compressed") {
  Pair pair;
  const std::int32_t id =
      pair.client.request("/echo", framed(gzip("hello hello hello"), true), {{"grpc-encoding", "gzip"}});
  pair.exchange(1);
  CHECK(pair.client.answers[id].body == framed("hello hello hello"));
  CHECK(pair.client.answers[id].header("grpc-encoding").empty());
}

TEST_CASE("a compressed message without grpc-encoding is INTERNAL") {
  Pair pair;
  const std::int32_t id = pair.client.request("/echo", framed(gzip("x"), true));
  pair.exchange();
  CHECK(pair.client.answers[id].header("grpc-status") == "13");
}

TEST_CASE(
    "a message over the limit is RESOURCE_EXHAUSTED before its bytes arrive, and the client is told to "
    "stop") {
  Pair pair(GrpcOptions{.max_message_bytes = 1000});
  const std::int32_t id =
      pair.client.request("/echo", framed(std::string(1001, 'x')).substr(0, 5), {}, false);
  pair.exchange();
  const Answer& answer = pair.client.answers[id];
  CHECK(answer.header("grpc-status") == "8");
  CHECK(answer.header("grpc-message").find("1001 vs. 1000") != std::string::npos);
  CHECK(answer.reset);
  CHECK(answer.closed == NGHTTP2_NO_ERROR);
}

TEST_CASE(
    "what begun messages hold is reserved: what passes the connection's budget is refused, and given back at "
    "the "
    "end") {
  constexpr std::size_t each = 1000 + limits::message_overhead_bytes + limits::stream_overhead_bytes;
  Pair pair(GrpcOptions{.max_message_bytes = 1000,
                        .max_connection_bytes = 2 * each + limits::stream_overhead_bytes});
  const std::string prefix = framed(std::string(1000, 'x')).substr(0, 5);
  const std::int32_t first = pair.client.request("/hot", prefix, {}, false);
  const std::int32_t second = pair.client.request("/hot", prefix, {}, false);
  const std::int32_t third = pair.client.request("/hot", prefix, {}, false);
  pair.exchange();
  CHECK(pair.client.answers[third].header("grpc-status") == "8");
  CHECK(pair.shard.used() == 2 * each);
  const std::int32_t fourth = pair.client.request("/hot", prefix, {}, false);
  const std::int32_t fifth = pair.client.request("/hot", prefix, {}, false);
  pair.exchange();
  CHECK(pair.client.answers[fourth].header("grpc-status") == "8");
  CHECK(pair.client.answers[fifth].closed == NGHTTP2_REFUSED_STREAM);  // not even room for the stream
  pair.client.reset(first);
  pair.client.reset(second);
  pair.exchange();
  CHECK(pair.shard.used() == 0);
}

TEST_CASE("messages may outlive their connection") {
  Budget shard{limits::max_shard_bytes};
  std::vector<Message> held;
  {
    Recorder handler;
    handler.keep = true;
    Client client;
    GrpcSession session(handler, shard, {});
    handler.session = &session;
    client.request("/hot", framed("x"));
    exchange(client, session);
    session.abandon();
    CHECK(handler.log == Log{"call", "message", "cancelled"});
    held = std::move(handler.held);
  }
  CHECK(shard.used() == 1 + limits::message_overhead_bytes);
  held.clear();
  CHECK(shard.used() == 0);
}

TEST_CASE("a unary request has exactly one message") {
  Pair pair;
  const std::int32_t none = pair.client.request("/echo", "");
  const std::int32_t two = pair.client.request("/echo", framed("a") + framed("b"));
  const std::int32_t cut = pair.client.request("/echo", framed("abc").substr(0, 6));
  const std::int32_t half_prefix = pair.client.request("/echo", std::string(3, '\0'));
  pair.exchange();
  for (const std::int32_t id : {none, two, cut, half_prefix})
    CHECK(pair.client.answers[id].header("grpc-status") == "13");
  CHECK(pair.handler.messages.empty());
}

TEST_CASE("errors are trailers-only, percent-encoded") {
  Pair pair;
  const std::int32_t id = pair.client.request("/hot", framed("x"));
  pair.exchange();
  pair.session.fail(*pair.handler.calls.at(0), Code::kNotFound, "no model 'caf\xC3\xA9'\n100%");
  pair.exchange();
  const Answer& answer = pair.client.answers[id];
  CHECK(answer.headers.size() == 4);
  CHECK(answer.header("grpc-status") == "5");
  CHECK(answer.header("grpc-message") == "no model 'caf%C3%A9'%0A100%25");
  CHECK(answer.body.empty());
  CHECK(answer.ended);
}

TEST_CASE("headers past the limit are RESOURCE_EXHAUSTED") {
  Pair pair;
  Fields many;
  for (int i = 0; i < 9; ++i) many.emplace_back("x-" + std::to_string(i), std::string(2000, 'v'));
  const std::int32_t id = pair.client.request("/echo", framed("x"), many);
  pair.exchange();
  CHECK(pair.client.answers[id].header("grpc-status") == "8");
}

TEST_CASE("a client that resets is reported, and its answer goes nowhere") {
  Pair pair;
  const std::int32_t id = pair.client.request("/hot", framed("x"));
  pair.exchange();
  CHECK(pair.session.find(id) == pair.handler.calls.at(0));
  pair.client.reset(id);
  pair.exchange();
  CHECK(pair.handler.log == Log{"call", "message", "cancelled"});
  CHECK(pair.session.find(id) == nullptr);
}
