// Time a value of the C++ kernel, for every instruction set of this machine: counting alone, all state, one
// row a call. All are measured in turns, and the least of many turns is printed: other work on the machine
// only ever adds.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "sketch/sketch.hpp"

namespace {

using namespace kedge::sketch;

constexpr std::size_t kRows = 1024;
constexpr std::size_t kFeatures = 32;
constexpr int kTurns = 400;

struct Case {
  std::string isa;
  std::string what;
  Ops ops;
  std::size_t rows_a_call;
  bool by_name;
  std::unique_ptr<Sketch> sketch;
  double best = INFINITY;
};

Layout layout_of(const std::vector<float>& x, bool by_name) {
  Layout layout;
  if (!by_name) layout.tensors.push_back({"x", kFeatures, false});
  for (std::size_t f = 0; f < kFeatures; ++f) {
    NumericFeature feature;
    feature.name = std::to_string(f);
    std::vector<double> column;
    for (std::size_t r = 0; r < kRows; ++r) column.push_back(static_cast<double>(x[r * kFeatures + f]));
    std::sort(column.begin(), column.end());
    for (std::size_t i = 0; i <= kMaxBins; ++i) feature.edges.push_back(column[i * (kRows - 1) / kMaxBins]);
    feature.scale = 1000.0;
    if (by_name) {
      layout.tensors.push_back({feature.name, 1, false});
      feature.tensor = f;
    } else {
      feature.column = f;
    }
    layout.features.emplace_back(std::move(feature));
  }
  return layout;
}

void run(Case& c, const std::vector<float>& x, std::vector<TensorView>& views) {
  const auto* data = reinterpret_cast<const std::byte*>(x.data());
  constexpr std::ptrdiff_t kRowBytes = kFeatures * sizeof(float);
  views.clear();
  for (std::size_t t = 0; t < (c.by_name ? kFeatures : 1); ++t) {
    views.push_back({Element::kFloat32, data + t * sizeof(float), c.rows_a_call, c.by_name ? 1 : kFeatures,
                     kRowBytes, sizeof(float)});
  }
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t row = 0; row < kRows; row += c.rows_a_call) {
    if (!c.sketch->observe(views).ok()) std::abort();
    for (TensorView& view : views) view.data += static_cast<std::ptrdiff_t>(c.rows_a_call) * kRowBytes;
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  c.best = std::min(c.best, took.count() / static_cast<double>(kRows * kFeatures));
}

}  // namespace

int main() {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(kRows * kFeatures);
  for (float& value : x) value = normal(generator);

  std::vector<Case> cases;
  const auto add = [&](const Ops& ops, std::string what, std::size_t rows, bool by_name) {
    cases.push_back({ops.isa, std::move(what), ops, rows, by_name, nullptr});
  };
  for (const Ops* ops : available_ops()) {
    Ops counting = *ops;
    counting.moments32 = [](const GroupView&, const std::byte*, std::ptrdiff_t, std::size_t) {};
    add(counting, "counting, 1024 rows a call", kRows, false);
    add(*ops, "all state, 1024 rows a call", kRows, false);
    add(*ops, "all state, 1 row a call", 1, false);
    add(*ops, "all state, 1024 rows, 32 inputs by name", kRows, true);
    add(*ops, "all state, 1 row, 32 inputs by name", 1, true);
  }
  for (Case& c : cases) {
    auto made = Sketch::create(layout_of(x, c.by_name), c.ops);
    if (!made.ok()) return 1;
    c.sketch = std::move(made).value();
  }
  std::vector<TensorView> views;
  for (int turn = 0; turn < kTurns; ++turn) {
    for (Case& c : cases) run(c, x, views);
  }
  for (const Case& c : cases) std::printf("%s\t%s\t%.3f\n", c.isa.c_str(), c.what.c_str(), c.best);
}
