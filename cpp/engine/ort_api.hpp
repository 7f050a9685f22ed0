// The part of ONNX Runtime's C ABI that Kedge calls, declared by slot.
//
// The wheel ships the library without headers. `OrtApi` is a table of function pointers that is append-only
// by promise (static_asserts in onnxruntime/core/session/onnxruntime_c_api.cc hold the sizes of every
// released version), so a slot number is as stable as a name. Each line below gives the slot, the name and
// the type as in include/onnxruntime/core/session/onnxruntime_c_api.h; the slot is the member's position in
// `struct OrtApi`. Anchors from those static_asserts: ReleaseCustomOpDomain 101 (version 1),
// ReleaseModelMetadata 118 (2), AddFreeDimensionOverrideByName 124 (3), ReleaseAvailableProviders 126 (4),
// SetGlobalSpinControl 149 (5), ReleaseArenaCfg 157 (6), GetCurrentGpuDeviceId 161 (7), ReleaseKernelInfo 218
// (12), GetBuildInfoString 254 (15). tests/cpp/engine/ort_api_test.cpp calls every one of them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kedge::ort {

struct Env;
struct Status;  // a null Status* is success
struct MemoryInfo;
struct Session;
struct Value;
struct RunOptions;
struct TypeInfo;
struct TensorInfo;  // OrtTensorTypeAndShapeInfo
struct SessionOptions;
struct ThreadingOptions;
struct CudaOptions;  // OrtCUDAProviderOptionsV2
struct Allocator;

// enum ONNXTensorElementDataType
enum class Element : int {
  undefined = 0,
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  string = 8,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint32 = 12,
  uint64 = 13,
  bfloat16 = 16,
};

enum class Severity : int { verbose, info, warning, error, fatal };             // enum OrtLoggingLevel
enum class Optimization : int { none = 0, basic = 1, extended = 2, all = 99 };  // enum GraphOptimizationLevel
enum class Kind : int { unknown = 0, tensor = 1 };                              // enum ONNXType
enum class AllocatorKind : int { device = 0, arena = 1 };                       // enum OrtAllocatorType
enum class MemoryKind : int { standard = 0 };                                   // enum OrtMemType

// OrtLoggingFunction
using LogFunction = void (*)(void* param, Severity severity, const char* category, const char* logid,
                             const char* code_location, const char* message);

// The lowest version whose table holds every slot below (GetResizedStringTensorElementBuffer came with 15).
inline constexpr std::uint32_t kApiVersion = 15;

