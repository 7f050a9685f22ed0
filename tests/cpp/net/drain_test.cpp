// A drain that is out of time ends calls whose requests still run; both go their own ways from then on.
#include "engine/environment.hpp"
#include "engine/pipeline.hpp"
#include "net/http2_bytes.hpp"
#include "net/infer_message.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

// Keeps what comes back from executors until it is asked for.
struct Returns final : ReturnPort {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Request*> answers;
  std::vector<Request*> done;

  void answered(std::vector<Request*> requests) override {
    const std::lock_guard lock(mutex);
    answers.insert(answers.end(), requests.begin(), requests.end());
  }
  void released(std::vector<Request*> requests) override {
    const std::lock_guard lock(mutex);
    done.insert(done.end(), requests.begin(), requests.end());
    changed.notify_all();
  }
  void await(std::size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done.size() == count; });
  }
};

// A connection without a socket: what the client is sent stays in the session.
struct Unread final : Peer, wire::CallHandler {
  Unread(Pipeline& to, wire::Budget& budget) : Peer(0), pipeline(to), session(*this, budget, {}) {}
  wire::GrpcSession& grpc() override { return session; }
  void mark_dirty() override {}
  wire::Method method(std::string_view) override { return {}; }
  void on_call(wire::Call& call) override { pipeline.open_unary(*this, call); }
  void on_message(wire::Call& call, wire::Message&& message) override {
    pipeline.receive(*this, call, std::move(message));
  }
  void on_half_close(wire::Call& call) override { pipeline.half_close(call); }
  void on_ended(wire::Call& call, wire::Ended) override { pipeline.ended(call); }

  Pipeline& pipeline;
  wire::GrpcSession session;
};

std::shared_ptr<Model> load(const test::Environment& given, const Runtime& runtime) {
  ModelConfig config;
  config.key = 1;
  config.bundle = std::string(64, 'a');
  config.name = "text";
  config.session.path = given.models + "/text.onnx";
  config.batchable = true;
  config.max_batch = 8;
  config.execution = Execution::pool;
  config.instances = 1;
  config.layout = std::make_shared<sketch::Layout>();
  return std::make_shared<Model>(runtime, std::move(config));
}

void a_call_that_ends_after_its_request_does_not_touch_it(const test::Environment& given) {
  const auto runtime = given.runtime();
  RoutePointer routes(1);
  Shared shared(routes);
  Returns returns;
  const auto model = load(given, *runtime);
  ExecutorPool pool(model, {&returns}, shared.sealing, 64);
  model->pool = &pool;
  RouteTable table;
  table.generation = 1;
  auto target = std::make_shared<Target>();
  target->model = model;
  target->id = 1;
  table.targets = {target};
  Route route;
  route.model = "text";
  route.arms = {target};
  route.thresholds = {~std::uint64_t{0}};
  table.routes.emplace("text", route);
  routes.store(&table);

  wire::Budget budget(std::size_t{64} << 20U);
  Pipeline pipeline(0, shared, [] {});
  pipeline.refresh();
  {
    Unread peer(pipeline, budget);
    const std::string message = test::infer_message("text", "x", "BYTES", 1, 0, std::string("\1\0\0\0a", 5));
    std::string said = test::http2_greeting();
    constexpr std::uint32_t calls = 8;
    for (std::uint32_t call = 0; call < calls; ++call) {
      said += test::http2_call(2 * call + 1, "/x/ModelInfer");
      said += test::http2_body(2 * call + 1, test::framed(message));
    }
    CHECK(peer.session.feed(wire::as_bytes(said)));
    pipeline.run_batches();
    CHECK(pipeline.under_way() == calls);
    returns.await(calls);
    CHECK(pipeline.under_way() == calls);
    pipeline.fail_all();
    pipeline.answered(returns.answers);
    pipeline.observe();
    pipeline.released(returns.done);
    CHECK(pipeline.under_way() == 0);
    for (int turn = 0; turn < 3; ++turn) pipeline.expire(1);  // spare requests are freed
    CHECK(peer.session.open_calls() == calls);                // the client has read nothing yet
    peer.session.abandon();
  }
  CHECK(budget.used() == 0);
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  a_call_that_ends_after_its_request_does_not_touch_it(given);
  std::puts("ok");
}
