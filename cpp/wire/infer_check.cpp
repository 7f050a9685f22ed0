#include <algorithm>

#include "wire/infer_contents.hpp"
#include "wire/infer_request.hpp"
#include "wire/quote.hpp"

namespace kedge::wire {

namespace {

Status refused(std::string text) { return {Code::kInvalidArgument, std::move(text)}; }

Status refuse_parameter(RefusedParameter parameter, const std::string& place) {
  if (parameter == RefusedParameter::shared_memory) {
    return refused("shared memory " + place + " is not supported; send the data in the message");
  }
  return refused("parameter 'classification' " + place + " is not supported; take the scores");
}

// A name that occurs twice; none if all are distinct.
template <class Tensors>
std::optional<std::string_view> duplicate(const Tensors& tensors) {
  constexpr std::size_t few = 8;  // comparing all pairs beats sorting
  if (tensors.size() <= few) {
    for (std::size_t i = 1; i < tensors.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (tensors[i].name == tensors[j].name) return tensors[i].name;
      }
    }
    return std::nullopt;
  }
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const auto& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? std::nullopt : std::optional(*twice);
}

}  // namespace

std::string where(const InputView& input, const InferRequest& request) {
  return "for input " + quoted(input.name) + " for model " + quoted(request.model_name);
}

Status check_data(InferRequest& request) {
  const std::size_t raws = request.raw_contents.size();
  if (raws > 0 && raws != request.inputs.size()) {
    return refused("raw_input_contents for model " + quoted(request.model_name) +
                   ": expected one entry for each of " + std::to_string(request.inputs.size()) +
                   " inputs, got " + std::to_string(raws));
  }
  if (const auto name = duplicate(request.inputs)) {
    return refused("duplicate tensor for input " + quoted(*name) + " for model " +
                   quoted(request.model_name));
  }
  if (const auto name = duplicate(request.outputs)) {
    return refused("duplicate output " + quoted(*name) + " for model " + quoted(request.model_name));
  }
  for (const OutputRequest& output : request.outputs) {
    if (output.refused == RefusedParameter::none) continue;
    return refuse_parameter(output.refused,
                            "for output " + quoted(output.name) + " for model " + quoted(request.model_name));
  }
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    InputView& input = request.inputs[i];
    if (input.refused != RefusedParameter::none)
      return refuse_parameter(input.refused, where(input, request));
    if (input.dtype == DType::unknown) {
      return refused("unknown datatype " + quoted(input.datatype) + " " + where(input, request));
    }
    if (raws > 0) {
      if (input.has_contents) {
        return refused("mixed contents " + where(input, request) +
                       ". Expected raw_input_contents alone, got typed contents too");
      }
      input.raw = request.raw_contents[i];
      input.in_place = true;
    }
    Status status = check_elements(input, request);
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace kedge::wire
