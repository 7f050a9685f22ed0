// An input's elements as raw bytes, read the way the engine reads them.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "wire/infer_request.hpp"

namespace kedge::wire::test {

inline std::string elements(const InputView& input) {
  if (input.dtype != DType::bytes) {
    std::string out(input.byte_size(), '\0');
    if (!out.empty()) copy_elements(input, reinterpret_cast<std::uint8_t*>(out.data()));
    return out;
  }
  std::vector<std::string_view> views(static_cast<std::size_t>(input.elements));
  bytes_elements(input, views.data());
  std::string out;
  for (const std::string_view view : views) {
    const auto size = static_cast<std::uint32_t>(view.size());
    out.append(reinterpret_cast<const char*>(&size), sizeof size);
    out += view;
  }
  return out;
}

}  // namespace kedge::wire::test
