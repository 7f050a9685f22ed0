#include "engine/fit.hpp"

#include <algorithm>

#include "engine/confidence.hpp"
#include "wire/quote.hpp"

namespace kedge::engine {
namespace {

using wire::quoted;

std::string text(std::span<const std::int64_t> dims) {
  std::string out = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i != 0) out += ", ";
    out += std::to_string(dims[i]);
  }
  out += ']';
  return out;
}

template <class Specs>
std::string names(const Specs& specs) {
  constexpr std::size_t kShown = 8;
  std::string out;
  for (std::size_t i = 0; i < specs.size() && i < kShown; ++i) {
    if (i != 0) out += ", ";
    out += quoted(specs[i].name);
  }
  return out;
}

Refusal refuse(SchemaFault fault, std::string_view tensor, std::string message) {
  return {{Code::kInvalidArgument, std::move(message)}, fault, tensor};
}

bool shape_fits(std::span<const std::int64_t> got, const Shape& expected) {
  if (got.size() != expected.rank()) return false;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (expected[i] >= 0 && expected[i] != got[i]) return false;
  }
  return true;
}

}  // namespace

Refusal fit(Request& request, const Model& model, bool sealing) {
  wire::InferRequest& infer = request.infer;
  const auto specs = model.session()->inputs();
  const std::string_view name = model.config().name;
  if (infer.confidence) {
    if (const std::string_view reason = no_confidence(model.config()); !reason.empty()) {
      return refuse(SchemaFault::none, {},
                    "parameter 'kedge_confidence' is not available for model " + quoted(name) + ": " +
                        std::string(reason));
    }
  }
  request.inputs.assign(specs.size(), nullptr);
  for (const wire::InputView& input : infer.inputs) {
    const std::size_t index = model.session()->input_index(input.name);
    const auto where = [&] { return wire::where(input, infer); };
    if (index == specs.size()) {
      return refuse(SchemaFault::unknown, input.name,
                    "unknown input " + quoted(input.name) + " for model " + quoted(name) + ". Expected " +
                        names(specs));
    }
    const TensorSpec& spec = specs[index];
    const auto expected = static_cast<wire::DType>(spec.type);
    if (input.dtype != expected) {
      return refuse(SchemaFault::mistyped, spec.name,
                    "datatype mismatch " + where() + ". Expected " + std::string(wire::info(expected).name) +
                        ", got " + quoted(input.datatype));
    }
    if (!shape_fits(input.shape.dims(), spec.shape)) {
      return refuse(SchemaFault::misshaped, spec.name,
                    "shape mismatch " + where() + ". Expected " + text(spec.shape.dims()) + ", got " +
                        text(input.shape.dims()));
    }
    request.inputs[index] = &input;
  }
  if (Status data = wire::check_data(infer); !data.ok()) return {std::move(data), SchemaFault::none, {}};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (request.inputs[i] != nullptr) continue;
    return refuse(SchemaFault::missing, specs[i].name,
                  "missing input " + quoted(specs[i].name) + " for model " + quoted(name) + ". Expected " +
                      std::to_string(specs.size()) + " inputs, got " + std::to_string(infer.inputs.size()));
  }

  request.rows = specs.empty() || specs[0].shape.rank() == 0 ? 1 : request.inputs[0]->shape.values[0];
  if (model.config().batchable) {
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const std::int64_t rows = request.inputs[i]->shape.values[0];
      if (rows == request.rows) continue;
      return refuse(SchemaFault::misshaped, specs[i].name,
                    "batch size mismatch for input " + quoted(specs[i].name) + " for model " + quoted(name) +
                        ". Expected " + std::to_string(request.rows) + ", got " + std::to_string(rows));
    }
  }
  if (request.rows > kMaxRows) {
    return refuse(SchemaFault::none, {},
                  std::to_string(request.rows) + " rows for model " + quoted(name) + "; at most " +
                      std::to_string(kMaxRows) + " are taken in one request");
  }

  request.outputs.clear();
  for (const wire::OutputRequest& asked : infer.outputs) {
    if (asked.name == kPredictionIds) {
      if (!sealing || !model.config().outcomes) {
        return refuse(SchemaFault::none, {},
                      "output 'kedge.prediction_id' is not available for model " + quoted(name) + ": " +
                          (sealing ? "its bundle collects no outcomes" : "this server seals no predictions"));
      }
      request.outputs.push_back(kPredictionIdsIndex);
      continue;
    }
    const std::size_t index = model.output_index(asked.name);
    if (index == model.session()->outputs().size()) {
      return refuse(SchemaFault::none, {},
                    "unknown output " + quoted(asked.name) + " for model " + quoted(name) + ". Expected " +
                        names(model.session()->outputs()));
    }
    request.outputs.push_back(index);
  }
  return {};
}

}  // namespace kedge::engine
