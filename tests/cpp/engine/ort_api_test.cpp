// Calls every declared slot of the C interface: a wrong number is a crash or a wrong answer here, not in
// production.
#include <cstring>
#include <set>
#include <vector>

#include "engine/environment.hpp"
#include "engine/ort_owned.hpp"

using namespace kedge;  // NOLINT: a test

namespace {

const ort::Api* api = nullptr;
std::set<std::string> called;

#define CALL(name) (called.insert(#name), api->name)

void ok(ort::Status* status) {
  if (status != nullptr) std::fprintf(stderr, "%s\n", CALL(GetErrorMessage)(status));
  CHECK(status == nullptr);
}

int messages = 0;
void count_message(void*, ort::Severity, const char*, const char*, const char*, const char*) { ++messages; }

ort::Env* environment() {
  ort::ThreadingOptions* threading = nullptr;
  ok(CALL(CreateThreadingOptions)(&threading));
  ok(CALL(SetGlobalIntraOpNumThreads)(threading, 2));
  ok(CALL(SetGlobalInterOpNumThreads)(threading, 1));
  ok(CALL(SetGlobalSpinControl)(threading, 0));
  ort::Env* env = nullptr;
  ok(CALL(CreateEnvWithCustomLoggerAndGlobalThreadPools)(count_message, nullptr, ort::Severity::warning,
                                                         "test", threading, &env));
  CALL(ReleaseThreadingOptions)(threading);
  ok(CALL(DisableTelemetryEvents)(env));
  return env;
}

ort::SessionOptions* session_options(bool global_pool) {
  ort::SessionOptions* options = nullptr;
  ok(CALL(CreateSessionOptions)(&options));
  ok(CALL(DisableMemPattern)(options));
  ok(CALL(DisableCpuMemArena)(options));
  ok(CALL(SetSessionGraphOptimizationLevel)(options, ort::Optimization::all));
  ok(CALL(SetInterOpNumThreads)(options, 1));
  if (global_pool) {
    ok(CALL(DisablePerSessionThreads)(options));
  } else {
    ok(CALL(SetIntraOpNumThreads)(options, 1));
  }
  ok(CALL(AddSessionConfigEntry)(options, "session.intra_op.allow_spinning", "0"));
  return options;
}

void describe(ort::Session* session, ort::Allocator* allocator) {
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  ok(CALL(SessionGetInputCount)(session, &inputs));
  ok(CALL(SessionGetOutputCount)(session, &outputs));
  CHECK(inputs == 1 && outputs == 2);
  char* name = nullptr;
  ok(CALL(SessionGetInputName)(session, 0, allocator, &name));
  CHECK(std::string(name) == "x");
  ok(CALL(AllocatorFree)(allocator, name));
  ok(CALL(SessionGetOutputName)(session, 1, allocator, &name));
  CHECK(std::string(name) == "total");
  ok(CALL(AllocatorFree)(allocator, name));

  ort::TypeInfo* type = nullptr;
  ok(CALL(SessionGetInputTypeInfo)(session, 0, &type));
  ort::Kind kind = ort::Kind::unknown;
  ok(CALL(GetOnnxTypeFromTypeInfo)(type, &kind));
  CHECK(kind == ort::Kind::tensor);
  const ort::TensorInfo* info = nullptr;
  ok(CALL(CastTypeInfoToTensorInfo)(type, &info));
  ort::Element element = ort::Element::undefined;
  ok(CALL(GetTensorElementType)(info, &element));
  CHECK(element == ort::Element::float32);
  std::size_t rank = 0;
  ok(CALL(GetDimensionsCount)(info, &rank));
  CHECK(rank == 2);
  std::int64_t dims[2] = {};
  ok(CALL(GetDimensions)(info, dims, 2));
  CHECK(dims[0] == -1 && dims[1] == 4);
  CALL(ReleaseTypeInfo)(type);
  ok(CALL(SessionGetOutputTypeInfo)(session, 1, &type));
  CALL(ReleaseTypeInfo)(type);
}

void run(ort::Session* session, const ort::MemoryInfo* cpu) {
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::int64_t shape[] = {2, 4};
  ort::Value* in = nullptr;
  ok(CALL(CreateTensorWithDataAsOrtValue)(cpu, x, sizeof x, shape, 2, ort::Element::float32, &in));
  ort::RunOptions* how = nullptr;
  ok(CALL(CreateRunOptions)(&how));
  ok(CALL(RunOptionsSetRunLogSeverityLevel)(how, 4));
  const char* const in_names[] = {"x"};
  const char* const out_names[] = {"y", "total"};
  ort::Value* out[2] = {};
  const ort::Value* const inputs[] = {in};
  ok(CALL(Run)(session, how, in_names, inputs, 1, out_names, 2, out));
  int tensor = 0;
  ok(CALL(IsTensor)(out[1], &tensor));
  CHECK(tensor == 1);
  void* data = nullptr;
  ok(CALL(GetTensorMutableData)(out[1], &data));
  CHECK(static_cast<float*>(data)[0] == 10 && static_cast<float*>(data)[1] == 26);
  ort::TensorInfo* info = nullptr;
  ok(CALL(GetTensorTypeAndShape)(out[0], &info));
  std::size_t count = 0;
  ok(CALL(GetTensorShapeElementCount)(info, &count));
  CHECK(count == 8);
  CALL(ReleaseTensorTypeAndShapeInfo)(info);
  for (ort::Value* value : out) CALL(ReleaseValue)(value);
  CALL(ReleaseValue)(in);
  CALL(ReleaseRunOptions)(how);
}

void strings(ort::Allocator* allocator) {
  const std::int64_t shape[] = {2};
  ort::Value* value = nullptr;
  ok(CALL(CreateTensorAsOrtValue)(allocator, shape, 1, ort::Element::string, &value));
  char* buffer = nullptr;
  ok(CALL(GetResizedStringTensorElementBuffer)(value, 0, 3, &buffer));
  std::memcpy(buffer, "a\0b", 3);
  ok(CALL(GetResizedStringTensorElementBuffer)(value, 1, 0, &buffer));
  std::size_t length = 0;
  ok(CALL(GetStringTensorDataLength)(value, &length));
  CHECK(length == 3);
  char text[3] = {};
  std::size_t offsets[2] = {};
  ok(CALL(GetStringTensorContent)(value, text, 3, offsets, 2));
  CHECK(std::memcmp(text, "a\0b", 3) == 0 && offsets[1] == 3);
  CALL(ReleaseValue)(value);
}

void providers() {
  char** names = nullptr;
  int count = 0;
  ok(CALL(GetAvailableProviders)(&names, &count));
  CHECK(count >= 1 && std::string(names[count - 1]) == "CPUExecutionProvider");
  ok(CALL(ReleaseAvailableProviders)(names, count));
  // Both of these are refused by a library built for CPU only; what matters is that they answer with a
  // status.
  ort::SessionOptions* options = session_options(false);
  ort::Status* status =
      CALL(SessionOptionsAppendExecutionProvider)(options, "NoSuchProvider", nullptr, nullptr, 0);
  CHECK(status != nullptr && CALL(GetErrorCode)(status) != 0);
  CHECK(std::string(CALL(GetErrorMessage)(status)).find("NoSuchProvider") != std::string::npos);
  CALL(ReleaseStatus)(status);
  ort::CudaOptions* cuda = nullptr;
  status = CALL(CreateCUDAProviderOptions)(&cuda);
  if (status != nullptr) CALL(ReleaseStatus)(status);
  if (cuda != nullptr) {
    status = CALL(SessionOptionsAppendExecutionProvider_CUDA_V2)(options, cuda);
    if (status != nullptr) CALL(ReleaseStatus)(status);
  } else {
    called.insert("SessionOptionsAppendExecutionProvider_CUDA_V2");  // it may not be given null options
  }
  CALL(ReleaseCUDAProviderOptions)(cuda);
  CALL(ReleaseSessionOptions)(options);
}

std::vector<char> read(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  CHECK(file != nullptr);
  std::vector<char> bytes(1 << 16);
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
  std::fclose(file);
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  const auto runtime = given.runtime();
  api = &runtime->api();
  ort::Env* env = environment();
  ort::Allocator* allocator = nullptr;
  ok(CALL(GetAllocatorWithDefaultOptions)(&allocator));
  ort::MemoryInfo* cpu = nullptr;
  ok(CALL(CreateCpuMemoryInfo)(ort::AllocatorKind::device, ort::MemoryKind::standard, &cpu));
  for (const bool global_pool : {false, true}) {
    ort::SessionOptions* options = session_options(global_pool);
    ort::Session* session = nullptr;
    ok(CALL(CreateSession)(env, (given.models + "/neg.onnx").c_str(), options, &session));
    describe(session, allocator);
    run(session, cpu);
    CALL(ReleaseSession)(session);
    const std::vector<char> model = read(given.models + "/neg.onnx");
    ok(CALL(CreateSessionFromArray)(env, model.data(), model.size(), options, &session));
    run(session, cpu);
    CALL(ReleaseSession)(session);
    CALL(ReleaseSessionOptions)(options);
  }
  strings(allocator);
  providers();
  CALL(ReleaseMemoryInfo)(cpu);
  CALL(ReleaseEnv)(env);
#define KEDGE_CALLED(slot, name, result, parameters) CHECK(called.contains(#name));
  KEDGE_ORT_FUNCTIONS(KEDGE_CALLED)
  std::puts("ok");
}
