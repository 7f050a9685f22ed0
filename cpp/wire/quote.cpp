#include "wire/quote.hpp"

#include <cstdint>

#include "base/limits.hpp"

namespace kedge::wire {

std::string quoted(std::string_view text) {
  // Line and paragraph separator end a line for some readers, as U+000A does.
  constexpr std::string_view line_separator = "\u2028";
  constexpr std::string_view paragraph_separator = "\u2029";
  std::string result = "'";
  std::size_t chars = 0;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t size = 1;
    while (i + size < text.size() && (static_cast<std::uint8_t>(text[i + size]) & 0xC0) == 0x80) ++size;
    if (chars++ == limits::max_quoted_chars) {
      result += "...";
      break;
    }
    const std::string_view one = text.substr(i, size);
    const bool control = static_cast<std::uint8_t>(one[0]) < 0x20 || one[0] == 0x7F;
    if (control || one == line_separator || one == paragraph_separator) {
      result += '?';
    } else {
      result += one;
    }
    i += size;
  }
  result += '\'';
  return result;
}

}  // namespace kedge::wire
