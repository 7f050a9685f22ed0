#include "wire/buffer.hpp"

#include <doctest/doctest.h>

using namespace kedge::wire;

TEST_CASE("a buffer grows, drops its front and moves") {
  Buffer buffer;
  for (int i = 0; i < 1000; ++i) buffer.append(as_bytes("0123456789"));
  CHECK(buffer.size() == 10'000);
  buffer.drop_front(9'995);
  CHECK(as_text(buffer.view()) == "56789");
  Buffer moved = std::move(buffer);
  CHECK(as_text(moved.view()) == "56789");
  moved.clear();
  CHECK(moved.empty());
}

TEST_CASE("room is made once where it is asked for") {
  Buffer buffer;
  buffer.reserve(1000);
  const std::uint8_t* const before = buffer.data();
  for (int i = 0; i < 100; ++i) buffer.append(as_bytes("0123456789"));
  CHECK(buffer.data() == before);
  CHECK(buffer.capacity() == 1000);
  buffer.resize(10);
  CHECK(as_text(buffer.view()) == "0123456789");
}
