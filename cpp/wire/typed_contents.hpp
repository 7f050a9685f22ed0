// InferTensorContents written from an output's elements.
#pragma once

#include "wire/infer_response.hpp"
#include "wire/proto_writer.hpp"

namespace kedge::wire {

// Element `index` of a BYTES output.
inline Bytes string_element(const OutputView& output, std::size_t index) {
  const std::size_t begin = output.offsets[index];
  const std::size_t end = index + 1 < output.offsets.size() ? output.offsets[index + 1] : output.data.size();
  return output.data.subspan(begin, end - begin);
}

// Bytes the message takes. The output's type must have a typed form.
std::size_t typed_contents_size(const OutputView& output);
void write_typed_contents(ProtoWriter& writer, const OutputView& output);

}  // namespace kedge::wire
