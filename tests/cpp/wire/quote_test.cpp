#include "wire/quote.hpp"

#include <doctest/doctest.h>

using kedge::wire::quoted;

TEST_CASE("names are quoted on one line and cut where they are too long") {
  CHECK(quoted("X") == "'X'");
  CHECK(quoted("a\nb\x7F") == "'a?b?'");
  CHECK(quoted("a\u2028\u2029b") == "'a??b'");
  CHECK(quoted(std::string(128, 'x')) == "'" + std::string(128, 'x') + "'");
  CHECK(quoted(std::string(129, 'x')) == "'" + std::string(128, 'x') + "...'");
  std::string accents;
  for (int i = 0; i < 130; ++i) accents += "\xC3\xA9";
  CHECK(quoted(accents) == "'" + accents.substr(0, 256) + "...'");
}
