// A client's own words inside error messages.
#pragma once

#include <string>
#include <string_view>

namespace kedge::wire {

// `text` in single quotes, control characters as `?`, cut after `limits::max_quoted_chars` characters. `text`
// is UTF-8; the Python twin is kedge.plane.text.quoted.
std::string quoted(std::string_view text);

}  // namespace kedge::wire
