// The ids of an answer's rows, from the columns that say what was predicted.
#include <pybind11/numpy.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>

#include "bindings/tokens.hpp"

namespace py = pybind11;

namespace kedge::bindings {
namespace {

constexpr std::size_t bundle_bytes = 8;
constexpr std::int64_t max_label = std::numeric_limits<std::uint16_t>::max();

// [N] or [N, C] numbers of a numpy array, read as doubles; float32 and float64 without a copy.
class Numbers {
 public:
  Numbers(const py::object& given, std::size_t rows) {
    if (given.is_none()) return;
    array_ = py::reinterpret_borrow<py::array>(given);
    if (!py::isinstance<py::array_t<float>>(array_) && !py::isinstance<py::array_t<double>>(array_)) {
      array_ = py::array_t<double>::ensure(given);
    }
    if (!array_ || array_.ndim() < 1 || array_.ndim() > 2 ||
        static_cast<std::size_t>(array_.shape(0)) != rows) {
      throw std::invalid_argument("a column of predictions has another number of rows than there are");
    }
    wide_ = array_.itemsize() == sizeof(double);
    data_ = static_cast<const char*>(array_.data());
    columns_ = array_.ndim() == 2 ? static_cast<std::size_t>(array_.shape(1)) : 1;
    column_stride_ = array_.ndim() == 2 ? array_.strides(1) : 0;
  }

  explicit operator bool() const { return data_ != nullptr && columns_ != 0; }
  std::size_t columns() const { return columns_; }

  double at(std::size_t row, std::size_t column = 0) const {
    const char* from = data_ + static_cast<py::ssize_t>(row) * array_.strides(0) +
                       static_cast<py::ssize_t>(column) * column_stride_;
    double value = 0;
    float narrow = 0;
    if (wide_) {
      std::memcpy(&value, from, sizeof value);
      return value;
    }
    std::memcpy(&narrow, from, sizeof narrow);
    return static_cast<double>(narrow);
  }

 private:
  py::array array_;
  const char* data_ = nullptr;
  std::size_t columns_ = 0;
  py::ssize_t column_stride_ = 0;
  bool wide_ = false;
};

using Integers = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

// [N] class ids; nothing for None.
Integers integers(const py::object& given, std::size_t rows) {
  if (given.is_none()) return Integers(0);
  Integers labels = Integers::ensure(given);
  if (!labels || labels.ndim() != 1 || static_cast<std::size_t>(labels.shape(0)) != rows) {
    throw std::invalid_argument("a column of predictions has another number of rows than there are");
  }
  return labels;
}

wire::PredictedClass predicted_class(std::int64_t label, const Numbers& scores, std::size_t row) {
  wire::PredictedClass predicted;
  predicted.label = static_cast<std::uint16_t>(label < 0 ? max_label : std::min(label, max_label));
  const std::size_t count = std::min(scores.columns(), predicted.probabilities.size());
  predicted.count = static_cast<std::uint8_t>(count);
  for (std::size_t i = 0; i < count; ++i) {
    predicted.probabilities[i] = wire::quantize_probability(scores.at(row, i));
  }
  return predicted;
}

wire::TokenSealer sealer(const wire::TokenKey& key, const std::string& bundle, std::uint32_t epoch,
                         std::uint64_t boot, std::uint16_t shard) {
  if (bundle.size() != bundle_bytes)
    throw std::invalid_argument("a bundle is named by the first 8 bytes of its id");
  wire::Prediction origin;
  std::copy(bundle.begin(), bundle.end(), origin.bundle.begin());
  origin.epoch = epoch;
  origin.boot = boot;
  origin.shard = shard;
  return wire::TokenSealer(key, origin);
}

}  // namespace

RowSealer::RowSealer(std::uint8_t key, const std::string& secret, const std::string& bundle,
                     std::uint32_t epoch, std::uint64_t boot, std::uint16_t shard)
    : sealer_(sealer(token_key(key, secret), bundle, epoch, boot, shard)) {}

py::list RowSealer::seal(std::uint64_t sequence, std::uint32_t seconds, std::uint8_t arm,
                         std::uint32_t key_bits, std::size_t rows, const py::object& slices,
                         const py::object& classes, const py::object& scores, const py::object& lower,
                         const py::object& upper) const {
  const Integers labels = integers(classes, rows);
  const Integers parts = integers(slices, rows);
  const Numbers values(scores, rows);
  const Numbers low(lower, rows);
  const Numbers high(upper, rows);
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  py::list ids(rows);
  wire::Prediction prediction;
  prediction.seconds = seconds;
  prediction.arm = arm;
  prediction.key_bits = key_bits;
  for (std::size_t row = 0; row < rows; ++row) {
    prediction.sequence = sequence + row;
    if (parts.size() > 0) prediction.slice = static_cast<std::uint16_t>(parts.data()[row]);
    if (labels.size() > 0) {
      prediction.predicted = predicted_class(labels.data()[row], values, row);
    } else if (values) {
      prediction.predicted =
          wire::PredictedValue{values.at(row), low ? low.at(row) : none, high ? high.at(row) : none};
    }
    const wire::TokenText text = sealer_.seal(prediction);
    ids[row] = py::str(text.view().data(), text.view().size());
  }
  return ids;
}

std::uint64_t siphash24(const std::string& key, const py::bytes& message) {
  const std::string_view text = message;
  return wire::siphash24(token_key(0, key).secret,
                         wire::Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

}  // namespace kedge::bindings
