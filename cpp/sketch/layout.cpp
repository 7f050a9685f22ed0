#include "sketch/layout.hpp"

#include <cmath>
#include <set>
#include <span>
#include <tuple>
#include <utility>

namespace kedge::sketch {
namespace {

Status refuse(const std::string& name, const std::string& what) {
  return {Code::kFailedPrecondition, "feature '" + name + "': " + what};
}

bool increasing(std::span<const double> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]) || (i > 0 && values[i] <= values[i - 1])) return false;
  }
  return true;
}

Status check(const NumericFeature& feature) {
  if (feature.edges.size() < 2 || feature.edges.size() > kMaxBins + 1)
    return refuse(feature.name, "needs 2 to 21 edges");
  if (feature.atoms.size() > kMaxAtoms) return refuse(feature.name, "has more than 5 atoms");
  if (!increasing(feature.edges) || !increasing(feature.atoms)) {
    return refuse(feature.name, "edges and atoms must be finite and increase strictly");
  }
  if (!(feature.valid_min <= feature.valid_max)) return refuse(feature.name, "valid range is empty");
  if (!std::isfinite(feature.center) || !std::isfinite(feature.scale) || feature.scale <= 0) {
    return refuse(feature.name, "center must be finite and scale finite and above zero");
  }
  return {};
}

Status check(const CategoricalFeature& feature) {
  if (feature.vocabulary.empty() || feature.vocabulary.size() > kMaxVocabulary) {
    return refuse(feature.name, "needs 1 to 60 categories");
  }
  std::vector<Category> known = feature.vocabulary;
  known.insert(known.end(), feature.other.begin(), feature.other.end());
  if (feature.missing) known.push_back(*feature.missing);
  for (const Category& category : known) {
    if (category.index() != known.front().index()) {
      return refuse(feature.name, "categories must be all strings or all integers");
    }
  }
  if (std::set<Category>(known.begin(), known.end()).size() != known.size()) {
    return refuse(feature.name, "a category appears twice");
  }
  return {};
}

}  // namespace

Status validate(const Layout& layout) {
  for (const Tensor& tensor : layout.tensors) {
    if (tensor.columns == 0)
      return {Code::kFailedPrecondition, "tensor '" + tensor.name + "' has no columns"};
  }
  for (const Feature& feature : layout.features) {
    Status status = std::visit([](const auto& f) { return check(f); }, feature);
    if (!status.ok()) return status;
    const auto [name, tensor, column] =
        std::visit([](const auto& f) { return std::tuple(f.name, f.tensor, f.column); }, feature);
    if (tensor >= layout.tensors.size()) return refuse(name, "reads a tensor the layout does not have");
    const Tensor& source = layout.tensors[tensor];
    if (source.summary && std::holds_alternative<CategoricalFeature>(feature)) {
      return refuse(name, "is categorical; its tensor is a summary");
    }
    if (column >= (source.summary ? kSummaries : source.columns))
      return refuse(name, "reads a column outside its tensor");
  }
  if (layout.scores.size() > kMaxScores) return {Code::kFailedPrecondition, "more than 32 score histograms"};
  for (const NumericFeature& score : layout.scores) {
    Status status = check(score);
    if (!status.ok()) return status;
    if (score.tensor != 0 || score.column >= std::max<std::size_t>(1, layout.classes)) {
      return refuse(score.name, "reads a column outside the scores");
    }
  }
  if (layout.reliability_edges.size() > kReliabilityBins - 1 || !increasing(layout.reliability_edges)) {
    return {Code::kFailedPrecondition, "reliability edges must be at most 19, finite and increase strictly"};
  }
  return {};
}

}  // namespace kedge::sketch
