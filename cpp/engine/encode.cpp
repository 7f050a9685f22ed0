#include "engine/encode.hpp"

#include <algorithm>
#include <array>
#include <limits>

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

void Encoder::start(const Target& target, Lane& lane, std::int64_t rows) {
  target_ = &target;
  lane_ = &lane;
  rows_ = rows;
  sealing_ = sealer_.start(target);
  if (sealing_) target.model->slices().read(lane.inputs(), static_cast<std::size_t>(rows), sliced_);
  forget_large();
  head_ = &heads_.get(
      [&] {
        const ModelConfig& config = target.model->config();
        const wire::ResponseParameter parameters[] = {{"kedge_bundle", std::string_view(config.bundle)},
                                                      {"kedge_arm", arm_name(target.arm)}};
        return Head{target.id, wire::encode_head(config.name, config.version, parameters)};
      },
      target);
}

// One request of a million rows must not hold its memory in every thread for ever.
void Encoder::forget_large() {
  constexpr std::size_t kKept = std::size_t{1} << 20U;
  if (ids_.capacity() > kKept) {
    std::string().swap(ids_);
    std::vector<std::size_t>().swap(id_starts_);
  }
  if (confidence_.bytes() > kKept) confidence_ = {};
}

void Encoder::answer(Request& request, std::int64_t first) {
  const auto specs = target_->model->session()->outputs();
  const auto outputs = lane_->outputs();
  const auto first_row = static_cast<std::size_t>(first);
  const bool everything = request.outputs.empty();
  const std::size_t count = everything ? specs.size() : request.outputs.size();
  if (shapes_.size() < count) shapes_.resize(count);
  views_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t index = everything ? i : request.outputs[i];
    views_.push_back(index == kPredictionIdsIndex
                         ? ids(request, first_row, shapes_[i])
                         : slice(specs[index], outputs[index], shapes_[i], first, request.rows, rows_));
  }
  if (request.infer.confidence && !add_confidence(request, first_row)) return;
  if (!sealing_ || request.rows != 1) return encode(request, {});
  if (std::find(request.outputs.begin(), request.outputs.end(), kPredictionIdsIndex) != request.outputs.end())
    return encode(request, ids_);
  const wire::TokenText id = seal(request.key_bits, first_row);
  encode(request, id.view());
}

// What a token keeps of a row: the class and its first probabilities, or the value and its interval.
wire::Predicted Encoder::predicted(std::size_t row) {
  const Predictions::View& found = seen();
  if (found.classes != nullptr) {
    constexpr std::int64_t kMost = std::numeric_limits<std::uint16_t>::max();
    const auto id = sketch::load<std::int64_t>(found.classes->at(row, 0));
    wire::PredictedClass kept;
    kept.label = static_cast<std::uint16_t>(id < 0 || id > kMost ? kMost : id);
    if (found.scores == nullptr) return kept;
    kept.count = static_cast<std::uint8_t>(std::min(found.scores->columns, kept.probabilities.size()));
    for (std::size_t c = 0; c < kept.count; ++c)
      kept.probabilities[c] = wire::quantize_probability(number_in(*found.scores, row, c));
    return kept;
  }
  if (found.scores == nullptr) return {};
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  wire::PredictedValue kept{number_in(*found.scores, row, 0), kNone, kNone};
  const Model& model = *target_->model;
  if (model.config().calibration.has_value()) {
    const Intervals intervals(model, *found.scores, lane_->outputs());
    if (intervals.readable()) {
      const Interval interval = intervals.at(row);
      kept.lower = interval.lower;
      kept.upper = interval.upper;
    }
  }
  return kept;
}

wire::OutputView Encoder::ids(const Request& request, std::size_t first, Shape& shape) {
  ids_.clear();
  id_starts_.clear();
  // The rows of a request are one unit of a split: without a key they share bits of their own.
  const bool own = request.key_bits == 0 && request.rows > 1;
  const std::uint32_t bits = own ? request.row_bits : request.key_bits;
  for (std::size_t row = 0; row < static_cast<std::size_t>(request.rows); ++row) {
    id_starts_.push_back(ids_.size());
    ids_ += seal(bits, first + row).view();
  }
  shape.resize(1);
  shape[0] = request.rows;
  return {kPredictionIds, wire::DType::bytes, shape.dims(), wire::as_bytes(ids_), id_starts_};
}

// False: the request was answered with what is wrong.
bool Encoder::add_confidence(Request& request, std::size_t first) {
  const Model& model = *target_->model;
  const auto added =
      confidence_.compute(model, seen(), lane_->outputs(), first, static_cast<std::size_t>(request.rows));
  if (added.empty()) {
    request.answer.code = Code::kInternal;
    request.answer.message = "model '" + model.config().name + "' version '" + model.config().version +
                             "' gave no prediction as its bundle describes it";
    return false;
  }
  views_.insert(views_.end(), added.begin(), added.end());
  return true;
}

void Encoder::encode(Request& request, std::string_view id) {
  std::array<wire::ResponseParameter, 2> own;
  std::size_t said = 0;
  if (!id.empty()) own[said++] = {"kedge_prediction_id", id};
  if (request.infer.final_response) own[said++] = {"triton_final_response", true};
  const wire::InferResponse response{
      {}, {}, request.infer.id, {own.data(), said}, views_, request.infer.raw(), head_->fields.view()};
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
