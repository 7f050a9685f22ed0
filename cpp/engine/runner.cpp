#include <cstring>

#include "engine/session.hpp"

namespace kedge::engine {
namespace {

constexpr std::size_t kCachedRows = 256;           // natural batches are seldom larger
constexpr std::size_t kCachedBytes = 1024 * 1024;  // of one output: beyond, the value's cost does not matter

}  // namespace

Runner::Runner(std::shared_ptr<const Session> session, bool batched)
    : session_(std::move(session)),
      api_(session_->api_),
      batched_(batched),
      input_values_(session_->inputs_.size()),
      slots_(session_->outputs_.size()),
      output_values_(session_->outputs_.size()),
      views_(session_->outputs_.size()) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const TensorSpec& spec = session_->outputs_[i];
    bool known = element_size(spec.type) != 0;
    for (std::size_t d = 0; d < spec.shape.rank(); ++d) {
      if (spec.shape[d] < 0 && !(d == 0 && batched_)) known = false;
    }
    slots_[i].fixed = known;
  }
}

Runner::~Runner() {
  release_values();
  for (Slot& slot : slots_) drop_by_rows(api_, slot);
}

void Runner::drop_by_rows(const ort::Api& api, Slot& slot) {
  for (ort::Value* value : slot.by_rows) {
    if (value != nullptr) api.ReleaseValue(value);
  }
  slot.by_rows.clear();
}

void Runner::release_values() {
  for (ort::Value*& value : input_values_) {
    if (value != nullptr) api_.ReleaseValue(value);
    value = nullptr;
  }
  for (Slot& slot : slots_) {
    if (slot.value != nullptr) api_.ReleaseValue(slot.value);
    slot.value = nullptr;
  }
}

void Runner::let_go() {
  release_values();
  for (Slot& slot : slots_) {
    if (slot.held() <= kCachedBytes) continue;
    drop_by_rows(api_, slot);
    slot.bytes = std::vector<std::uint8_t>();
    slot.offsets = std::vector<std::size_t>();
  }
}

std::size_t Runner::bytes() const {
  std::size_t all = 0;
  for (const Slot& slot : slots_) all += slot.held();
  return all;
}

std::string Runner::run(std::span<const TensorView> inputs) {
  release_values();
  ort::Status* status = nullptr;
  for (std::size_t i = 0; i < inputs.size() && status == nullptr; ++i) status = make_input(inputs[i], i);
  const std::int64_t rows = inputs.empty() || inputs[0].shape.rank() == 0 ? 1 : inputs[0].shape[0];
  for (std::size_t i = 0; i < slots_.size() && status == nullptr; ++i) {
    output_values_[i] = nullptr;
    status = prepare_output(i, rows);
    if (status != nullptr) break;
    if (slots_[i].value != nullptr) {
      output_values_[i] = slots_[i].value;
    } else if (static_cast<std::size_t>(rows) < slots_[i].by_rows.size()) {
      output_values_[i] = slots_[i].by_rows[static_cast<std::size_t>(rows)];
    }
  }
  if (status == nullptr) {
    status = api_.Run(session_->session_, nullptr, session_->input_names_.data(), input_values_.data(),
                      input_values_.size(), session_->output_names_.data(), output_values_.size(),
                      output_values_.data());
  }
  for (std::size_t i = 0; i < slots_.size() && status == nullptr; ++i) status = read_output(i);
  return session_->runtime_.take_message(status);
}

ort::Status* Runner::make_input(const TensorView& view, std::size_t index) {
  if (view.type == ort::Element::string) return make_string_input(view, &input_values_[index]);
  // The C interface has no const here; the runtime does not write to inputs.
  void* data = const_cast<std::uint8_t*>(view.bytes.data());
  return api_.CreateTensorWithDataAsOrtValue(session_->runtime_.cpu(), data, view.bytes.size(),
                                             view.shape.data(), view.shape.rank(), view.type,
                                             &input_values_[index]);
}

