#include "wire/inflate.hpp"

#include <doctest/doctest.h>

#include "gzip.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

struct Outcome {
  Code code = Code::kOk;
  std::string text;
};

Outcome inflated(const std::string& bytes, std::size_t max_bytes = 1'000'000,
                 std::size_t limit = 10'000'000) {
  Budget budget(limit);
  Reservation reserved;
  const Result<Buffer> result = inflate_gzip(as_bytes(bytes), max_bytes, budget, reserved);
  if (!result.ok()) return {result.status().code(), result.status().message()};
  CHECK(reserved.bytes() >= result.value().size());
  return {Code::kOk, std::string(as_text(result.value().view()))};
}

}  // namespace

TEST_CASE("what was compressed comes back, at every size around the steps") {
  for (const std::size_t size :
       std::initializer_list<std::size_t>{0, 1, 4095, 4096, 4097, 8192, 100'000, 1'000'000}) {
    const std::string plain(size, 'x');
    CHECK(inflated(gzip(plain)).text == plain);
  }
}

TEST_CASE("the cap holds exactly") {
  CHECK(inflated(gzip(std::string(5000, 'x')), 5000).code == Code::kOk);
  CHECK(inflated(gzip(std::string(5001, 'x')), 5000).code == Code::kResourceExhausted);
}

TEST_CASE("a gzip bomb stops at the cap or the budget, whichever is first") {
  const std::string bomb = gzip(std::string(50'000'000, '\0'));
  CHECK(bomb.size() < 60'000);
  CHECK(inflated(bomb, 1'000'000).code == Code::kResourceExhausted);
  CHECK(inflated(bomb, 100'000'000, 1'000'000).code == Code::kResourceExhausted);
}

TEST_CASE("cut, damaged, followed and empty streams are INTERNAL") {
  const std::string good = gzip("hello hello hello hello");
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK(inflated(good.substr(0, size)).code == Code::kInternal);
  CHECK(inflated(good + "x").code == Code::kInternal);
  std::string damaged = good;
  damaged[good.size() - 6] = static_cast<char>(~damaged[good.size() - 6]);  // in the checksum
  CHECK(inflated(damaged).code == Code::kInternal);
  CHECK(inflated("not gzip at all").code == Code::kInternal);
}
