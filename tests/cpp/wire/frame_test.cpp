#include "wire/frame.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"
#include "client.hpp"
#include "gzip.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

constexpr std::size_t max_message = 1000;

// All messages in `bytes`, fed `chunk` at a time.
std::vector<std::string> messages(FrameReader& reader, std::string_view bytes, std::size_t chunk,
                                  Budget& budget) {
  std::vector<std::string> found;
  while (!bytes.empty()) {
    Bytes piece = as_bytes(bytes.substr(0, chunk));
    bytes.remove_prefix(piece.size());
    while (!piece.empty()) {
      const FrameReader::Step step = reader.feed(piece, budget, max_message);
      if (step == FrameReader::Step::failed) return found;
      if (step == FrameReader::Step::more) break;
      const Buffer message = reader.take_bytes();
      found.emplace_back(as_text(message.view()));
      CHECK(reader.take_reservation().bytes() >= message.size() + limits::message_overhead_bytes);
    }
  }
  return found;
}

}  // namespace

TEST_CASE("messages come out whole however they are cut") {
  const std::string all = framed("abc") + framed("") + framed(std::string(1000, 'x')) + framed("d");
  for (std::size_t chunk = 1; chunk < 20; ++chunk) {
    Budget budget(100'000);
    FrameReader reader;
    CHECK(messages(reader, all, chunk, budget) ==
          std::vector<std::string>{"abc", "", std::string(1000, 'x'), "d"});
    CHECK_FALSE(reader.partial());
    CHECK(budget.used() == 0);
  }
}

TEST_CASE("of a long message no more is reserved than twice what has come") {
  Budget budget(100'000);
  FrameReader reader;
  const std::string whole = framed(std::string(1000, 'x') + std::string(40'000, 'y'));
  const auto feed = [&](std::size_t from, std::size_t to) {
    Bytes piece = as_bytes(std::string_view(whole).substr(from, to - from));
    return reader.feed(piece, budget, 50'000);
  };
  feed(0, 5);
  CHECK(budget.used() == limits::first_message_allocation_bytes + limits::message_overhead_bytes);
  for (std::size_t end = 1005; end < whole.size(); end += 1000) {
    feed(end - 1000, end);
    const std::size_t came = end - 5;
    CHECK(budget.used() <=
          std::max(2 * came, limits::first_message_allocation_bytes) + limits::message_overhead_bytes);
    CHECK(budget.used() >= came);
    if (end + 1000 >= whole.size()) CHECK(feed(end, whole.size()) == FrameReader::Step::message);
  }
  CHECK(reader.take_bytes().size() == 41'000);
  CHECK(budget.used() == 41'000 + limits::message_overhead_bytes);
  reader.take_reservation();
  CHECK(budget.used() == 0);
}

TEST_CASE("a half message is partial, and its whole length reserved if that is short") {
  Budget budget(100'000);
  FrameReader reader;
  CHECK(messages(reader, framed(std::string(500, 'x')).substr(0, 6), 100, budget).empty());
  CHECK(reader.partial());
  CHECK(budget.used() == 500 + limits::message_overhead_bytes);
}

TEST_CASE("too long, over budget, and odd flags each have their code") {
  const auto failure = [](const std::string& bytes, std::size_t limit) {
    Budget budget(limit);
    FrameReader reader;
    messages(reader, bytes, 1, budget);
    CHECK(budget.used() == 0);
    Bytes more = as_bytes("x");
    CHECK(reader.feed(more, budget, max_message) == FrameReader::Step::failed);
    return reader.status().code();
  };
  CHECK(failure(framed(std::string(1001, 'x')), 100'000) == Code::kResourceExhausted);
  CHECK(failure(std::string("\0\xFF\xFF\xFF\xFF", 5), 100'000) == Code::kResourceExhausted);
  CHECK(failure(framed(std::string(1000, 'x')), 1100) == Code::kResourceExhausted);
  CHECK(failure(std::string("\2\0\0\0\0", 5), 100'000) == Code::kInternal);
  CHECK(failure(framed("x", true), 100'000) == Code::kInternal);
}

TEST_CASE("compressed messages are inflated among plain ones") {
  Budget budget(100'000);
  FrameReader reader;
  reader.set_gzip(true);
  CHECK(messages(reader, framed("a") + framed(gzip("bbb"), true) + framed("c"), 1, budget) ==
        std::vector<std::string>{"a", "bbb", "c"});
  CHECK(messages(reader, framed(gzip(std::string(1001, 'x')), true), 1, budget).empty());
  CHECK(reader.status().code() == Code::kResourceExhausted);
  CHECK(budget.used() == 0);
}
