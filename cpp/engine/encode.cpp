#include "engine/encode.hpp"

#include <array>

#include "wire/infer_response.hpp"

namespace kedge::engine {
namespace {

// The rows [first, first + rows) of an output of `all` rows.
wire::OutputView slice(const TensorSpec& spec, const TensorView& output, Shape& shape, std::int64_t first,
                       std::int64_t rows, std::int64_t all) {
  shape = output.shape;
  wire::OutputView view{spec.name, static_cast<wire::DType>(output.type), shape.dims(), output.bytes,
                        output.offsets};
  if (rows == all) return view;
  shape[0] = rows;
  const auto from = static_cast<std::size_t>(first);
  const auto count = static_cast<std::size_t>(rows);
  const auto total = static_cast<std::size_t>(all);
  if (output.type == ort::Element::string) {
    const std::size_t per_row = output.offsets.size() / total;
    const std::size_t end = (from + count) * per_row;
    view.offsets = output.offsets.subspan(from * per_row, count * per_row);
    view.data = output.bytes.first(end < output.offsets.size() ? output.offsets[end] : output.bytes.size());
  } else {
    const std::size_t row_bytes = output.bytes.size() / total;
    view.data = output.bytes.subspan(from * row_bytes, count * row_bytes);
  }
  return view;
}

}  // namespace

void encode_answer(Request& request, const Target& target, std::span<const TensorView> outputs,
                   std::int64_t first, std::int64_t batch_rows) {
  constexpr std::size_t kUsual = 8;  // outputs described without an allocation
  const Model& model = *target.model;
  const ModelConfig& config = model.config();
  const auto specs = model.session()->outputs();
  const std::int64_t all = config.batchable ? batch_rows : request.rows;
  const std::int64_t start = config.batchable ? first : 0;

  const bool everything = request.outputs.empty();
  const std::size_t count = everything ? specs.size() : request.outputs.size();
  std::array<Shape, kUsual> few_shapes;
  std::array<wire::OutputView, kUsual> few_views;
  std::vector<Shape> many_shapes(count > kUsual ? count : 0);
  std::vector<wire::OutputView> many_views(count > kUsual ? count : 0);
  const std::span<Shape> shapes =
      count > kUsual ? std::span<Shape>(many_shapes) : std::span<Shape>(few_shapes);
  const std::span<wire::OutputView> views =
      count > kUsual ? std::span<wire::OutputView>(many_views) : std::span<wire::OutputView>(few_views);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t index = everything ? i : request.outputs[i];
    views[i] = slice(specs[index], outputs[index], shapes[i], start, request.rows, all);
  }

  const wire::ResponseParameter parameters[] = {{"kedge_bundle", std::string_view(config.bundle)},
                                                {"kedge_arm", arm_name(target.arm)},
                                                {"triton_final_response", true}};
  const std::span<const wire::ResponseParameter> said = parameters;
  const wire::InferResponse response{config.name,        config.version,
                                     request.infer.id,   said.first(request.infer.final_response ? 3 : 2),
                                     views.first(count), request.infer.raw()};
  auto framed =
      wire::encode(response, request.stream != nullptr ? wire::Framing::stream : wire::Framing::unary);
  if (framed.ok()) {
    request.answer.code = Code::kOk;
    request.answer.framed = std::move(framed).value();
  } else {
    request.answer.code = framed.status().code();
    request.answer.message = framed.status().message();
  }
}

}  // namespace kedge::engine
