// gRPC frames cut anywhere: the same messages whether fed whole or in pieces, and every reserved byte comes
// back. Input: one byte of chunk size, one whose low bit allows gzip, then frames.
#include <string>
#include <vector>

#include "check.hpp"
#include "wire/frame.hpp"

using namespace kedge;
using namespace kedge::wire;

namespace {

constexpr std::size_t max_message = 1 << 16;

struct Outcome {
  std::vector<std::string> messages;
  Code code = Code::kOk;
  bool partial = false;
  bool operator==(const Outcome&) const = default;
};

Outcome read(Bytes input, std::size_t chunk, bool gzip) {
  Outcome outcome;
  Budget budget(1 << 20);
  FrameReader reader;
  reader.set_gzip(gzip);
  while (!input.empty() && outcome.code == Code::kOk) {
    const Bytes piece = input.first(std::min(chunk, input.size()));
    input = input.subspan(piece.size());
    const std::vector<std::uint8_t> exact(piece.begin(), piece.end());
    Bytes rest = exact;
    for (FrameReader::Step step = FrameReader::Step::message; step == FrameReader::Step::message;) {
      if (rest.empty()) break;
      step = reader.feed(rest, budget, max_message);
      if (step == FrameReader::Step::message) {
        const Buffer message = reader.take_bytes();
        const Reservation reserved = reader.take_reservation();
        KEDGE_DEMAND(message.size() <= max_message && reserved.bytes() >= message.size());
        outcome.messages.emplace_back(as_text(message.view()));
      }
    }
    outcome.code = reader.status().code();
  }
  outcome.partial = reader.partial();
  if (!outcome.partial) KEDGE_DEMAND(budget.used() == 0);
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Bytes input(data + 2, size - 2);
  const bool gzip = (data[1] & 1) != 0;
  KEDGE_DEMAND(read(input, std::size_t{data[0]} + 1, gzip) == read(input, input.size(), gzip));
  return 0;
}
