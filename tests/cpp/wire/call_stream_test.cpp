// Streaming gRPC calls: order, pausing, half-close, errors after the first answer.
#include <doctest/doctest.h>

#include "recorder.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;
using Log = std::vector<std::string>;

TEST_CASE("several messages in one frame and one message in many come in order") {
  for (const std::size_t chunk : {std::size_t{1}, SIZE_MAX}) {
    Pair pair;
    const std::int32_t id =
        pair.client.request("/stream/x", framed("a") + framed("") + framed("ccc"), {}, false);
    pair.exchange(chunk);
    pair.client.send(id, framed("dd"), true);
    pair.exchange(chunk);
    CHECK(pair.handler.messages[id] == Log{"a", "", "ccc", "dd"});
    CHECK(pair.handler.log.back() == "half_close");
  }
}

TEST_CASE("answers go out while the request is still open") {
  Pair pair;
  const std::int32_t id = pair.client.request("/stream/x", framed("a"), {}, false);
  pair.exchange();
  Call& call = *pair.handler.calls.at(0);
  pair.session.send(call, buffer(framed("one")));
  pair.exchange();
  CHECK(pair.client.answers[id].body == framed("one"));
  pair.session.send(call, buffer(framed("two")));
  pair.session.send(call, buffer(framed(std::string(20'000, 'y'))));
  pair.client.send(id, "", true);
  pair.exchange();
  pair.session.finish(call);
  pair.exchange();
  CHECK(pair.client.answers[id].body == framed("one") + framed("two") + framed(std::string(20'000, 'y')));
  CHECK(pair.client.answers[id].header("grpc-status") == "0");
  CHECK(pair.client.answers[id].closed == NGHTTP2_NO_ERROR);
  CHECK(pair.handler.log.back() == "answered");
}

TEST_CASE("a paused call gets nothing until it is resumed, and then everything in order") {
  Pair pair;
  pair.handler.pause_after = 2;
  std::string all;
  Log expected;
  for (int i = 0; i < 200; ++i) {
    expected.push_back(std::string(10'000, static_cast<char>('a' + i % 26)));
    all += framed(expected.back());
  }
  const std::int32_t id = pair.client.request("/stream/x", all);
  pair.exchange();
  CHECK(pair.handler.messages[id].size() == 2);
  // The window stays shut: what waits here is bounded by it, and is reserved.
  const std::size_t waiting = pair.shard.used();
  CHECK(waiting > 0);
  CHECK(waiting <= static_cast<std::size_t>(limits::stream_window_bytes));
  CHECK(nghttp2_session_get_stream_remote_window_size(pair.client.session, id) == 0);
  pair.session.resume(*pair.handler.calls.at(0));
  pair.exchange();
  CHECK(pair.handler.messages[id] == expected);
  CHECK(pair.handler.log.back() == "half_close");
  CHECK(pair.shard.used() == limits::stream_overhead_bytes);
}

TEST_CASE("resuming one message at a time delivers all, and what is reserved shrinks with what waits") {
  Pair pair;
  pair.handler.pause_after = 1;
  std::string all;
  for (int i = 0; i < 500; ++i) all += framed(std::string(1000, 'x'));
  const std::int32_t id = pair.client.request("/stream/x", all);
  pair.exchange();
  std::size_t before = pair.shard.used();
  for (std::size_t count = 2; count <= 500; ++count) {
    pair.handler.pause_after = count;
    pair.session.resume(*pair.handler.calls.at(0));
    CHECK(pair.handler.messages[id].size() == count);
    CHECK(pair.shard.used() <= before);
    before = pair.shard.used();
  }
  CHECK(pair.shard.used() == limits::stream_overhead_bytes);
  pair.session.resume(*pair.handler.calls.at(0));
  CHECK(pair.handler.log.back() == "half_close");
}

TEST_CASE("half-close waits behind a pause") {
  Pair pair;
  pair.handler.pause_after = 1;
  pair.client.request("/stream/x", framed("a"));
  pair.exchange();
  CHECK(pair.handler.log == Log{"call", "message"});
  pair.session.resume(*pair.handler.calls.at(0));
  CHECK(pair.handler.log == Log{"call", "message", "half_close"});
}

TEST_CASE("a paused call does not stop the others of its connection") {
  Pair pair;
  pair.handler.pause_after = 1;
  for (int i = 0; i < 10; ++i) {
    pair.client.request("/stream/x", framed("a") + framed(std::string(2'000'000, 'x')), {}, false);
  }
  pair.exchange();
  const std::int32_t id = pair.client.request("/echo", framed("b"));
  pair.exchange();
  CHECK(pair.client.answers[id].body == framed("b"));
}

TEST_CASE("an error after the first answer comes in the trailers") {
  Pair pair;
  const std::int32_t id = pair.client.request("/stream/x", framed("a"));
  pair.exchange();
  Call& call = *pair.handler.calls.at(0);
  pair.session.send(call, buffer(framed("one")));
  {
    std::string text = "late";
    pair.session.fail(call, Code::kDeadlineExceeded, text);
    text = "gone";
  }
  pair.exchange();
  CHECK(pair.client.answers[id].body == framed("one"));
  CHECK(pair.client.answers[id].header("grpc-status") == "4");
  CHECK(pair.client.answers[id].header("grpc-message") == "late");
}

TEST_CASE("after an error no further message is delivered") {
  Pair pair;
  const std::int32_t id = pair.client.request("/stream/x", framed("a"), {}, false);
  pair.exchange();
  pair.session.fail(*pair.handler.calls.at(0), Code::kInternal, "no");
  pair.client.send(id, framed("b"), true);
  pair.exchange();
  CHECK(pair.handler.messages[id] == Log{"a"});
  CHECK(pair.client.answers[id].header("grpc-status") == "13");
}

TEST_CASE("a damaged frame in a stream ends it") {
  Pair pair;
  const std::int32_t id = pair.client.request("/stream/x", framed("a") + std::string("\7\0\0\0\1x", 6));
  pair.exchange();
  CHECK(pair.handler.messages[id] == Log{"a"});
  CHECK(pair.client.answers[id].header("grpc-status") == "13");
}

TEST_CASE("answers a reader leaves lying count against its connection's budget") {
  Pair pair(GrpcOptions{.max_connection_bytes = 400'000}, ClientOptions{.auto_window = false});
  const std::int32_t id = pair.client.request("/echo", framed(std::string(300'000, 'x')));
  pair.exchange();
  CHECK(pair.client.answers[id].body.size() == 65535);
  CHECK(pair.session.budget().used() >= 300'000);
  const std::int32_t other = pair.client.request("/echo", framed(std::string(200'000, 'x')));
  pair.exchange();
  CHECK(pair.client.answers[other].header("grpc-status") == "8");
}

TEST_CASE("a reader that is always two answers behind makes nothing grow") {
  Pair pair(GrpcOptions{}, ClientOptions{.auto_window = false});
  const std::int32_t id = pair.client.request("/stream/x", framed("a"), {}, false);
  pair.exchange();
  Call& call = *pair.handler.calls.at(0);
  const std::string answer = framed(std::string(40'000, 'y'));
  for (int ahead = 0; ahead < 2; ++ahead) pair.session.send(call, buffer(answer));
  for (std::size_t count = 1; count <= 500; ++count) {
    pair.session.send(call, buffer(answer));
    pair.exchange();
    REQUIRE(call.unsent() > 0);
    REQUIRE(call.held_pieces() <= 4);
    REQUIRE(nghttp2_session_consume(pair.client.session, id, answer.size()) == 0);
  }
}
