#include "engine/shadow.hpp"

#include <thread>

#include "engine/environment.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

std::shared_ptr<Model> load(const test::Environment& given, const Runtime& runtime, const std::string& name) {
  ModelConfig config;
  config.key = 1;
  config.bundle = std::string(64, 'a');
  config.name = name;
  config.session.path = given.models + "/" + name + ".onnx";
  config.batchable = true;
  config.max_batch = 8;
  sketch::NumericFeature score;
  score.edges = {0, 100};
  auto layout = std::make_shared<sketch::Layout>();
  layout->scores = {score};
  config.layout = layout;
  config.prediction.kind = name == "text" ? PredictionKind::none : PredictionKind::value;
  config.prediction.output = name == "neg" ? 1 : 0;
  return std::make_shared<Model>(runtime, std::move(config));
}

// A request that holds its own elements.
struct Sent {
  std::vector<std::uint8_t> bytes;
  wire::InputView input;
  Request request;

  Sent(wire::DType type, std::vector<std::int64_t> shape, std::vector<std::uint8_t> elements)
      : bytes(std::move(elements)) {
    input.dtype = type;
    std::copy(shape.begin(), shape.end(), input.shape.values.begin());
    input.shape.rank = static_cast<std::uint8_t>(shape.size());
    input.elements = shape.size() == 2 ? shape[0] * shape[1] : shape[0];
    input.raw = bytes;
    input.in_place = true;
    request.inputs = {&input};
    request.rows = shape[0];
  }
};

template <class T>
std::vector<std::uint8_t> raw(const std::vector<T>& values) {
  const auto* from = reinterpret_cast<const std::uint8_t*>(values.data());
  return {from, from + values.size() * sizeof(T)};
}

std::unique_ptr<Sent> floats(std::int64_t rows, float value) {
  return std::make_unique<Sent>(wire::DType::fp32, std::vector<std::int64_t>{rows, 4},
                                raw(std::vector<float>(static_cast<std::size_t>(rows) * 4, value)));
}

std::unique_ptr<Sent> index(std::int64_t at) {
  return std::make_unique<Sent>(wire::DType::int64, std::vector<std::int64_t>{1},
                                raw(std::vector<std::int64_t>{at}));
}

// Who answers: gathers requests as a batch, and offers them as if they had been answered.
struct Live {
  std::shared_ptr<Model> model;
  Lane lane{model};
  ShadowSender sender;
  Predictions predictions;

  void offer(const std::shared_ptr<const ShadowRoute>& route, std::span<const std::unique_ptr<Sent>> sent,
             bool run = true) {
    std::vector<Request*> requests;
    for (const auto& one : sent) requests.push_back(&one->request);
    std::int64_t rows = 0;
    for (const Request* request : requests) rows += request->rows;
    lane.gather(requests);
    PredictionView seen;
    if (run) {
      CHECK(lane.run().empty());
      seen = predictions.read(*model, lane.outputs(), static_cast<std::size_t>(rows));
    }
    sender.offer(route, lane, {requests.data(), requests.size()}, seen, 1000);
  }
};

std::shared_ptr<const ShadowRoute> route(const std::shared_ptr<Shadow>& shadow,
                                         const std::shared_ptr<Model>& beside, const Model& arm,
                                         std::uint64_t id = 1, double sample = 1.0) {
  auto target = std::make_shared<Target>();
  target->model = beside;
  target->arm = Arm::shadow;
  target->epoch = id;
  target->id = id;
  return std::make_shared<const ShadowRoute>(id, shadow, target, sample, arm);
}

void wait_for_end(Shadow& shadow) {
  while (!shadow.ended()) std::this_thread::yield();
}

struct Seen {
  std::int64_t offered = 0, dropped = 0, failed = 0, compared = 0, same = 0, ok = 0;
};

// Of all cells together.
Seen counted(Shadow& shadow) {
  Seen seen;
  shadow
      .post([&](Observer& observer) {
        for (const CellCounts& cell : observer.snapshot()) {
          CHECK(cell.arm == Arm::shadow && cell.evidence.size() == evidence::kWords);
          seen.offered += cell.evidence[evidence::kOffered];
          seen.dropped += cell.evidence[evidence::kDropped];
          seen.failed += cell.evidence[evidence::kFailed];
          seen.compared += cell.evidence[evidence::kCompared];
          seen.same += cell.evidence[evidence::kDifferences];
          std::int64_t ok = 0;
          std::memcpy(&ok, cell.counts.data() + sketch::kHeaderBytes + 8 * sketch::kStatusWord, sizeof ok);
          seen.ok += ok;
        }
      })
      .wait();
  return seen;
}

