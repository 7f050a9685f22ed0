// What a sketch watches. The contract, with the meaning of every slot, is src/kedge/kernel/contract.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.hpp"
#include "sketch/slots.hpp"

namespace kedge::sketch {

struct NumericFeature {
  std::string name;
  std::size_t tensor = 0;
  std::size_t column = 0;
  std::vector<double> edges;
  std::vector<double> atoms;
  double valid_min = -std::numeric_limits<double>::infinity();
  double valid_max = std::numeric_limits<double>::infinity();
  std::optional<double> missing = std::numeric_limits<double>::quiet_NaN();
  double center = 0.0;
  double scale = 1.0;
};

using Category = std::variant<std::int64_t, std::string>;

struct CategoricalFeature {
  std::string name;
  std::size_t tensor = 0;
  std::size_t column = 0;
  std::vector<Category> vocabulary;
  std::vector<Category> other;
  std::optional<Category> missing;
};

using Feature = std::variant<NumericFeature, CategoricalFeature>;

struct Tensor {
  std::string name;
  std::size_t columns = 1;
  bool summary = false;
};

struct Layout {
  std::vector<Tensor> tensors;
  std::vector<Feature> features;
  std::size_t classes = 0;
  std::vector<NumericFeature> scores;
  std::vector<double> reliability_edges;
  std::vector<std::string> schema_inputs;
  // SHA-256 made by kedge.kernel.state.layout_digest; carried into snapshots, never computed here.
  std::array<std::uint8_t, 32> digest{};
};

// Whether the layout keeps every rule of the contract. Everything else in kedge::sketch relies on it.
Status validate(const Layout& layout);

}  // namespace kedge::sketch
