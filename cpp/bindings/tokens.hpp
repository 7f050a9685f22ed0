// Prediction ids, read in bulk.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

#include "wire/token.hpp"

namespace kedge::bindings {

// Throws std::invalid_argument unless the secret has 16 bytes.
wire::TokenKey token_key(std::uint8_t id, const std::string& secret);

// What each text says, one after another in the form of kedge.plane.token.COLUMNS. The GIL is released while
// they are read. Throws std::invalid_argument for a secret of another length than 16.
pybind11::bytes unseal_tokens(const pybind11::list& texts,
                              const std::vector<std::pair<std::uint8_t, pybind11::bytes>>& keys);

}  // namespace kedge::bindings