// Strings live inside the runtime's value: `CreateTensorWithDataAsOrtValue` takes them without complaint and
// then corrupts memory, and `FillStringTensor` cuts at NUL.
ort::Status* Runner::make_string_input(const TensorView& view, ort::Value** value) {
  ort::Status* status = api_.CreateTensorAsOrtValue(session_->runtime_.allocator(), view.shape.data(),
                                                    view.shape.rank(), view.type, value);
  for (std::size_t i = 0; i < view.strings.size() && status == nullptr; ++i) {
    const std::string_view text = view.strings[i];
    char* buffer = nullptr;
    status = api_.GetResizedStringTensorElementBuffer(*value, i, text.size(), &buffer);
    if (status == nullptr && !text.empty()) std::memcpy(buffer, text.data(), text.size());
  }
  return status;
}

ort::Status* Runner::prepare_output(std::size_t index, std::int64_t rows) {
  Slot& slot = slots_[index];
  const TensorSpec& spec = session_->outputs_[index];
  if (!slot.fixed) return nullptr;  // the runtime allocates
  Shape shape = spec.shape;
  if (shape.rank() > 0 && shape[0] < 0) shape[0] = rows;
  const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * element_size(spec.type);
  const bool dynamic = shape.rank() > 0 && spec.shape[0] < 0;
  const std::size_t row_bytes = dynamic && rows > 0 ? bytes / static_cast<std::size_t>(rows) : bytes;
  const bool cached = dynamic && rows > 0 && static_cast<std::size_t>(rows) <= kCachedRows &&
                      row_bytes * kCachedRows <= kCachedBytes;
  const std::size_t room = cached ? row_bytes * kCachedRows : bytes;
  if (slot.bytes.size() < room || slot.bytes.empty()) {
    drop_by_rows(api_, slot);
    slot.bytes.resize(room == 0 ? 1 : room);
  }
  views_[index] = {spec.type, shape, {slot.bytes.data(), bytes}, {}, {}};
  ort::Value** value = &slot.value;
  if (cached) {
    if (slot.by_rows.empty()) slot.by_rows.resize(kCachedRows + 1);
    value = &slot.by_rows[static_cast<std::size_t>(rows)];
    if (*value != nullptr) return nullptr;
  }
  return api_.CreateTensorWithDataAsOrtValue(session_->runtime_.cpu(), slot.bytes.data(), bytes, shape.data(),
                                             shape.rank(), spec.type, value);
}

ort::Status* Runner::read_output(std::size_t index) {
  Slot& slot = slots_[index];
  if (slot.fixed) return nullptr;  // described when it was prepared
  TensorView& view = views_[index];
  ort::Value* value = output_values_[index];
  slot.value = value;
  ort::TensorInfo* info = nullptr;
  ort::Status* status = api_.GetTensorTypeAndShape(value, &info);
  if (status != nullptr) return status;
  std::size_t rank = 0;
  status = api_.GetTensorElementType(info, &view.type);
  if (status == nullptr) status = api_.GetDimensionsCount(info, &rank);
  std::int64_t dims[kMaxRank] = {};
  if (status == nullptr && rank <= kMaxRank) status = api_.GetDimensions(info, dims, rank);
  api_.ReleaseTensorTypeAndShapeInfo(info);
  if (status != nullptr) return status;
  view.shape = Shape({dims, rank <= kMaxRank ? rank : kMaxRank});
  if (view.type == ort::Element::string) return read_strings(slot, view);
  void* data = nullptr;
  status = api_.GetTensorMutableData(value, &data);
  const std::size_t bytes = static_cast<std::size_t>(view.shape.elements()) * element_size(view.type);
  view.bytes = {static_cast<const std::uint8_t*>(data), bytes};
  return status;
}

ort::Status* Runner::read_strings(Slot& slot, TensorView& view) {
  const auto count = static_cast<std::size_t>(view.shape.elements());
  std::size_t length = 0;
  ort::Status* status = api_.GetStringTensorDataLength(slot.value, &length);
  if (status != nullptr) return status;
  slot.bytes.resize(length + 1);
  slot.offsets.resize(count);
  if (count != 0) {
    status = api_.GetStringTensorContent(slot.value, slot.bytes.data(), length, slot.offsets.data(), count);
  }
  view.bytes = {slot.bytes.data(), length};
  view.offsets = slot.offsets;
  return status;
}

}  // namespace kedge::engine