void a_queue_is_bounded_in_requests_and_in_bytes() {
  const auto item = [](std::size_t held) {
    auto made = std::make_unique<ShadowItem>();
    made->held = held;
    return made;
  };
  ShadowQueue queue;
  CHECK(queue.front() == nullptr && queue.pop() == nullptr);
  for (std::size_t i = 0; i < ShadowQueue::kRequests; ++i) {
    CHECK(queue.has_room(1));
    queue.push(item(1));
  }
  CHECK(!queue.has_room(1));
  CHECK(queue.pop() != nullptr && queue.has_room(1));
  CHECK(!queue.has_room(ShadowQueue::kBytes));
  while (queue.pop() != nullptr) {
  }
  CHECK(queue.has_room(ShadowQueue::kBytes) && !queue.has_room(ShadowQueue::kBytes + 1));
  queue.count_offered();
  queue.count_offered();
  queue.count_dropped();
  CHECK(queue.take_counts().offered == 2 && queue.take_counts().dropped == 0);
}

void pairs_are_compared_on_the_first_row(const test::Environment& given, const Runtime& runtime) {
  const auto model = load(given, runtime, "neg");
  const auto shadow = std::make_shared<Shadow>(model);
  shadow->open();
  Live live{model, Lane{model}, {}, {}};
  const auto to = route(shadow, model, *model);
  CHECK(to->fits);
  std::vector<std::unique_ptr<Sent>> sent;
  for (const std::int64_t rows : {1, 2, 7, 0, 20}) sent.push_back(floats(rows, 0.5F));
  live.offer(to, sent);
  shadow->close();
  wait_for_end(*shadow);
  const Seen seen = counted(*shadow);
  CHECK(seen.offered == 4 && seen.compared == 4 && seen.same == 4 && seen.ok == 4);
  CHECK(seen.dropped == 0 && seen.failed == 0);
}

void what_a_shadow_cannot_take_is_dropped_and_counted(const test::Environment& given,
                                                      const Runtime& runtime) {
  const auto model = load(given, runtime, "neg");
  const auto shadow = std::make_shared<Shadow>(model);  // its thread does not run yet
  Live live{model, Lane{model}, {}, {}};
  const auto to = route(shadow, model, *model);
  std::vector<std::unique_ptr<Sent>> sent;
  sent.push_back(floats(1, 1.0F));
  constexpr auto kOffers = static_cast<std::int64_t>(ShadowQueue::kRequests) + 5;
  for (std::int64_t i = 0; i < kOffers; ++i) live.offer(to, sent);
  shadow->open();
  shadow->close();
  wait_for_end(*shadow);
  Seen seen = counted(*shadow);
  CHECK(seen.offered == kOffers && seen.dropped == 5 && seen.compared == kOffers - 5);
  live.offer(to, sent);  // too late: nobody takes it any more
  seen = counted(*shadow);
  CHECK(seen.offered == kOffers + 1 && seen.dropped == 6);
  shadow->open();  // and back again
  live.offer(to, sent);
  shadow->close();
  wait_for_end(*shadow);
  CHECK(counted(*shadow).compared == kOffers - 4);
}

void a_request_that_fails_in_the_shadow_fails_alone(const test::Environment& given, const Runtime& runtime) {
  const auto model = load(given, runtime, "pick");
  const auto shadow = std::make_shared<Shadow>(model);
  Live live{model, Lane{model}, {}, {}};
  const auto to = route(shadow, model, *model);
  std::vector<std::unique_ptr<Sent>> sent;
  for (const std::int64_t at : {3, 99, 4}) sent.push_back(index(at));
  live.offer(to, sent, false);
  shadow->open();
  shadow->close();
  wait_for_end(*shadow);
  const Seen seen = counted(*shadow);
  CHECK(seen.offered == 3 && seen.failed == 1 && seen.compared == 2 && seen.ok == 2);
}

