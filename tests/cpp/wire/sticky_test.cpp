#include "wire/sticky.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "golden.hpp"

using namespace kedge::wire;
using namespace kedge::wire::test;

TEST_CASE("places agree with the portable plane's") {
  for (const auto& line : golden("sticky.txt")) {
    const SipKey salt = sticky_key(as_bytes(unhex(line[0])));
    CHECK(sticky_hash(salt, unhex(line[1]), std::stoull(line[2])) == std::stoull(line[3]));
  }
}

TEST_CASE("an arm has the share it was given") {
  const std::vector<std::uint64_t> thresholds = {share_threshold(0.05), share_threshold(0.30),
                                                 share_threshold(1.0)};
  std::vector<int> counts(3);
  for (int i = 0; i < 100'000; ++i)
    ++counts[pick_arm(sticky_hash({}, "user-" + std::to_string(i), 7), thresholds)];
  CHECK(std::abs(counts[0] - 5'000) < 300);
  CHECK(std::abs(counts[1] - 25'000) < 600);
}

TEST_CASE("keys inside a share stay inside as it grows") {
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t hash = sticky_hash({}, std::to_string(i), 1);
    const std::vector<std::uint64_t> small = {share_threshold(0.05), share_threshold(1.0)};
    const std::vector<std::uint64_t> large = {share_threshold(0.25), share_threshold(1.0)};
    if (pick_arm(hash, small) == 0) CHECK(pick_arm(hash, large) == 0);
  }
}

TEST_CASE("the ends of the space belong to someone") {
  CHECK(share_threshold(0.0) == 0);
  CHECK(share_threshold(0.5) == std::uint64_t{1} << 63);
  const std::vector<std::uint64_t> all_first = {share_threshold(1.0), share_threshold(1.0)};
  CHECK(pick_arm(UINT64_MAX, all_first) == 0);
  const std::vector<std::uint64_t> none_first = {share_threshold(0.0), share_threshold(1.0)};
  CHECK(pick_arm(0, none_first) == 1);
  const std::vector<std::uint64_t> short_of_one = {share_threshold(0.5), share_threshold(1.0 - 1e-12)};
  CHECK(pick_arm(UINT64_MAX, short_of_one) == 1);
}
