// Reads golden/*.txt, made by make_golden.py: lines of tab-separated fields, bytes in hex, `-` for none.
#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "wire/bytes.hpp"

namespace kedge::wire::test {

inline std::vector<std::vector<std::string>> golden(const std::string& name) {
  std::ifstream file(std::string(KEDGE_GOLDEN_DIR) + "/" + name);
  REQUIRE(file.good());
  std::vector<std::vector<std::string>> lines;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, '\t');) fields.push_back(field);
    lines.push_back(fields);
  }
  REQUIRE_FALSE(lines.empty());
  return lines;
}

inline std::string unhex(const std::string& text) {
  std::string bytes;
  if (text == "-") return bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

}  // namespace kedge::wire::test
