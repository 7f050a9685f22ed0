// One model's request path without sockets or a shard's thread: a test takes the turns.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/environment.hpp"
#include "engine/pipeline.hpp"
#include "net/http2_bytes.hpp"
#include "net/infer_message.hpp"

namespace kedge::test {

// Keeps what comes back from executors until it is asked for.
struct Returns final : engine::ReturnPort {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<engine::Request*> answers;
  std::vector<engine::Request*> done;

  void answered(std::vector<engine::Request*> requests) override {
    const std::lock_guard lock(mutex);
    answers.insert(answers.end(), requests.begin(), requests.end());
  }
  void released(std::vector<engine::Request*> requests) override {
    const std::lock_guard lock(mutex);
    done.insert(done.end(), requests.begin(), requests.end());
    changed.notify_all();
  }
  void await(std::size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done.size() == count; });
  }
};

// A connection without a socket: what the client is sent stays in the session. Paths under /stream/ are
// streams.
struct Unread final : engine::Peer, wire::CallHandler {
  Unread(engine::Pipeline& to, wire::Budget& budget, const wire::GrpcOptions& options = {})
      : Peer(0), pipeline(to), session(*this, budget, options) {}
  wire::GrpcSession& grpc() override { return session; }
  void mark_dirty() override {}
  wire::Method method(std::string_view path) override {
    const bool streams = path.starts_with("/stream/");
    return {.cardinality = streams ? wire::Cardinality::streaming : wire::Cardinality::unary};
  }
  void on_call(wire::Call& call) override {
    if (call.method().cardinality == wire::Cardinality::streaming) {
      pipeline.open_stream(*this, call);
    } else {
      pipeline.open_unary(*this, call);
    }
  }
  void on_message(wire::Call& call, wire::Message&& message) override {
    pipeline.receive(*this, call, std::move(message));
  }
  void on_half_close(wire::Call& call) override { pipeline.half_close(call); }
  void on_ended(wire::Call& call, wire::Ended) override { pipeline.ended(call); }

  engine::Pipeline& pipeline;
  wire::GrpcSession session;
};

// A pipeline that routes to the model `text`, which answers with its input and runs on a pool of one thread.
struct OneModel {
  explicit OneModel(const Environment& given) : runtime(given.runtime()) {
    engine::ModelConfig config;
    config.key = 1;
    config.bundle = std::string(64, 'a');
    config.name = "text";
    config.session.path = given.models + "/text.onnx";
    config.batchable = true;
    config.max_batch = 8;
    config.execution = engine::Execution::pool;
    config.instances = 1;
    config.layout = std::make_shared<sketch::Layout>();
    model = std::make_shared<engine::Model>(*runtime, std::move(config));
    pool = std::make_unique<engine::ExecutorPool>(model, std::vector<engine::ReturnPort*>{&returns},
                                                  shared.sealing, 64);
    model->pool = pool.get();
    auto target = std::make_shared<engine::Target>();
    target->model = model;
    target->id = 1;
    table.generation = 1;
    table.targets = {target};
    engine::Route route;
    route.model = "text";
    route.arms = {target};
    route.thresholds = {~std::uint64_t{0}};
    table.routes.emplace("text", route);
    routes.store(&table);
    pipeline.refresh();
  }

  std::shared_ptr<engine::Runtime> runtime;
  engine::RoutePointer routes{1};
  engine::Shared shared{routes};
  Returns returns;
  std::shared_ptr<engine::Model> model;
  engine::RouteTable table;
  wire::Budget budget{std::size_t{64} << 20U};
  engine::Pipeline pipeline{0, shared, [] {}};
  std::unique_ptr<engine::ExecutorPool> pool;  // ends first: it holds requests
};

// A request for `text`, with one row of this content.
inline std::string text_request(const std::string& content) {
  std::string raw;
  for (int shift = 0; shift < 32; shift += 8) raw += static_cast<char>(content.size() >> shift);
  return framed(infer_message("text", "x", "BYTES", 1, 0, raw + content));
}

}  // namespace kedge::test
