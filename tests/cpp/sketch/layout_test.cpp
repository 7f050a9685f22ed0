#include "sketch/layout.hpp"

#include <doctest/doctest.h>

#include "helpers.hpp"

namespace kedge::sketch::test {
namespace {

Layout with(NumericFeature feature) {
  Layout layout;
  layout.tensors = {{"t", 2, false}};
  layout.features = {std::move(feature)};
  return layout;
}

Layout with(CategoricalFeature feature) {
  Layout layout = with(numeric(0, 0, {0, 1}));
  layout.features = {std::move(feature)};
  return layout;
}

}  // namespace

TEST_CASE("a layout within the contract is valid") {
  CHECK(validate(Layout{}).ok());
  CHECK(validate(with(numeric(0, 1, {0, 1}))).ok());
  CHECK(validate(with(CategoricalFeature{"c", 0, 0, {"a", "b"}, {"c"}, ""})).ok());
}

TEST_CASE("a layout that breaks a rule is refused") {
  std::vector<Layout> bad;
  bad.push_back(with(numeric(0, 0, {0})));
  bad.push_back(with(numeric(0, 0, std::vector<double>(22, 1.0))));
  bad.push_back(with(numeric(0, 0, {1, 1})));
  bad.push_back(with(numeric(0, 0, {0, kInfinity})));
  bad.push_back(with(numeric(0, 2, {0, 1})));
  bad.push_back(with(numeric(1, 0, {0, 1})));
  NumericFeature feature = numeric(0, 0, {0, 1});
  feature.atoms = {kNaN};
  bad.push_back(with(feature));
  feature = numeric(0, 0, {0, 1});
  feature.scale = 0;
  bad.push_back(with(feature));
  feature = numeric(0, 0, {0, 1});
  feature.valid_min = kNaN;
  bad.push_back(with(feature));
  bad.push_back(with(CategoricalFeature{"c", 0, 0, {}, {}, {}}));
  bad.push_back(with(CategoricalFeature{"c", 0, 0, std::vector<Category>(61, "a"), {}, {}}));
  bad.push_back(with(CategoricalFeature{"c", 0, 0, {"a", std::int64_t{1}}, {}, {}}));
  bad.push_back(with(CategoricalFeature{"c", 0, 0, {"a"}, {}, "a"}));
  bad.push_back(with(numeric(0, 0, {0, 1})));
  bad.back().tensors[0].columns = 0;
  bad.push_back(with(CategoricalFeature{"c", 0, 0, {"a"}, {}, {}}));
  bad.back().tensors[0].summary = true;
  bad.push_back(Layout{});
  bad.back().scores = {numeric(0, 1, {0, 1})};
  bad.push_back(Layout{});
  bad.back().reliability_edges = {0.5, 0.5};
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const Status status = validate(bad[i]);
    CHECK_MESSAGE(status.code() == Code::kFailedPrecondition, i);
    CHECK_FALSE(status.message().empty());
  }
}

}  // namespace kedge::sketch::test
