#include "engine/predictions.hpp"

#include <cmath>
#include <string>

namespace kedge::engine {
namespace {

sketch::Element element_of(ort::Element type) {
  switch (type) {
    case ort::Element::boolean:
      return sketch::Element::kBool;
    case ort::Element::int8:
      return sketch::Element::kInt8;
    case ort::Element::uint8:
      return sketch::Element::kUint8;
    case ort::Element::int16:
      return sketch::Element::kInt16;
    case ort::Element::uint16:
      return sketch::Element::kUint16;
    case ort::Element::int32:
      return sketch::Element::kInt32;
    case ort::Element::uint32:
      return sketch::Element::kUint32;
    case ort::Element::int64:
      return sketch::Element::kInt64;
    case ort::Element::uint64:
      return sketch::Element::kUint64;
    case ort::Element::float16:
      return sketch::Element::kFloat16;
    case ort::Element::bfloat16:
      return sketch::Element::kBfloat16;
    case ort::Element::float64:
      return sketch::Element::kFloat64;
    case ort::Element::string:
      return sketch::Element::kString;
    case ort::Element::float32:
    case ort::Element::undefined:
      return sketch::Element::kFloat32;
  }
  return sketch::Element::kFloat32;
}

template <class T>
sketch::TensorView view_of(sketch::Element element, const T* data, std::size_t rows, std::size_t columns) {
  return {element, reinterpret_cast<const std::byte*>(data),         rows,
          columns, static_cast<std::ptrdiff_t>(columns * sizeof(T)), static_cast<std::ptrdiff_t>(sizeof(T))};
}

bool is_float(ort::Element type) { return type == ort::Element::float32 || type == ort::Element::float64; }

// A label as the bundle's list of classes writes it.
template <class T>
std::string label_text(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::nearbyint(value) == value) return std::to_string(static_cast<std::int64_t>(value));
    return std::to_string(value);
  } else {
    return std::to_string(value);
  }
}

// Whether the classes are "0", "1", ...: then an integer label is its own id.
bool numbered(const std::vector<std::string>& classes) {
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (classes[i] != std::to_string(i)) return false;
  }
  return true;
}

}  // namespace

sketch::TensorView counted(const TensorView& tensor) {
  const std::size_t rows = tensor.shape.rank() == 0 ? 1 : static_cast<std::size_t>(tensor.shape[0]);
  const auto elements = static_cast<std::size_t>(tensor.shape.elements());
  const std::size_t columns = rows == 0 ? 1 : elements / rows;
  if (tensor.type == ort::Element::string) {
    return view_of(sketch::Element::kString, tensor.strings.data(), rows, columns);
  }
  const auto size = static_cast<std::ptrdiff_t>(element_size(tensor.type));
  return {element_of(tensor.type),
          reinterpret_cast<const std::byte*>(tensor.bytes.data()),
          rows,
          columns,
          static_cast<std::ptrdiff_t>(columns) * size,
          size};
}

Predictions::View Predictions::read(const Model& model, std::span<const TensorView> outputs,
                                    std::size_t rows) {
  const Prediction& prediction = model.config().prediction;
  if (prediction.kind == PredictionKind::none || rows == 0) return {};
  const TensorView& output = outputs[prediction.output];
  if (output.shape.rank() == 0 || static_cast<std::size_t>(output.shape[0]) != rows) return {};
  if (prediction.kind == PredictionKind::label) {
    if (!class_ids(model, output, rows)) return {};
    return {&classes_, nullptr, false};
  }
  if (!is_float(output.type)) return {};
  if (prediction.kind == PredictionKind::value) {
    scores_ = counted(output);
    scores_.columns = 1;
    return {nullptr, &scores_, false};
  }
  if (!probabilities(output, rows, prediction.kind == PredictionKind::logits)) return {};
  if (prediction.label_output.has_value()) {
    if (!class_ids(model, outputs[*prediction.label_output], rows)) return {};
  } else if (scores_.element == sketch::Element::kFloat32) {
    argmax<float>(scores_);
  } else {
    argmax<double>(scores_);
  }
  return {&classes_, &scores_, true};
}

