#include "engine/reservoir.hpp"

#include <cstring>

#include "engine/check.hpp"

using namespace kedge::engine;  // NOLINT: a test
namespace ort = kedge::ort;

namespace {

TensorView rows_of(const std::vector<float>& values) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size()), 1};
  return {ort::Element::float32,
          Shape(shape),
          {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(float)},
          {},
          {}};
}

float value_of(const SampledRow& row) {
  float value = 0;
  std::memcpy(&value, row[0].bytes.data(), sizeof value);
  return value;
}

void few_rows_are_all_kept() {
  Reservoir reservoir(1);
  const std::vector<float> values = {1, 2, 3};
  const TensorView view = rows_of(values);
  reservoir.offer({&view, 1}, 3);
  const auto rows = reservoir.rows();
  CHECK(rows.size() == 3 && value_of(rows[0]) == 1 && value_of(rows[2]) == 3);
  CHECK(rows[0][0].shape[0] == 1);
}

// 100,000 rows in batches: the sample is bounded and its mean is that of a uniform sample.
void many_rows_leave_a_uniform_sample() {
  Reservoir reservoir(7);
  constexpr int kBatch = 50;
  for (int start = 0; start < 100'000; start += kBatch) {
    std::vector<float> values(kBatch);
    for (int i = 0; i < kBatch; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(start + i);
    const TensorView view = rows_of(values);
    reservoir.offer({&view, 1}, kBatch);
  }
  const auto rows = reservoir.rows();
  CHECK(rows.size() == Reservoir::kRows);
  double sum = 0;
  for (const SampledRow& row : rows) sum += static_cast<double>(value_of(row));
  const double mean = sum / static_cast<double>(rows.size());
  CHECK(mean > 45'500 && mean < 54'500);  // standard error 902: five of them
}

}  // namespace

int main() {
  few_rows_are_all_kept();
  many_rows_leave_a_uniform_sample();
  std::puts("ok");
}
