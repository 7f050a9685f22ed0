// A bounded uniform sample of recent rows, of one bundle by one writer.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.hpp"

namespace kedge::engine {

// One row: of every input its trailing shape and elements.
struct SampledTensor {
  ort::Element type = ort::Element::undefined;
  Shape shape;  // first dimension 1
  std::vector<std::uint8_t> bytes;
  std::vector<std::string> strings;
};
using SampledRow = std::vector<SampledTensor>;

// Row `at` of inputs that have one entry a row.
SampledRow copy_row(std::span<const TensorView> inputs, std::int64_t at);
// About the bytes it holds; never 0.
std::size_t size_of(const SampledRow& row);

// Li's Algorithm L (1994): how many rows to skip until the next one is taken is drawn, so a row not taken
// costs nothing. Every `kHorizon` rows sampling starts over and replaces the old sample slot by slot.
class Reservoir {
 public:
  static constexpr std::size_t kRows = 1024;
  static constexpr std::size_t kBytes = std::size_t{16} * 1024 * 1024;  // rows that are images
  static constexpr std::int64_t kHorizon = 1'000'000;

  explicit Reservoir(std::uint64_t seed) : random_(seed) {}

  void offer(std::span<const TensorView> inputs, std::int64_t rows) {
    if (next_ < seen_ + rows) take_from(inputs, rows);
    seen_ += rows;
    if (seen_ >= kHorizon) restart();
  }
  std::vector<SampledRow> rows() const { return rows_; }

 private:
  void take_from(std::span<const TensorView> inputs, std::int64_t rows);
  void place(SampledRow row);
  void restart();
  double uniform();

  std::mt19937_64 random_;
  std::vector<SampledRow> rows_;
  std::size_t capacity_ = kRows;
  std::size_t filled_ = 0;
  std::int64_t seen_ = 0;
  std::int64_t next_ = 0;
  double weight_ = 1.0;
};

}  // namespace kedge::engine
