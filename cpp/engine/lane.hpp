// One thread's way to run one model: gathered inputs, the runner, and the answer until the next batch.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/predictions.hpp"
#include "engine/request.hpp"
#include "engine/session.hpp"

namespace kedge::engine {

class Lane {
 public:
  explicit Lane(std::shared_ptr<Model> model);

  // Puts the requests' inputs together, row after row. A request alone runs on its own bytes where they are
  // aligned.
  void gather(std::span<Request* const> requests);
  // Runs the model on what was gathered; "" or why it failed.
  std::string run() {
    read_ = false;
    return runner_.run(inputs_);
  }
  // Outputs that are to be split by row must have a row each: "" or which has not.
  std::string uneven_output(std::int64_t rows) const;

  std::span<const TensorView> inputs() const { return inputs_; }
  std::span<const TensorView> outputs() const { return runner_.outputs(); }
  // What the outputs predict for the `rows` rows that ran; read once a run, by whoever asks first.
  const Predictions::View& predicted(std::size_t rows);
  // The batch is counted: neither inputs nor outputs are read again. One of a million rows must not hold its
  // memory in every thread for ever.
  void let_go();
  // Held for batches to come.
  std::size_t bytes() const;
  const std::shared_ptr<Model>& model() const { return model_; }

 private:
  struct Input {
    wire::Buffer bytes;
    std::vector<std::string_view> strings;
  };
  TensorView gather_strings(std::span<Request* const> requests, std::size_t index);
  TensorView gather_numbers(std::span<Request* const> requests, std::size_t index);

  std::shared_ptr<Model> model_;
  Runner runner_;
  Predictions predictions_;
  Predictions::View seen_;
  bool read_ = false;
  std::vector<Input> scratch_;
  std::vector<TensorView> inputs_;
};

}  // namespace kedge::engine
