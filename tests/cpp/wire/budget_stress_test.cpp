// Whatever clients do, what was held for them is given back to the last byte.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "gzip.hpp"
#include "recorder.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

// A handler that answers, fails, pauses, keeps messages past the end of their connection, or forgets.
class Whimsical final : public CallHandler {
 public:
  explicit Whimsical(std::mt19937& numbers) : random(numbers) {}
  Method method(std::string_view path) override {
    return {path.starts_with("/stream/") ? Cardinality::streaming : Cardinality::unary,
            path.starts_with("/cold/"), 0};
  }
  void on_call(Call& call) override {
    if (call.method().keep_metadata && random() % 4 == 0) session->fail(call, Code::kUnimplemented, "no");
    calls.push_back(&call);
  }
  void on_message(Call& call, Message&& message) override {
    switch (random() % 6) {
      case 0:
        session->fail(call, Code::kInternal, std::string(random() % 3000, '%'));
        break;
      case 1:
        session->finish(call, buffer(framed(std::string(random() % 100'000, 'a'))));
        break;
      case 2:
        session->send(call, buffer(framed(std::string(random() % 2'000'000, 'a'))));
        break;
      case 3:
        session->pause(call);
        break;
      default:
        break;
    }
    if (random() % 2 == 0) held.push_back(std::move(message));
  }
  void on_half_close(Call& call) override {
    if (random() % 2 == 0) session->finish(call);
  }
  void on_ended(Call& call, Ended) override { std::erase(calls, &call); }
  void wake() {
    const std::vector<Call*> now = calls;
    for (Call* call : now) {
      if (random() % 2 == 0 && std::find(calls.begin(), calls.end(), call) != calls.end())
        session->resume(*call);
    }
  }

  std::mt19937& random;
  GrpcSession* session = nullptr;
  std::vector<Call*> calls;
  std::vector<Message> held;
};

// One connection's life. A client that is `deaf` never reads an answer.
void live(std::mt19937& random, Budget& shard, std::vector<Message>& outlive) {
  Whimsical handler(random);
  const GrpcOptions options{.max_concurrent_streams = 32,
                            .max_message_bytes = 1'000'000,
                            .max_connection_bytes = std::size_t{1} << (18 + random() % 4)};
  GrpcSession session(handler, shard, options);
  handler.session = &session;
  Client client(ClientOptions{.auto_window = random() % 4 != 0, .window = 1'000'000});
  const bool deaf = random() % 4 == 0;
  std::vector<std::int32_t> open;
  Output unread;
  for (int step = 0; step < 30; ++step) {
    const std::string message(random() % (random() % 8 == 0 ? 300'000 : 3000), 'm');
    const bool zip = random() % 4 == 0;
    const std::string body = framed(zip ? gzip(message) : message, zip);
    constexpr const char* paths[] = {"/echo", "/stream/x", "/cold/x"};
    Fields extra;
    if (zip) extra.emplace_back("grpc-encoding", "gzip");
    if (random() % 4 == 0) extra.emplace_back("x-kedge-key", std::string(random() % 5000, 'k'));
    if (random() % 8 == 0) extra.emplace_back("grpc-timeout", std::string(random() % 9000, 'x'));
    switch (random() % 5) {
      case 0:
      case 1:
        open.push_back(client.request(paths[random() % 3], body, extra, random() % 2 == 0));
        break;
      case 2:
        if (!open.empty()) client.send(open[random() % open.size()], body, random() % 3 == 0);
        break;
      case 3:
        if (!open.empty()) client.reset(open[random() % open.size()]);
        break;
      default:
        handler.wake();
    }
    if (!feed(session, client.output(), 1 + random() % 20'000)) break;
    if (deaf) {
      session.pull(unread);
    } else {
      Output output;
      session.pull(output);
      if (!client.input(drain(output))) break;
    }
  }
  session.abandon();
  CHECK(session.open_calls() == 0);
  for (Message& message : handler.held) {
    if (random() % 2 == 0) outlive.push_back(std::move(message));
  }
}

}  // namespace

TEST_CASE("when connections and messages have ended, nothing is held for them") {
  std::mt19937 random(2026);
  Budget shard(std::size_t{4} << 20U);
  std::size_t most = 0;
  for (int connection = 0; connection < 150; ++connection) {
    std::vector<Message> outlive;
    live(random, shard, outlive);
    std::size_t left = 0;
    for (const Message& message : outlive) left += message.reserved.bytes();
    CHECK(shard.used() == left);
    most = std::max(most, left);
    outlive.clear();
    CHECK(shard.used() == 0);
  }
  CHECK(most > 0);
}
