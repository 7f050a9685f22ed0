#include "sketch/categorical.hpp"

#include <doctest/doctest.h>

#include "helpers.hpp"

namespace kedge::sketch::test {

TEST_CASE("categories of every length are found, and nothing else") {
  CategoricalFeature feature;
  std::string word;
  for (std::size_t length = 0; length < kMaxVocabulary;
       ++length, word += static_cast<char>('a' + length % 26)) {
    feature.vocabulary.emplace_back(word);
  }
  for (int i = 0; i < 5000; ++i) feature.other.emplace_back("tail" + std::to_string(i));
  const CategoryTable table(feature);
  CHECK_FALSE(table.integers());
  for (std::size_t i = 0; i < kMaxVocabulary; ++i) {
    const auto& known = std::get<std::string>(feature.vocabulary[i]);
    CHECK(table.find(known) == i);
    CHECK(table.find(known + "!") == kCatUnseen);
    if (!known.empty()) {
      std::string changed = known;
      changed[known.size() / 2] = '#';
      CHECK(table.find(changed) == kCatUnseen);
    }
  }
  for (const Category& other : feature.other) CHECK(table.find(std::get<std::string>(other)) == kCatOther);
  CHECK(table.find(std::string_view("a\0", 2)) == kCatUnseen);
}

TEST_CASE("integers are matched over their whole range") {
  constexpr auto kLow = std::numeric_limits<std::int64_t>::min();
  constexpr auto kHigh = std::numeric_limits<std::int64_t>::max();
  CategoricalFeature feature;
  feature.vocabulary = {kLow, kHigh, std::int64_t{0}};
  feature.missing = std::int64_t{-1};
  const CategoryTable table(feature);
  CHECK(table.find(kLow) == 0);
  CHECK(table.find(kHigh) == 1);
  CHECK(table.find(std::int64_t{0}) == 2);
  CHECK(table.find(std::int64_t{-1}) == kCatMissing);
  CHECK(table.find(std::int64_t{1}) == kCatUnseen);
}

TEST_CASE("a tensor of another kind than the vocabulary is invalid") {
  CategoricalFeature integers;
  integers.vocabulary = {std::int64_t{7}};
  CategoricalFeature strings;
  strings.vocabulary = {"7"};
  const std::vector<std::string_view> text = {"7", "8"};
  const std::vector<double> number = {7.0, kNaN, 7.5, 0x1p63, -kInfinity};
  const std::vector<std::uint64_t> wide = {7, std::uint64_t{1} << 63U};
  std::vector<std::int64_t> words(kCategoricalSlots);
  const auto count = [&](const CategoricalFeature& feature, const TensorView& tensor) {
    words.assign(kCategoricalSlots, 0);
    CategoricalCounter(feature, 0).observe({&tensor, 1}, words);
  };
  count(integers, view(text));
  CHECK(words[kCatInvalid] == 2);
  count(strings, view(number));
  CHECK(words[kCatInvalid] == 4);
  CHECK(words[kCatMissing] == 1);
  count(integers, view(number));
  CHECK(words[0] == 1);
  CHECK(words[kCatMissing] == 1);
  CHECK(words[kCatInvalid] == 3);
  count(integers, view(wide));
  CHECK(words[0] == 1);
  CHECK(words[kCatUnseen] == 1);
}

}  // namespace kedge::sketch::test
