// One ONNX Runtime in the process: the library, its environment, and its errors.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/ort_api.hpp"

namespace kedge::engine {

// A library that cannot be used, or a model that cannot be loaded. One line, for a person. Never thrown while
// a request is under way.
struct LoadError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The library, opened once; lives until the process ends, because code of it may run in any thread until
// then.
class Runtime {
 public:
  struct Options {
    std::string library;       // path of libonnxruntime.so.<version>
    std::string version;       // what the wheel says its version is; the library must agree
    int intra_op_threads = 1;  // of the global pool, for sessions that ask for more than one
  };
  using Log = std::function<void(int severity, const std::string& text)>;
  static constexpr std::uint64_t kLogBurst = 10;  // messages a second

  // Opens the library, checks version and every slot used, runs a tiny model. ONNX Runtime itself is one a
  // process (a second environment is the first, with its logger and pool), so while one is open it is what
  // everybody gets. Throws LoadError.
  static std::shared_ptr<Runtime> open(const Options& options);

  // Sends the runtime's messages to `log` as well, at most `kLogBurst` a second, until what is returned is
  // released.
  [[nodiscard]] std::shared_ptr<void> log_to(Log log);

  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  const ort::Api& api() const { return api_; }
  ort::Env* env() const { return env_; }
  ort::Allocator* allocator() const { return allocator_; }
  const ort::MemoryInfo* cpu() const { return cpu_; }
  const std::string& version() const { return options_.version; }
  int global_threads() const { return options_.intra_op_threads; }

  // Execution providers this build of the library has, such as CPUExecutionProvider.
  std::vector<std::string> providers() const;

  // Throws LoadError "<what>: <message>" unless `status` is null; frees it.
  void check(ort::Status* status, const char* what) const;

  // The message of a failed status, first line only, source paths removed; frees it. Empty for null.
  std::string take_message(ort::Status* status) const;

 private:
  explicit Runtime(Options options) : options_(std::move(options)) {}
  void open_library();
  void create_environment();
  void self_check() const;
  static void on_message(void* self, ort::Severity severity, const char* category, const char* logid,
                         const char* location, const char* message);

  Options options_;
  ort::Api api_{};
  ort::Env* env_ = nullptr;
  ort::Allocator* allocator_ = nullptr;
  ort::MemoryInfo* cpu_ = nullptr;
  std::mutex log_mutex_;
  std::list<Log> logs_;
  std::int64_t log_second_ = 0;
  std::uint64_t log_count_ = 0;
};

// Removes what must not leave the process: everything after the first line, and the source location that the
// runtime puts in front of some messages.
std::string plain_message(const char* message);

}  // namespace kedge::engine
