// What the engine's tests are told on the command line: library, its version, folder of models
// (make_models.py).
#pragma once

#include <memory>
#include <string>

#include "engine/check.hpp"
#include "engine/ort_runtime.hpp"
#include "engine/session.hpp"

namespace kedge::test {

struct Environment {
  std::string library;
  std::string version;
  std::string models;

  Environment(int argc, char** argv) {
    CHECK(argc == 4);
    library = argv[1];
    version = argv[2];
    models = argv[3];
  }
  std::shared_ptr<engine::Runtime> runtime() const {
    return engine::Runtime::open({.library = library, .version = version, .intra_op_threads = 2});
  }
  std::shared_ptr<engine::Session> session(const engine::Runtime& runtime, const std::string& name) const {
    engine::SessionOptions options;
    options.path = models + "/" + name + ".onnx";
    return std::make_shared<engine::Session>(runtime, options);
  }
};

}  // namespace kedge::test
