// Requests as bytes, for tests: protobuf written by hand, so that the codec under test is not its own
// witness.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace kedge::test {

inline void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

inline void put_bytes(std::string& out, int field, const std::string& bytes) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

// A ModelInferRequest with one raw input of shape [rows, columns], or [rows] where columns is 0.
inline std::string infer_message(const std::string& model, const std::string& input,
                                 const std::string& datatype, std::uint64_t rows, std::uint64_t columns,
                                 const std::string& raw) {
  std::string shape;
  put_varint(shape, rows);
  if (columns != 0) put_varint(shape, columns);
  std::string tensor;
  put_bytes(tensor, 1, input);
  put_bytes(tensor, 2, datatype);
  put_bytes(tensor, 3, shape);
  std::string message;
  put_bytes(message, 1, model);
  put_bytes(message, 5, tensor);
  put_bytes(message, 7, raw);
  return message;
}

// With gRPC's five bytes before it.
inline std::string framed(const std::string& message) {
  const auto size = static_cast<std::uint32_t>(message.size());
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  return out + message;
}

template <class T>
std::string raw_of(const std::vector<T>& values) {
  std::string raw(values.size() * sizeof(T), '\0');
  std::memcpy(raw.data(), values.data(), raw.size());
  return raw;
}

}  // namespace kedge::test
