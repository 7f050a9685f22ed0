#include "wire/proto_reader.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"
#include "message.hpp"
#include "wire/proto_writer.hpp"

using namespace kedge;
using namespace kedge::wire;
namespace t = kedge::wire::test;

namespace {

bool well_formed(const std::string& message) {
  const std::vector<char> exact(message.begin(), message.end());
  ProtoReader reader(as_bytes({exact.data(), exact.size()}));
  while (const std::uint32_t field = reader.next()) reader.skip(field);
  return reader.ok();
}

}  // namespace

TEST_CASE("varints of every length are read as they were written") {
  for (int bit = 0; bit < 64; ++bit) {
    for (const std::uint64_t value :
         {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) - 1, ~std::uint64_t{0} >> bit}) {
      std::uint8_t space[10];
      ProtoWriter writer(space);
      writer.varint(value);
      const auto size = static_cast<std::size_t>(writer.at() - space);
      CHECK(size == varint_size(value));
      ProtoReader reader(Bytes(space, size));
      CHECK(reader.varint() == value);
      CHECK(reader.at_end());
      CHECK(reader.ok());
    }
  }
}

TEST_CASE("malformed tags, lengths and varints are refused") {
  CHECK_FALSE(well_formed(std::string("\0\0", 2)));  // field number 0
  CHECK_FALSE(well_formed("\x0E"));                  // wire type 6
  CHECK_FALSE(well_formed("\x0C"));                  // end of a group never begun
  CHECK_FALSE(well_formed("\x08"));                  // no value
  CHECK_FALSE(well_formed("\x0A\x02x"));             // length past the end
  CHECK_FALSE(
      well_formed("\x0D"
                  "abc"));  // half a fixed32
  CHECK_FALSE(
      well_formed("\x09"
                  "abcdefg"));                                                // half a fixed64
  CHECK_FALSE(well_formed("\x08" + std::string(10, '\xFF') + '\1'));          // eleven bytes
  CHECK_FALSE(well_formed("\x88\x80\x80\x80\x80" + std::string("\0\1", 2)));  // a tag of six bytes
  CHECK_FALSE(well_formed(t::varint(std::uint64_t{1} << 32) + "x"));          // a field number of 30 bits
  CHECK_FALSE(well_formed("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"));
}

TEST_CASE("bits past the 64th are dropped, as protobuf does") {
  const std::string ten = std::string(9, '\xFF') + '\x7F';
  ProtoReader reader(as_bytes(ten));
  CHECK(reader.varint() == UINT64_MAX);
  CHECK(reader.ok());
}

TEST_CASE("groups are passed over, matched and bounded in depth") {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '\x0B') + std::string(depth, '\x0C');
  };
  CHECK(well_formed(nested(1)));
  CHECK(well_formed(nested(limits::max_group_depth)));
  CHECK_FALSE(well_formed(nested(limits::max_group_depth + 1)));
  CHECK_FALSE(well_formed("\x0B"));
  CHECK_FALSE(well_formed("\x0B\x14"));
  CHECK_FALSE(well_formed("\x0B\x08\x0C"));
  CHECK(well_formed("\x0B\x08\x05\x12\x01x\x0C"));
}

TEST_CASE("UTF-8 is strict") {
  for (const auto* good : {"", "ascii", "longer than eight bytes", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF",
                           "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "12345678\xC3\xA9"}) {
    CHECK(is_utf8(good));
  }
  for (const auto* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC2", "\xE1\x80", "\xF1\x80\x80", "\xC2x",
                          "12345678\xFF"}) {
    CHECK_FALSE(is_utf8(bad));
  }
  CHECK(is_utf8(std::string_view("a\0b", 3)));
}
