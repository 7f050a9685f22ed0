#include "engine/lane.hpp"

#include <cstring>

namespace kedge::engine {
namespace {

// Of one input: more is not worth keeping, for its allocation costs little beside its run.
constexpr std::size_t kKeptBytes = std::size_t{1} << 20U;

std::size_t held(const std::vector<std::string_view>& strings) {
  return strings.capacity() * sizeof(std::string_view);
}

Shape batch_shape(std::span<Request* const> requests, std::size_t index) {
  Shape shape(requests.front()->inputs[index]->shape.dims());
  if (requests.size() == 1 || shape.rank() == 0) return shape;
  shape[0] = 0;
  for (const Request* request : requests) shape[0] += request->inputs[index]->shape.values[0];
  return shape;
}

// The runtime reads elements in place; its vector code may rely on an element's own alignment.
bool usable_in_place(const wire::InputView& input, std::size_t size) {
  return input.in_place && reinterpret_cast<std::uintptr_t>(input.raw.data()) % size == 0;
}

}  // namespace

Lane::Lane(std::shared_ptr<Model> model)
    : model_(std::move(model)),
      runner_(model_->session(), model_->config().batchable),
      scratch_(model_->session()->inputs().size()),
      inputs_(scratch_.size()) {}

void Lane::gather(std::span<Request* const> requests) {
  const auto specs = model_->session()->inputs();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    inputs_[i] =
        specs[i].type == ort::Element::string ? gather_strings(requests, i) : gather_numbers(requests, i);
  }
}

std::string Lane::uneven_output(std::int64_t rows) const {
  if (!model_->config().batchable) return {};
  const auto given = outputs();
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i].shape.rank() != 0 && given[i].shape[0] == rows) continue;
    return "output '" + model_->session()->outputs()[i].name + "' has not one entry a row";
  }
  return {};
}

const Predictions::View& Lane::predicted(std::size_t rows) {
  if (!read_) {
    seen_ = predictions_.read(*model_, runner_.outputs(), rows);
    read_ = true;
  }
  return seen_;
}

void Lane::let_go() {
  for (Input& input : scratch_) {
    if (input.bytes.capacity() > kKeptBytes) input.bytes = {};
    if (held(input.strings) > kKeptBytes) input.strings = std::vector<std::string_view>();
  }
  runner_.let_go();
}

std::size_t Lane::bytes() const {
  std::size_t all = runner_.bytes();
  for (const Input& input : scratch_) all += input.bytes.capacity() + held(input.strings);
  return all;
}

TensorView Lane::gather_strings(std::span<Request* const> requests, std::size_t index) {
  std::vector<std::string_view>& strings = scratch_[index].strings;
  std::size_t count = 0;
  for (const Request* request : requests) count += static_cast<std::size_t>(request->inputs[index]->elements);
  strings.resize(count);
  std::size_t at = 0;
  for (const Request* request : requests) {
    wire::bytes_elements(*request->inputs[index], strings.data() + at);
    at += static_cast<std::size_t>(request->inputs[index]->elements);
  }
  return {ort::Element::string, batch_shape(requests, index), {}, strings, {}};
}

TensorView Lane::gather_numbers(std::span<Request* const> requests, std::size_t index) {
  const ort::Element type = model_->session()->inputs()[index].type;
  const Shape shape = batch_shape(requests, index);
  const wire::InputView& first = *requests.front()->inputs[index];
  if (requests.size() == 1 && usable_in_place(first, element_size(type)))
    return {type, shape, first.raw, {}, {}};
  wire::Buffer& bytes = scratch_[index].bytes;
  bytes.clear();
  for (const Request* request : requests) {
    const wire::InputView& input = *request->inputs[index];
    if (input.in_place) {
      bytes.append(input.raw);
    } else {
      wire::copy_elements(input, bytes.extend(input.byte_size()));
    }
  }
  return {type, shape, bytes.view(), {}, {}};
}

}  // namespace kedge::engine