void a_shadow_that_needs_other_inputs_fails_on_all(const test::Environment& given, const Runtime& runtime) {
  const auto model = load(given, runtime, "neg");
  const auto other = load(given, runtime, "pick");
  const auto shadow = std::make_shared<Shadow>(other);
  Live live{model, Lane{model}, {}, {}};
  const auto to = route(shadow, other, *model);
  CHECK(!to->fits);
  std::vector<std::unique_ptr<Sent>> sent;
  sent.push_back(floats(1, 1.0F));
  live.offer(to, sent);
  const Seen seen = counted(*shadow);
  CHECK(seen.offered == 1 && seen.failed == 1 && seen.compared == 0);
}

void strings_are_copied_too(const test::Environment& given, const Runtime& runtime) {
  const auto model = load(given, runtime, "text");
  const auto shadow = std::make_shared<Shadow>(model);
  Live live{model, Lane{model}, {}, {}};
  const auto to = route(shadow, model, *model);
  const std::string first("\3\0\0\0a\0b\0\0\0\0", 11);
  const std::string second("\1\0\0\0z", 5);
  std::vector<std::unique_ptr<Sent>> sent;
  sent.push_back(std::make_unique<Sent>(wire::DType::bytes, std::vector<std::int64_t>{2},
                                        std::vector<std::uint8_t>(first.begin(), first.end())));
  sent.push_back(std::make_unique<Sent>(wire::DType::bytes, std::vector<std::int64_t>{1},
                                        std::vector<std::uint8_t>(second.begin(), second.end())));
  live.offer(to, sent);
  sent.clear();  // what was offered is a copy
  shadow->open();
  shadow->close();
  wait_for_end(*shadow);
  CHECK(counted(*shadow).compared == 2);
  std::vector<SampledRow> rows;
  shadow->post([&](Observer& observer) { rows = observer.sample(model->config().key); }).wait();
  CHECK(rows.size() == 3 && rows[0][0].strings[0] == std::string("a\0b", 3) &&
        rows[1][0].strings[0].empty() && rows[2][0].strings[0] == "z");
}

// Writers that come and go, routes that follow each other, snapshots, ends and starts: whatever was offered
// was compared or dropped.
void nothing_is_lost_among_threads(const test::Environment& given, const Runtime& runtime) {
  const auto model = load(given, runtime, "neg");
  const auto shadow = std::make_shared<Shadow>(model);
  shadow->open();
  constexpr int kWriters = 2;
  constexpr int kEpochs = 4;
  constexpr int kBatches = 150;
  std::atomic<bool> done{false};
  std::thread control([&] {
    while (!done) {
      const Seen seen = counted(*shadow);
      CHECK(seen.compared + seen.dropped + seen.failed <= seen.offered);
      shadow->close();
      std::this_thread::yield();
      shadow->open();
    }
  });
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      Live live{model, Lane{model}, {}, {}};
      std::vector<std::unique_ptr<Sent>> sent;
      for (const std::int64_t rows : {1, 3}) sent.push_back(floats(rows, 0.25F));
      for (int epoch = 0; epoch < kEpochs; ++epoch) {
        const auto to =
            route(shadow, model, *model, static_cast<std::uint64_t>(1 + writer * kEpochs + epoch));
        for (int batch = 0; batch < kBatches; ++batch) live.offer(to, sent);
        live.sender.tidy();
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  control.join();
  shadow->stop();
  const Seen seen = counted(*shadow);
  CHECK(seen.offered == kWriters * kEpochs * kBatches * 2);
  CHECK(seen.compared + seen.dropped == seen.offered && seen.failed == 0);
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  const auto runtime = given.runtime();
  a_queue_is_bounded_in_requests_and_in_bytes();
  pairs_are_compared_on_the_first_row(given, *runtime);
  what_a_shadow_cannot_take_is_dropped_and_counted(given, *runtime);
  a_request_that_fails_in_the_shadow_fails_alone(given, *runtime);
  a_shadow_that_needs_other_inputs_fails_on_all(given, *runtime);
  strings_are_copied_too(given, *runtime);
  nothing_is_lost_among_threads(given, *runtime);
  std::puts("ok");
}
