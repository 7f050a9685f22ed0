#include "engine/slices.hpp"

#include <algorithm>
#include <cmath>

#include "engine/predictions.hpp"

namespace kedge::engine {
namespace {

std::size_t place_of_number(const SliceFeature& feature, const sketch::TensorView& view, std::size_t row) {
  double number = 0;
  sketch::with_element(view.element, [&](auto type) {
    number = sketch::widen<double>(sketch::load<decltype(type)>(view.at(row, feature.column)));
  });
  const auto& edges = feature.edges;
  if (std::isnan(number) || number == feature.missing) return edges.size() + 1;
  return static_cast<std::size_t>(std::upper_bound(edges.begin(), edges.end(), number) - edges.begin());
}

}  // namespace

Slices::Slices(const std::vector<SliceFeature>& features) {
  for (const SliceFeature& feature : features) {
    Feature& made = features_.emplace_back(Feature{feature, std::nullopt});
    if (feature.categories.has_value()) made.table.emplace(*feature.categories);
  }
}

void Slices::read(std::span<const TensorView> inputs, std::size_t rows, Views& views) const {
  views.clear();
  for (const Feature& feature : features_) {
    const sketch::TensorView view = counted(inputs[feature.said.input]);
    const bool text = view.element == sketch::Element::kString;
    if (view.rows != rows || view.columns <= feature.said.column || (text && !feature.table.has_value())) {
      views.clear();
      return;
    }
    views.push_back(view);
  }
}

std::uint16_t Slices::id(const Views& views, std::size_t row) const {
  if (views.empty()) return 0;
  std::size_t id = 1;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const auto& [said, table] = features_[i];
    const std::size_t place = table.has_value()
                                  ? said.places[table->slot(views[i].element, views[i].at(row, said.column))]
                                  : place_of_number(said, views[i], row);
    id += place * said.stride;
  }
  return static_cast<std::uint16_t>(id);
}

}  // namespace kedge::engine