bool Predictions::class_ids(const Model& model, const TensorView& labels, std::size_t rows) {
  if (labels.shape.rank() == 0 || static_cast<std::size_t>(labels.shape[0]) != rows) return false;
  const bool own_ids = numbered(model.config().prediction.classes);
  if (labels.type == ort::Element::int64 && own_ids &&
      static_cast<std::size_t>(labels.shape.elements()) == rows) {
    classes_ = counted(labels);
    return true;
  }
  ids_.resize(rows);
  if (labels.type == ort::Element::string) {
    if (labels.offsets.size() < rows) return false;
    const std::size_t stride = labels.offsets.size() / rows;
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t at = row * stride;
      const std::size_t start = labels.offsets[at];
      const std::size_t end = at + 1 < labels.offsets.size() ? labels.offsets[at + 1] : labels.bytes.size();
      ids_[row] = model.class_of({reinterpret_cast<const char*>(labels.bytes.data()) + start, end - start});
    }
  } else {
    const sketch::TensorView view = counted(labels);
    sketch::with_element(view.element, [&]<class T>(T) {
      for (std::size_t row = 0; row < rows; ++row) {
        const T value = sketch::load<T>(view.at(row, 0));
        if constexpr (std::is_arithmetic_v<T>) {
          ids_[row] = model.class_of(label_text(value));
        } else {
          ids_[row] = model.class_of(label_text(sketch::widen<double>(value)));
        }
      }
    });
  }
  classes_ = view_of(sketch::Element::kInt64, ids_.data(), rows, 1);
  return true;
}

bool Predictions::probabilities(const TensorView& scores, std::size_t rows, bool logits) {
  scores_ = counted(scores);
  if (scores_.columns > 1 && !logits) return true;
  if (scores.type == ort::Element::float32) {
    convert<float>(scores, rows, scores_.columns, logits);
  } else {
    convert<double>(scores, rows, scores_.columns, logits);
  }
  return true;
}

// Softmax of logits, in float64; a single score a row is that of the second of two classes.
template <class T>
void Predictions::convert(const TensorView& scores, std::size_t rows, std::size_t columns, bool logits) {
  const sketch::TensorView view = counted(scores);
  const std::size_t width = columns == 1 ? 2 : columns;
  computed_.resize(rows * width);
  for (std::size_t row = 0; row < rows; ++row) {
    double* out = computed_.data() + row * width;
    if (columns == 1) {
      out[1] = static_cast<double>(sketch::load<T>(view.at(row, 0)));
      out[0] = logits ? 0.0 : static_cast<double>(T{1} - sketch::load<T>(view.at(row, 0)));
    } else {
      for (std::size_t c = 0; c < width; ++c) out[c] = static_cast<double>(sketch::load<T>(view.at(row, c)));
    }
    if (!logits) continue;
    double top = out[0];
    for (std::size_t c = 1; c < width; ++c) top = out[c] > top ? out[c] : top;
    double sum = 0;
    for (std::size_t c = 0; c < width; ++c) sum += out[c] = std::exp(out[c] - top);
    for (std::size_t c = 0; c < width; ++c) out[c] /= sum;
  }
  scores_ = view_of(sketch::Element::kFloat64, computed_.data(), rows, width);
}

template <class T>
void Predictions::argmax(const sketch::TensorView& scores) {
  ids_.resize(scores.rows);
  for (std::size_t row = 0; row < scores.rows; ++row) {
    std::size_t best = 0;
    T top = sketch::load<T>(scores.at(row, 0));
    for (std::size_t c = 1; c < scores.columns; ++c) {
      const T value = sketch::load<T>(scores.at(row, c));
      if (value > top) {
        top = value;
        best = c;
      }
    }
    ids_[row] = static_cast<std::int64_t>(best);
  }
  classes_ = view_of(sketch::Element::kInt64, ids_.data(), scores.rows, 1);
}

}  // namespace kedge::engine
