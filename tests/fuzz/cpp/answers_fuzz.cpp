// A server that sends anything at all to the load generator: every request it was asked ends once, and
// nothing breaks. Input: one byte of chunk size, one of how many requests are open, then what the server
// sends.
#include <algorithm>
#include <vector>

#include "check.hpp"
#include "load/answer.hpp"
#include "load/client_session.hpp"
#include "load/request_id.hpp"

using namespace kedge::load;
using kedge::wire::Buffer;
using kedge::wire::Bytes;

namespace {

struct Listener final : SessionEvents {
  void message(Exchange& exchange, Bytes bytes) override {
    Answer answer;
    if (!decode(bytes, answer)) exchange.broken = true;
    exchange.prediction_id = answer.prediction_id;
  }
  void closed(Exchange& exchange, End end) override {
    ++ended;
    if (end == End::answered) KEDGE_DEMAND(exchange.grpc_status >= 0 && exchange.grpc_status <= 16);
    if (end == End::answered && exchange.grpc_status == 0)
      KEDGE_DEMAND(exchange.has_message && !exchange.broken);
  }
  unsigned ended = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t chunk = std::size_t{data[0]} * data[0] + 1;
  const unsigned wanted = data[1] % 8U;
  Bytes input(data + 2, size - 2);
  const RequestHead head{"http", "localhost:1", "/inference.GRPCInferenceService/ModelInfer", "1S"};
  const std::vector<std::uint8_t> body(100, 'x');
  Listener listener;
  unsigned asked = 0;
  ClientSession session(listener, head, 8);
  while (!input.empty()) {
    const Bytes piece = input.first(std::min(chunk, input.size()));
    input = input.subspan(piece.size());
    const std::vector<std::uint8_t> exact(piece.begin(), piece.end());  // so that a read past it is seen
    const bool alive = session.feed(exact);
    while (asked < wanted && session.has_room()) {
      Ask ask;
      ask.rest = body;
      ask.id = asked;
      write_prefix(ask);
      if (!session.submit(ask)) break;
      ++asked;
    }
    Buffer out;
    session.pull(out);
    if (!alive) break;
  }
  session.abandon();
  KEDGE_DEMAND(session.open() == 0);
  KEDGE_DEMAND(listener.ended == asked);
  return 0;
}
