// Tensor element types of the Open Inference Protocol: one table of names, sizes, ONNX numbers and
// typed-contents fields. The Python twin is kedge/dtypes.py.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kedge::wire {

// Values are ONNX TensorProto.DataType numbers, which ONNXTensorElementDataType shares.
enum class DType : std::uint8_t {
  unknown = 0,
  fp32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  bytes = 8,
  boolean = 9,
  fp16 = 10,
  fp64 = 11,
  uint32 = 12,
  uint64 = 13,
  bf16 = 16,
};

struct DTypeInfo {
  std::string_view name;      // on the wire, such as FP32; empty for numbers that are no type
  std::uint8_t size = 0;      // bytes an element in raw form; 0 for BYTES, whose elements carry their length
  std::uint8_t contents = 0;  // field number in InferTensorContents; 0 where only raw form exists
};

inline constexpr std::array<DTypeInfo, 17> dtype_table = {{
    {},
    {"FP32", 4, 6},
    {"UINT8", 1, 4},
    {"INT8", 1, 2},
    {"UINT16", 2, 4},
    {"INT16", 2, 2},
    {"INT32", 4, 2},
    {"INT64", 8, 3},
    {"BYTES", 0, 8},
    {"BOOL", 1, 1},
    {"FP16", 2, 0},
    {"FP64", 8, 7},
    {"UINT32", 4, 4},
    {"UINT64", 8, 5},
    {},
    {},
    {"BF16", 2, 0},
}};

constexpr const DTypeInfo& info(DType dtype) { return dtype_table[static_cast<std::size_t>(dtype)]; }

// The type with this wire name; none if unknown.
constexpr std::optional<DType> dtype_named(std::string_view name) {
  if (name == "FP32") return DType::fp32;
  for (std::size_t number = 0; number < dtype_table.size(); ++number) {
    if (!name.empty() && dtype_table[number].name == name) return static_cast<DType>(number);
  }
  return std::nullopt;
}

}  // namespace kedge::wire
