// Prediction ids, read in bulk and made by rows, and the hash they are sealed with.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
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

// Seals what one writer predicts for one bundle, epoch and start: kedge.plane.portable.sealer.RowSealer.
class RowSealer {
 public:
  // Throws std::invalid_argument unless the secret has 16 bytes and the bundle's prefix 8.
  RowSealer(std::uint8_t key, const std::string& secret, const std::string& bundle, std::uint32_t epoch,
            std::uint64_t boot, std::uint16_t shard);

  // The ids of `rows` rows, numbered from `sequence`. `slices` is None or a sequence of ids; `classes` None
  // or [N] integers; `scores` None, [N] or [N, C] numbers; `lower` and `upper` None or [N] numbers. With
  // classes the scores are probabilities, without them values. Throws std::invalid_argument where one of them
  // has not `rows` rows.
  pybind11::list seal(std::uint64_t sequence, std::uint32_t seconds, std::uint8_t arm, std::uint32_t key_bits,
                      std::size_t rows, const pybind11::object& slices, const pybind11::object& classes,
                      const pybind11::object& scores, const pybind11::object& lower,
                      const pybind11::object& upper) const;

 private:
  wire::TokenSealer sealer_;
};

// SipHash-2-4 of a message under a key of 16 bytes. Throws std::invalid_argument for one of another length.
std::uint64_t siphash24(const std::string& key, const pybind11::bytes& message);

}  // namespace kedge::bindings