// X(slot, name, return type, parameters)
#define KEDGE_ORT_FUNCTIONS(X)                                                                               \
  X(1, GetErrorCode, int, (const Status*))                                                                   \
  X(2, GetErrorMessage, const char*, (const Status*))                                                        \
  X(6, DisableTelemetryEvents, Status*, (const Env*))                                                        \
  X(7, CreateSession, Status*, (const Env*, const char* path, const SessionOptions*, Session**))             \
  X(8, CreateSessionFromArray, Status*,                                                                      \
    (const Env*, const void* model, std::size_t bytes, const SessionOptions*, Session**))                    \
  X(9, Run, Status*,                                                                                         \
    (Session*, const RunOptions*, const char* const* input_names, const Value* const* inputs,                \
     std::size_t input_count, const char* const* output_names, std::size_t output_count, Value** outputs))   \
  X(10, CreateSessionOptions, Status*, (SessionOptions**))                                                   \
  X(17, DisableMemPattern, Status*, (SessionOptions*))                                                       \
  X(19, DisableCpuMemArena, Status*, (SessionOptions*))                                                      \
  X(23, SetSessionGraphOptimizationLevel, Status*, (SessionOptions*, Optimization))                          \
  X(24, SetIntraOpNumThreads, Status*, (SessionOptions*, int))                                               \
  X(25, SetInterOpNumThreads, Status*, (SessionOptions*, int))                                               \
  X(30, SessionGetInputCount, Status*, (const Session*, std::size_t*))                                       \
  X(31, SessionGetOutputCount, Status*, (const Session*, std::size_t*))                                      \
  X(33, SessionGetInputTypeInfo, Status*, (const Session*, std::size_t index, TypeInfo**))                   \
  X(34, SessionGetOutputTypeInfo, Status*, (const Session*, std::size_t index, TypeInfo**))                  \
  X(36, SessionGetInputName, Status*, (const Session*, std::size_t index, Allocator*, char**))               \
  X(37, SessionGetOutputName, Status*, (const Session*, std::size_t index, Allocator*, char**))              \
  X(39, CreateRunOptions, Status*, (RunOptions**))                                                           \
  X(41, RunOptionsSetRunLogSeverityLevel, Status*, (RunOptions*, int))                                       \
  X(48, CreateTensorAsOrtValue, Status*,                                                                     \
    (Allocator*, const std::int64_t* shape, std::size_t rank, Element, Value**))                             \
  X(49, CreateTensorWithDataAsOrtValue, Status*,                                                             \
    (const MemoryInfo*, void* data, std::size_t bytes, const std::int64_t* shape, std::size_t rank, Element, \
     Value**))                                                                                               \
  X(50, IsTensor, Status*, (const Value*, int*))                                                             \
  X(51, GetTensorMutableData, Status*, (Value*, void**))                                                     \
  X(53, GetStringTensorDataLength, Status*, (const Value*, std::size_t* bytes))                              \
  X(54, GetStringTensorContent, Status*,                                                                     \
    (const Value*, void* text, std::size_t bytes, std::size_t* offsets, std::size_t count))                  \
  X(55, CastTypeInfoToTensorInfo, Status*, (const TypeInfo*, const TensorInfo**))                            \
  X(56, GetOnnxTypeFromTypeInfo, Status*, (const TypeInfo*, Kind*))                                          \
  X(60, GetTensorElementType, Status*, (const TensorInfo*, Element*))                                        \
  X(61, GetDimensionsCount, Status*, (const TensorInfo*, std::size_t*))                                      \
  X(62, GetDimensions, Status*, (const TensorInfo*, std::int64_t*, std::size_t count))                       \
  X(64, GetTensorShapeElementCount, Status*, (const TensorInfo*, std::size_t*))                              \
  X(65, GetTensorTypeAndShape, Status*, (const Value*, TensorInfo**))                                        \
  X(69, CreateCpuMemoryInfo, Status*, (AllocatorKind, MemoryKind, MemoryInfo**))                             \
  X(76, AllocatorFree, Status*, (Allocator*, void*))                                                         \
  X(78, GetAllocatorWithDefaultOptions, Status*, (Allocator**))                                              \
  X(92, ReleaseEnv, void, (Env*))                                                                            \
  X(93, ReleaseStatus, void, (Status*))                                                                      \
  X(94, ReleaseMemoryInfo, void, (MemoryInfo*))                                                              \
  X(95, ReleaseSession, void, (Session*))                                                                    \
  X(96, ReleaseValue, void, (Value*))                                                                        \
  X(97, ReleaseRunOptions, void, (RunOptions*))                                                              \
  X(98, ReleaseTypeInfo, void, (TypeInfo*))                                                                  \
  X(99, ReleaseTensorTypeAndShapeInfo, void, (TensorInfo*))                                                  \
  X(100, ReleaseSessionOptions, void, (SessionOptions*))                                                     \
  X(120, DisablePerSessionThreads, Status*, (SessionOptions*))                                               \
  X(121, CreateThreadingOptions, Status*, (ThreadingOptions**))                                              \
  X(122, ReleaseThreadingOptions, void, (ThreadingOptions*))                                                 \
  X(125, GetAvailableProviders, Status*, (char*** names, int* count))                                        \
  X(126, ReleaseAvailableProviders, Status*, (char** names, int count))                                      \
  X(130, AddSessionConfigEntry, Status*, (SessionOptions*, const char* key, const char* value))              \
  X(147, SetGlobalIntraOpNumThreads, Status*, (ThreadingOptions*, int))                                      \
  X(148, SetGlobalInterOpNumThreads, Status*, (ThreadingOptions*, int))                                      \
  X(149, SetGlobalSpinControl, Status*, (ThreadingOptions*, int allow))                                      \
  X(151, CreateEnvWithCustomLoggerAndGlobalThreadPools, Status*,                                             \
    (LogFunction, void* param, Severity, const char* logid, const ThreadingOptions*, Env**))                 \
  X(204, SessionOptionsAppendExecutionProvider_CUDA_V2, Status*, (SessionOptions*, const CudaOptions*))      \
  X(205, CreateCUDAProviderOptions, Status*, (CudaOptions**))                                                \
  X(208, ReleaseCUDAProviderOptions, void, (CudaOptions*))                                                   \
  X(216, SessionOptionsAppendExecutionProvider, Status*,                                                     \
    (SessionOptions*, const char* name, const char* const* keys, const char* const* values,                  \
     std::size_t count))                                                                                     \
  X(252, GetResizedStringTensorElementBuffer, Status*,                                                       \
    (Value*, std::size_t index, std::size_t bytes, char** buffer))

// Every function above, as typed pointers under their own names.
struct Api {
#define KEDGE_ORT_MEMBER(slot, name, result, parameters) result(*name) parameters;
  KEDGE_ORT_FUNCTIONS(KEDGE_ORT_MEMBER)
#undef KEDGE_ORT_MEMBER
};

// struct OrtApiBase: the two functions that are found by name, through the exported OrtGetApiBase().
struct ApiBase {
  const void* (*GetApi)(std::uint32_t version);
  const char* (*GetVersionString)();
};

}  // namespace kedge::ort
