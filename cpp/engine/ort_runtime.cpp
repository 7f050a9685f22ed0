#include "engine/ort_runtime.hpp"

#include <dlfcn.h>

#include <cstring>
#include <ctime>
#include <string_view>

#include "engine/ort_owned.hpp"

namespace kedge::engine {
namespace {

// ModelProto of y = Neg(x), x: float[1], IR 8, opset 13, in protobuf wire format.
constexpr unsigned char kNegModel[] = {
    0x08, 8,                                                                      // ir_version
    0x42, 2,  0x10, 13,                                                           // opset_import {version}
    0x3a, 46,                                                                     // graph
    0x0a, 11, 0x0a, 1,  'x', 0x12, 1, 'y',  0x22, 3,    'N', 'e',  'g',           // node
    0x12, 1,  'g',                                                                // name
    0x5a, 13, 0x0a, 1,  'x', 0x12, 8, 0x0a, 6,    0x08, 1,   0x12, 2,   0x0a, 0,  // input: float, one dim
    0x62, 13, 0x0a, 1,  'y', 0x12, 8, 0x0a, 6,    0x08, 1,   0x12, 2,   0x0a, 0,  // output
};

template <class F>
void bind(F& function, const void* table, std::size_t slot) {
  std::memcpy(&function, static_cast<const char*>(table) + slot * sizeof(void*), sizeof(void*));
}

}  // namespace

std::string plain_message(const char* message) {
  std::string_view text = message == nullptr ? "" : message;
  text = text.substr(0, text.find('\n'));
  // "/path/file.cc:123 function signature message": the message follows the last "] " or the function's ") ".
  if (!text.empty() && text.front() == '/') {
    const std::size_t function_end = text.find(") ");
    text = function_end == std::string_view::npos ? "failed" : text.substr(function_end + 2);
  }
  std::string plain;
  for (std::size_t at = 0; at < text.size();) {
    const bool path = text[at] == '/' && (at == 0 || text[at - 1] == ' ' || text[at - 1] == '(');
    if (!path) {
      plain += text[at++];
      continue;
    }
    while (at < text.size() && text[at] != ' ' && text[at] != ')') ++at;
    plain += "...";
  }
  constexpr std::size_t kLongest = 400;
  if (plain.size() > kLongest) plain.resize(kLongest);
  return plain;
}

std::shared_ptr<Runtime> Runtime::open(const Options& options) {
  static std::mutex mutex;
  static std::weak_ptr<Runtime> opened;
  const std::lock_guard lock(mutex);
  if (std::shared_ptr<Runtime> runtime = opened.lock()) {
    if (runtime->options_.library == options.library && runtime->options_.version == options.version)
      return runtime;
  }
  std::shared_ptr<Runtime> runtime(new Runtime(options));
  runtime->open_library();
  runtime->create_environment();
  runtime->self_check();
  opened = runtime;
  return runtime;
}

std::shared_ptr<void> Runtime::log_to(Log log) {
  const std::lock_guard lock(log_mutex_);
  logs_.push_back(std::move(log));
  const auto place = std::prev(logs_.end());
  return {this, [this, place](void*) {
            const std::lock_guard again(log_mutex_);
            logs_.erase(place);
          }};
}

void Runtime::open_library() {
  void* library = dlopen(options_.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw LoadError(std::string("cannot open ONNX Runtime: ") + dlerror());
  void* symbol = dlsym(library, "OrtGetApiBase");
  if (symbol == nullptr) throw LoadError(options_.library + " has no OrtGetApiBase: it is not ONNX Runtime");
  const ort::ApiBase* (*get_base)() = nullptr;
  std::memcpy(&get_base, &symbol, sizeof symbol);
  const ort::ApiBase* base = get_base();
  const std::string found = base->GetVersionString();
  if (found != options_.version) {
    throw LoadError("ONNX Runtime calls itself " + found + ", the installed package says " +
                    options_.version + "; reinstall onnxruntime");
  }
  const void* table = base->GetApi(ort::kApiVersion);
  if (table == nullptr) {
    throw LoadError("ONNX Runtime " + found + " is too old: Kedge needs API version " +
                    std::to_string(ort::kApiVersion) + " (onnxruntime 1.15 or later)");
  }
#define KEDGE_ORT_BIND(slot, name, result, parameters) bind(api_.name, table, slot);
  KEDGE_ORT_FUNCTIONS(KEDGE_ORT_BIND)
#undef KEDGE_ORT_BIND
}

void Runtime::create_environment() {
  ort::Owned<ort::ThreadingOptions> threading(api_.ReleaseThreadingOptions);
  check(api_.CreateThreadingOptions(&threading.value), "threading options");
  check(api_.SetGlobalIntraOpNumThreads(threading.value, options_.intra_op_threads), "threading options");
  check(api_.SetGlobalInterOpNumThreads(threading.value, 1), "threading options");
  check(api_.SetGlobalSpinControl(threading.value, 0), "threading options");
  check(api_.CreateEnvWithCustomLoggerAndGlobalThreadPools(&Runtime::on_message, this, ort::Severity::warning,
                                                           "kedge", threading.value, &env_),
        "environment");
  check(api_.DisableTelemetryEvents(env_), "telemetry");
  check(api_.GetAllocatorWithDefaultOptions(&allocator_), "allocator");
  check(api_.CreateCpuMemoryInfo(ort::AllocatorKind::device, ort::MemoryKind::standard, &cpu_),
        "memory info");
}

void Runtime::self_check() const {
  ort::Owned<ort::SessionOptions> options(api_.ReleaseSessionOptions);
  check(api_.CreateSessionOptions(&options.value), "self-check");
  check(api_.SetIntraOpNumThreads(options.value, 1), "self-check");
  ort::Owned<ort::Session> session(api_.ReleaseSession);
  check(api_.CreateSessionFromArray(env_, kNegModel, sizeof kNegModel, options.value, &session.value),
        "self-check");
  float x = 2.5F;
  float y = 0;
  const std::int64_t shape[] = {1};
  ort::Owned<ort::Value> in(api_.ReleaseValue);
  ort::Owned<ort::Value> out(api_.ReleaseValue);
  check(api_.CreateTensorWithDataAsOrtValue(cpu_, &x, sizeof x, shape, 1, ort::Element::float32, &in.value),
        "self-check");
  check(api_.CreateTensorWithDataAsOrtValue(cpu_, &y, sizeof y, shape, 1, ort::Element::float32, &out.value),
        "self-check");
  const char* const in_name = "x";
  const char* const out_name = "y";
  const ort::Value* const inputs[] = {in.value};
  check(api_.Run(session.value, nullptr, &in_name, inputs, 1, &out_name, 1, &out.value), "self-check");
  if (y != -x) throw LoadError("ONNX Runtime answered its self-check wrongly");
}

Runtime::~Runtime() {
  if (cpu_ != nullptr) api_.ReleaseMemoryInfo(cpu_);
  if (env_ != nullptr) api_.ReleaseEnv(env_);
}

std::vector<std::string> Runtime::providers() const {
  char** names = nullptr;
  int count = 0;
  check(api_.GetAvailableProviders(&names, &count), "providers");
  std::vector<std::string> found(names, names + count);
  check(api_.ReleaseAvailableProviders(names, count), "providers");
  return found;
}

std::string Runtime::take_message(ort::Status* status) const {
  if (status == nullptr) return {};
  std::string message = plain_message(api_.GetErrorMessage(status));
  if (message.empty()) message = "error " + std::to_string(api_.GetErrorCode(status));
  api_.ReleaseStatus(status);
  return message;
}

void Runtime::check(ort::Status* status, const char* what) const {
  if (status != nullptr) throw LoadError(std::string(what) + ": " + take_message(status));
}

// Called by any thread of the runtime, on a failed run of a model too: a client could fill a disk with it.
void Runtime::on_message(void* self, ort::Severity severity, const char*, const char*, const char*,
                         const char* message) {
  auto* runtime = static_cast<Runtime*>(self);
  const std::lock_guard lock(runtime->log_mutex_);
  const std::int64_t now = std::time(nullptr);
  if (runtime->log_second_ != now) {
    runtime->log_second_ = now;
    runtime->log_count_ = 0;
  }
  if (runtime->log_count_++ >= kLogBurst) return;
  const std::string text = plain_message(message);
  for (const Log& log : runtime->logs_) log(static_cast<int>(severity), text);
}

}  // namespace kedge::engine
