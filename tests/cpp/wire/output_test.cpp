#include "wire/output.hpp"

#include <doctest/doctest.h>

#include "client.hpp"
#include "wire/memory.hpp"

using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

std::shared_ptr<const Buffer> large(std::size_t size, char c) {
  Buffer made;
  made.append(as_bytes(std::string(size, c)));
  return std::make_shared<const Buffer>(std::move(made));
}

}  // namespace

TEST_CASE("bytes come out in order, whatever way they went in and are taken") {
  for (const std::size_t step : std::initializer_list<std::size_t>{1, 3, 1000, 200'000}) {
    Output output;
    output.append(as_bytes("abc"));
    const auto shared = large(1000, 'x');
    output.append_shared(shared, shared->view().subspan(10, 500));
    output.append(as_bytes("def"));
    output.append(as_bytes(std::string(100'000, 'y')));
    output.append({});
    const std::string expected = "abc" + std::string(500, 'x') + "def" + std::string(100'000, 'y');
    CHECK(output.size() == expected.size());
    std::string all;
    while (!output.empty()) {
      all += as_text(output.front().first(std::min(step, output.front().size())));
      output.consume(std::min(step, output.front().size()));
    }
    CHECK(all == expected);
  }
}

TEST_CASE("gather lists what consume then takes") {
  Output output;
  output.append(as_bytes("abcdef"));
  const auto shared = large(10, 'x');
  output.append_shared(shared, shared->view());
  output.append(as_bytes("tail"));
  output.consume(4);
  iovec vectors[8];
  REQUIRE(output.gather(vectors, 8) == 3);
  std::string all;
  for (int i = 0; i < 3; ++i) all.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
  CHECK(all == "efxxxxxxxxxxtail");
  CHECK(output.gather(vectors, 2) == 2);
  output.consume(1000);
  CHECK(output.empty());
  CHECK(output.gather(vectors, 8) == 0);
}

TEST_CASE("a shared body lives until its bytes are taken") {
  Output output;
  auto shared = large(10, 'x');
  const std::weak_ptr<const Buffer> watch = shared;
  output.append_shared(shared, shared->view());
  shared.reset();
  CHECK_FALSE(watch.expired());
  output.consume(9);
  CHECK_FALSE(watch.expired());
  output.consume(1);
  CHECK(watch.expired());
}

TEST_CASE("memory that a quiet connection keeps goes back") {
  Memory memory(true);
  const Memory::Use use(memory);
  Output output;
  const std::string text(1000, 'k');
  output.append(as_bytes(text));
  output.consume(text.size());
  output.trim();  // it was needed just now
  CHECK(memory.spare_bytes() == 0);
  output.trim();
  CHECK(memory.spare_bytes() > text.size());
}
