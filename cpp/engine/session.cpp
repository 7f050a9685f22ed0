#include "engine/session.hpp"

#include <algorithm>

#include "engine/ort_owned.hpp"
#include "wire/dtype.hpp"

namespace kedge::engine {
namespace {

constexpr const char* kCpu = "CPUExecutionProvider";

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

// What ONNX calls an element type.
std::string_view onnx_name(ort::Element type) {
  constexpr std::string_view names[] = {"undefined", "float",  "uint8",     "int8",       "uint16",  "int16",
                                        "int32",     "int64",  "string",    "bool",       "float16", "double",
                                        "uint32",    "uint64", "complex64", "complex128", "bfloat16"};
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(names) ? names[index] : names[0];
}

std::vector<std::string> names_of(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.name);
  return names;
}

// The tensors of the model in the order, and with the shapes, that the bundle states.
std::vector<TensorSpec> agreed(const char* what, const std::vector<TensorSpec>& stated,
                               std::vector<TensorSpec> found) {
  if (stated.empty()) return found;
  for (const TensorSpec& spec : stated) {
    const auto same =
        std::find_if(found.begin(), found.end(), [&](const auto& other) { return other.name == spec.name; });
    if (stated.size() != found.size() || same == found.end()) {
      throw LoadError("the bundle states " + std::string(what) + "s " + joined(names_of(stated)) +
                      ", the model has " + joined(names_of(found)));
    }
    if (same->type != spec.type) {
      throw LoadError(std::string(what) + " '" + spec.name + "' is tensor(" +
                      std::string(onnx_name(same->type)) + ") in the model, " +
                      std::string(wire::info(static_cast<wire::DType>(spec.type)).name) + " in the bundle");
    }
  }
  return stated;
}

}  // namespace

Session::Session(const Runtime& runtime, const SessionOptions& options)
    : runtime_(runtime), api_(runtime.api()) {
  ort::Owned<ort::SessionOptions> made(api_.ReleaseSessionOptions);
  runtime_.check(api_.CreateSessionOptions(&made.value), "session options");
  runtime_.check(api_.SetSessionGraphOptimizationLevel(made.value, ort::Optimization::all),
                 "session options");
  // A shared arena costs a lock a run, and a pattern of memory is kept for every batch size seen.
  runtime_.check(api_.DisableCpuMemArena(made.value), "session options");
  runtime_.check(api_.DisableMemPattern(made.value), "session options");
  runtime_.check(api_.SetInterOpNumThreads(made.value, 1), "session options");
  if (options.intra_op_threads > 1) {
    // Threads of a session's own pool inherit the priority of the loader thread; the global pool was made at
    // start.
    runtime_.check(api_.DisablePerSessionThreads(made.value), "session options");
  } else {
    runtime_.check(api_.SetIntraOpNumThreads(made.value, 1), "session options");
  }
  runtime_.check(api_.AddSessionConfigEntry(made.value, "session.intra_op.allow_spinning", "0"),
                 "session options");
  for (const std::string& name : options.providers) add_provider(made.value, name);
  runtime_.check(api_.CreateSession(runtime_.env(), options.path.c_str(), made.value, &session_), "model");

  try {
    std::size_t count = 0;
    runtime_.check(api_.SessionGetInputCount(session_, &count), "model inputs");
    for (std::size_t i = 0; i < count; ++i) inputs_.push_back(describe(i, true));
    runtime_.check(api_.SessionGetOutputCount(session_, &count), "model outputs");
    for (std::size_t i = 0; i < count; ++i) outputs_.push_back(describe(i, false));
    inputs_ = agreed("input", options.inputs, std::move(inputs_));
    outputs_ = agreed("output", options.outputs, std::move(outputs_));
  } catch (...) {
    api_.ReleaseSession(session_);
    throw;
  }
  for (const TensorSpec& spec : inputs_) input_names_.push_back(spec.name.c_str());
  for (const TensorSpec& spec : outputs_) output_names_.push_back(spec.name.c_str());
}

Session::~Session() { api_.ReleaseSession(session_); }

void Session::add_provider(ort::SessionOptions* options, const std::string& name) const {
  if (name == kCpu) return;  // always there, and last
  const std::vector<std::string> available = runtime_.providers();
  if (std::find(available.begin(), available.end(), name) == available.end()) {
    throw LoadError("the bundle asks for execution provider '" + name + "'; the installed onnxruntime has " +
                    joined(available));
  }
  if (name == "CUDAExecutionProvider") {
    ort::Owned<ort::CudaOptions> cuda(api_.ReleaseCUDAProviderOptions);
    runtime_.check(api_.CreateCUDAProviderOptions(&cuda.value), name.c_str());
    runtime_.check(api_.SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda.value), name.c_str());
    return;
  }
  constexpr std::string_view kSuffix = "ExecutionProvider";
  std::string_view brief = name;
  if (brief.ends_with(kSuffix)) brief.remove_suffix(kSuffix.size());
  runtime_.check(
      api_.SessionOptionsAppendExecutionProvider(options, std::string(brief).c_str(), nullptr, nullptr, 0),
      name.c_str());
}

TensorSpec Session::describe(std::size_t index, bool input) const {
  TensorSpec spec;
  char* name = nullptr;
  runtime_.check((input ? api_.SessionGetInputName : api_.SessionGetOutputName)(session_, index,
                                                                                runtime_.allocator(), &name),
                 "tensor name");
  spec.name = name;
  runtime_.check(api_.AllocatorFree(runtime_.allocator(), name), "tensor name");

  ort::Owned<ort::TypeInfo> type(api_.ReleaseTypeInfo);
  runtime_.check(
      (input ? api_.SessionGetInputTypeInfo : api_.SessionGetOutputTypeInfo)(session_, index, &type.value),
      "tensor type");
  ort::Kind kind = ort::Kind::unknown;
  runtime_.check(api_.GetOnnxTypeFromTypeInfo(type.value, &kind), "tensor type");
  if (kind != ort::Kind::tensor) {
    throw LoadError("model " + std::string(input ? "input '" : "output '") + spec.name +
                    "' is not a tensor; export the model without ZipMap or sequence outputs");
  }
  const ort::TensorInfo* info = nullptr;
  runtime_.check(api_.CastTypeInfoToTensorInfo(type.value, &info), "tensor type");
  runtime_.check(api_.GetTensorElementType(info, &spec.type), "tensor type");
  std::size_t rank = 0;
  runtime_.check(api_.GetDimensionsCount(info, &rank), "tensor shape");
  if (rank > kMaxRank) {
    throw LoadError("tensor '" + spec.name + "' has " + std::to_string(rank) + " dimensions; at most " +
                    std::to_string(kMaxRank) + " are served");
  }
  std::vector<std::int64_t> dims(rank);
  runtime_.check(api_.GetDimensions(info, dims.data(), rank), "tensor shape");
  for (std::int64_t& dim : dims) dim = dim < 0 ? -1 : dim;
  spec.shape = Shape(dims);
  return spec;
}

std::size_t Session::input_index(std::string_view name) const {
  std::size_t index = 0;
  while (index < inputs_.size() && inputs_[index].name != name) ++index;
  return index;
}

}  // namespace kedge::engine
