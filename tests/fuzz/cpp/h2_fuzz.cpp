// A client that sends anything at all: every call ends once, every reserved byte comes back, nothing else
// breaks. Input: one byte of chunk size, one of behaviour, then what the client sends.
#include <cstring>
#include <vector>

#include "check.hpp"
#include "wire/grpc_session.hpp"

using namespace kedge;
using namespace kedge::wire;

namespace {

Buffer framed(Bytes content) {
  Buffer buffer;
  std::uint8_t* to = buffer.extend(frame_prefix_bytes + content.size());
  write_frame_prefix(to, content.size());
  if (!content.empty()) std::memcpy(to + frame_prefix_bytes, content.data(), content.size());
  return buffer;
}

// Does with each message what its first byte says.
class Server final : public CallHandler {
 public:
  explicit Server(std::uint8_t behaviour) : behaviour_(behaviour) {}

  Method method(std::string_view path) override {
    return {.cardinality = path.size() % 2 == 0 ? Cardinality::streaming : Cardinality::unary,
            .keep_metadata = path.size() % 3 == 0};
  }
  void on_call(Call& call) override {
    ++open;
    live.push_back(call.id());
    if ((behaviour_ & 1) != 0 && call.timeout()) session->fail(call, Code::kDeadlineExceeded, "late");
  }
  void on_message(Call& call, Message&& message) override {
    KEDGE_DEMAND(!call.done());
    const std::uint8_t wish = message.bytes.empty() ? behaviour_ : message.bytes.data()[0];
    switch (wish % 6) {
      case 0:
        return session->finish(call, framed(message.bytes.view()));
      case 1:
        return session->fail(call, Code::kInternal, as_text(message.bytes.view()));
      case 2:
        return session->send(call, framed(message.bytes.view()));
      case 3:
        return session->pause(call);
      case 4:
        held.push_back(std::move(message));
        return;
      default:
        return;
    }
  }
  void on_half_close(Call& call) override {
    KEDGE_DEMAND(!call.done());
    if ((behaviour_ & 2) != 0) session->finish(call);
  }
  void on_ended(Call& call, Ended) override {
    --open;
    std::erase(live, call.id());
  }

  GrpcSession* session = nullptr;
  int open = 0;
  std::vector<std::int32_t> live;
  std::vector<Message> held;

 private:
  std::uint8_t behaviour_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t chunk = std::size_t{data[0]} * data[0] + 1;
  const std::uint8_t behaviour = data[1];
  Bytes input(data + 2, size - 2);
  Budget shard(1 << 20);
  Server server(behaviour);
  {
    GrpcSession session(
        server, shard,
        {.max_concurrent_streams = 16, .max_message_bytes = 1 << 16, .max_connection_bytes = 1 << 18});
    server.session = &session;
    for (std::size_t turn = 0; !input.empty(); ++turn) {
      const Bytes piece = input.first(std::min(chunk, input.size()));
      input = input.subspan(piece.size());
      const std::vector<std::uint8_t> exact(piece.begin(), piece.end());  // so that a read past it is seen
      const bool alive = session.feed(exact);
      if ((behaviour & 4) != 0) {
        // Ids, not pointers: resuming may end a call.
        const std::vector<std::int32_t> ids = server.live;
        for (const std::int32_t id : ids) {
          if (Call* call = session.find(id)) session.resume(*call);
        }
      }
      if ((behaviour & 8) != 0 && turn == 3) session.announce_shutdown();
      if ((behaviour & 16) != 0 && turn == 5) session.shutdown();
      Output output;
      session.pull(output);
      output.consume(output.size());
      if (!alive) break;
    }
    session.abandon();
    KEDGE_DEMAND(server.open == 0);
  }
  server.held.clear();
  KEDGE_DEMAND(shard.used() == 0);
  return 0;
}
