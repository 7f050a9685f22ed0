#include "engine/reservoir.hpp"

#include <algorithm>
#include <cmath>

namespace kedge::engine {

SampledRow copy_row(std::span<const TensorView> inputs, std::int64_t at) {
  SampledRow row;
  for (const TensorView& input : inputs) {
    SampledTensor tensor{input.type, input.shape, {}, {}};
    const auto rows = static_cast<std::size_t>(input.shape[0]);
    const auto index = static_cast<std::size_t>(at);
    tensor.shape[0] = 1;
    const std::size_t bytes = input.bytes.size() / rows;
    const auto from = input.bytes.subspan(index * bytes, bytes);
    tensor.bytes.assign(from.begin(), from.end());
    const std::size_t strings = input.strings.size() / rows;
    for (const std::string_view text : input.strings.subspan(index * strings, strings))
      tensor.strings.emplace_back(text);
    row.push_back(std::move(tensor));
  }
  return row;
}

std::size_t size_of(const SampledRow& row) {
  std::size_t bytes = 1;
  for (const SampledTensor& tensor : row) {
    bytes += tensor.bytes.size();
    for (const std::string& text : tensor.strings) bytes += text.size() + sizeof text;
  }
  return bytes;
}

double Reservoir::uniform() {
  return 1.0 - std::uniform_real_distribution<double>(0.0, 1.0)(random_);
}  // (0, 1]

void Reservoir::restart() {
  seen_ = 0;
  next_ = 0;
  filled_ = 0;
  weight_ = 1.0;
}

void Reservoir::take_from(std::span<const TensorView> inputs, std::int64_t rows) {
  while (next_ < seen_ + rows) {
    place(copy_row(inputs, next_ - seen_));
    if (filled_ < capacity_) {
      ++next_;
      continue;
    }
    weight_ *= std::exp(std::log(uniform()) / static_cast<double>(capacity_));
    next_ += 1 + static_cast<std::int64_t>(std::log(uniform()) / std::log1p(-std::min(weight_, 1.0 - 1e-12)));
  }
}

void Reservoir::place(SampledRow row) {
  if (rows_.empty()) capacity_ = std::clamp<std::size_t>(kBytes / size_of(row), 1, kRows);
  const std::size_t slot =
      filled_ < capacity_ ? filled_++ : std::uniform_int_distribution<std::size_t>(0, capacity_ - 1)(random_);
  if (slot < rows_.size()) {
    rows_[slot] = std::move(row);
  } else {
    rows_.push_back(std::move(row));
  }
}

}  // namespace kedge::engine
