// A model in memory, and one thread's way to run it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/ort_runtime.hpp"
#include "engine/tensor.hpp"

namespace kedge::engine {

struct SessionOptions {
  std::string path;
  int intra_op_threads = 1;  // more than 1: the runtime's global pool
  std::vector<std::string> providers = {"CPUExecutionProvider"};
  // What the bundle states: names and types must be the model's; order and shapes are taken from here. Empty:
  // not stated.
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

// An ONNX Runtime session. Safe to run from any number of threads, each with a Runner of its own.
class Session {
 public:
  // Loads the model. Throws LoadError naming what is missing or unsupported.
  Session(const Runtime& runtime, const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  std::span<const TensorSpec> inputs() const { return inputs_; }
  std::span<const TensorSpec> outputs() const { return outputs_; }
  std::size_t input_index(std::string_view name) const;  // inputs().size() when there is none

 private:
  friend class Runner;
  void add_provider(ort::SessionOptions* options, const std::string& name) const;
  TensorSpec describe(std::size_t index, bool input) const;

  const Runtime& runtime_;
  const ort::Api& api_;
  ort::Session* session_ = nullptr;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  std::vector<const char*> input_names_;
  std::vector<const char*> output_names_;
};

// Runs one session on one thread and holds the answer until the next run. Nothing here throws.
class Runner {
 public:
  // `batched` promises that every output's first dimension is the number of rows, so outputs of otherwise
  // fixed shape are allocated beforehand and reused.
  Runner(std::shared_ptr<const Session> session, bool batched);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs on `inputs`, in the order of the session's inputs; what they view must outlive
  // the call. Returns "" or, in one line, why the model failed.
  std::string run(std::span<const TensorView> inputs);

  // The answer of the last run that succeeded, in the order of the session's outputs.
  std::span<const TensorView> outputs() const { return views_; }
  // Frees the last run's values, and memory for answers beyond what a usual batch needs. `outputs` is not to
  // be read again before the next run.
  void let_go();
  // Held for answers to come.
  std::size_t bytes() const;

 private:
  struct Slot {
    ort::Value* value = nullptr;      // this run's value
    std::vector<std::uint8_t> bytes;  // preallocated numbers, or text of strings
    std::vector<std::size_t> offsets;
    bool fixed = false;  // every dimension but the first is known
    // Values over `bytes` by number of rows, kept because making one costs as much as a small model's run.
    std::vector<ort::Value*> by_rows;

    std::size_t held() const { return bytes.capacity() + offsets.capacity() * sizeof(std::size_t); }
  };
  ort::Status* make_input(const TensorView& view, std::size_t index);
  ort::Status* make_string_input(const TensorView& view, ort::Value** value);
  ort::Status* prepare_output(std::size_t index, std::int64_t rows);
  ort::Status* read_output(std::size_t index);
  ort::Status* read_strings(Slot& slot, TensorView& view);
  void release_values();
  static void drop_by_rows(const ort::Api& api, Slot& slot);

  std::shared_ptr<const Session> session_;
  const ort::Api& api_;
  bool batched_;
  std::vector<ort::Value*> input_values_;
  std::vector<Slot> slots_;
  std::vector<ort::Value*> output_values_;
  std::vector<TensorView> views_;
};

}  // namespace kedge::engine
