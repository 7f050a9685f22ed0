// The HTTP/2 session itself: beginnings, ends, garbage.
#include <doctest/doctest.h>

#include <algorithm>

#include "recorder.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

TEST_CASE("an HTTP/1.1 request gets a short 505 and the connection is over") {
  for (const std::size_t chunk : {std::size_t{1}, SIZE_MAX}) {
    for (const std::string_view request :
         {"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n", "POST / HTTP/1.0\r\n\r\n"}) {
      Pair pair;
      CHECK_FALSE(feed(pair.session, request, chunk));
      Output output;
      pair.session.pull(output);
      const std::string answer = drain(output);
      CHECK(answer.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"));
      const std::size_t head = answer.find("\r\n\r\n") + 4;
      CHECK(answer.find("content-length: " + std::to_string(answer.size() - head)) != std::string::npos);
      CHECK(pair.session.over());
    }
  }
}

TEST_CASE("noise gets no answer at all") {
  Pair pair;
  CHECK_FALSE(feed(pair.session, std::string_view("\x16\x03\x01\x02\x00", 5), 1));
  Output output;
  pair.session.pull(output);
  CHECK(output.empty());
  CHECK(pair.session.over());
}

TEST_CASE("nothing is sent before the client has proved to speak HTTP/2") {
  Pair pair;
  CHECK(feed(pair.session, "PRI * HTTP/2.0\r\n", SIZE_MAX));
  Output output;
  pair.session.pull(output);
  CHECK(output.empty());
  CHECK_FALSE(pair.session.ready());
}

TEST_CASE("PING is answered") {
  Pair pair;
  pair.exchange();
  CHECK(pair.session.ready());
  pair.client.ping();
  pair.exchange();
  CHECK(pair.client.pongs == 1);
}

TEST_CASE("shutdown lets calls finish, refuses later ones and then is over") {
  Pair pair;
  const std::int32_t before = pair.client.request("/hot", framed("x"));
  pair.exchange();
  pair.session.announce_shutdown();
  // Sent before the client has seen the notice: still served.
  const std::int32_t during = pair.client.request("/echo", framed("y"));
  const std::string up = pair.client.output();
  feed(pair.session, up, SIZE_MAX);
  pair.session.shutdown();
  pair.exchange();
  CHECK(pair.client.goaway == NGHTTP2_NO_ERROR);
  CHECK(pair.client.goaway_last == during);
  CHECK(pair.client.answers[during].body == framed("y"));
  CHECK_FALSE(pair.session.over());
  pair.session.finish(*pair.handler.calls.at(0), buffer(framed("done")));
  pair.exchange();
  CHECK(pair.client.answers[before].body == framed("done"));
  CHECK(pair.session.over());
}

TEST_CASE("shutdown of a connection that said nothing is immediate") {
  Pair pair;
  pair.session.shutdown();
  CHECK(pair.session.over());
}

TEST_CASE("abandoning ends every call once") {
  Pair pair;
  pair.client.request("/hot", framed("x"));
  pair.client.request("/stream/y", framed("x"), {}, false);
  pair.exchange();
  pair.session.abandon();
  CHECK(std::count(pair.handler.log.begin(), pair.handler.log.end(), "cancelled") == 2);
  CHECK(pair.handler.calls.empty());
  CHECK(pair.session.over());
}

TEST_CASE("output stops at the high-water mark and goes on later") {
  Pair pair({}, ClientOptions{.window = 0x7FFFFFFF});
  nghttp2_session_set_local_window_size(pair.client.session, NGHTTP2_FLAG_NONE, 0, 0x7FFFFFFF);
  const std::string large(4'000'000, 'z');
  pair.exchange();
  const std::int32_t id = pair.client.request("/echo", framed(large));
  while (pair.handler.log.empty() || pair.handler.log.back() != "message") {
    feed(pair.session, pair.client.output(), SIZE_MAX);
    Output some;
    if (!pair.handler.log.empty() && pair.handler.log.back() == "message") break;
    pair.session.pull(some);
    pair.client.input(drain(some));
  }
  std::size_t pulls = 0;
  for (;; ++pulls) {
    Output output;
    pair.session.pull(output);
    if (output.empty()) break;
    CHECK(output.size() <= limits::output_high_water_bytes + 20'000);
    pair.client.input(drain(output));
  }
  CHECK(pulls >= large.size() / (limits::output_high_water_bytes + 20'000));
  CHECK(pair.client.answers[id].body == framed(large));
}
