// A server under everything at once: requests of four models, inline and pooled, keyed and not, failing rows,
// streams, cold calls and connections that break off, while routes are published, with a shadow and without,
// models loaded and retired, sealing keys and thresholds changed, and counts taken. Meant for sanitizers;
// what it checks itself is that the counts are those of the answers.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "engine/environment.hpp"
#include "net/infer_message.hpp"
#include "net/server.hpp"

extern char** environ;

using namespace kedge;  // NOLINT: a test

namespace {

constexpr const char* kService = "/inference.GRPCInferenceService/";

struct Files {
  std::string folder;
  explicit Files(std::string where) : folder(std::move(where)) {}
  std::string write(const std::string& name, const std::string& bytes) const {
    const std::string path = folder + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
};

engine::ModelConfig config(const test::Environment& given, const std::string& model, std::uint64_t key,
                           const std::string& version, engine::Execution execution) {
  engine::ModelConfig made;
  made.key = key;
  made.bundle = std::string(63, 'b') + std::to_string(key % 10);
  made.name = model;
  made.version = version;
  made.session.path = given.models + "/" + model + ".onnx";
  made.batchable = true;
  made.max_batch = 32;
  made.execution = execution;
  made.instances = 2;
  auto layout = std::make_shared<sketch::Layout>();
  if (model == "neg") {
    layout->tensors = {{"x", 4, false}};
    for (std::size_t column = 0; column < 4; ++column) {
      sketch::NumericFeature feature;
      feature.name = "f" + std::to_string(column);
      feature.column = column;
      feature.edges = {-1, 0, 1, 2};
      layout->features.emplace_back(feature);
    }
    made.layout_inputs = {0};
    made.prediction.kind = engine::PredictionKind::value;
    made.prediction.output = 1;
    made.calibration = {engine::ScoreKind::absolute, 0.1, 1.0};
    sketch::NumericFeature score;
    score.name = "total";
    score.edges = {-10, 0, 10};
    layout->scores = {score};
  }
  made.layout = layout;
  return made;
}

net::RouteSpec route(const std::string& model, std::uint64_t epoch,
                     std::vector<net::RouteSpec::ArmSpec> arms) {
  net::RouteSpec spec;
  spec.model = model;
  spec.epoch = epoch;
  spec.arms = std::move(arms);
  return spec;
}

// Runs h2load; the answers themselves are of no interest here.
void load(const std::string& address, const std::string& method, const std::string& body,
          const std::string& requests, const std::string& connections, const std::string& streams,
          const std::string& key = "") {
  std::vector<std::string> words = {"h2load",
                                    "-t",
                                    "1",
                                    "-n",
                                    requests,
                                    "-c",
                                    connections,
                                    "-m",
                                    streams,
                                    "-d",
                                    body,
                                    "-H",
                                    "content-type: application/grpc",
                                    "-H",
                                    "te: trailers",
                                    "-H",
                                    "grpc-timeout: 5S",
                                    "http://" + address + kService + method};
  if (!key.empty()) words.insert(words.end() - 1, {"-H", "x-kedge-key: " + key});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", 1, 0);
  pid_t child = 0;
  CHECK(posix_spawnp(&child, "h2load", &quiet, nullptr, arguments.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&quiet);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
}

// OK answers counted for a model's bundles, by those who answered.
std::uint64_t answered(net::Server& server) {
  std::uint64_t sum = 0;
  for (const engine::CellCounts& cell : server.snapshot()) {
    if (cell.arm == engine::Arm::shadow) continue;
    std::int64_t ok = 0;
    std::memcpy(&ok, cell.counts.data() + sketch::kHeaderBytes + 8 * sketch::kStatusWord, sizeof ok);
    sum += static_cast<std::uint64_t>(ok);
  }
  return sum;
}

// The sum of one word of the evidence of some arms.
std::int64_t evidence(net::Server& server, std::size_t word, bool shadow) {
  std::int64_t sum = 0;
  for (const engine::CellCounts& cell : server.snapshot()) {
    if (!cell.evidence.empty() && (cell.arm == engine::Arm::shadow) == shadow) sum += cell.evidence[word];
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  char folder[] = "/tmp/kedge-mixed-XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  const Files files(folder);
  const std::string neg = files.write(
      "neg",
      test::framed(test::infer_message("neg", "x", "FP32", 2, 4, test::raw_of(std::vector<float>(8, 0.5F)))));
  const std::string pick =
      files.write("pick", test::framed(test::infer_message("pick", "i", "INT64", 1, 0,
                                                           test::raw_of(std::vector<std::int64_t>{3}))));
  const std::string poison =
      files.write("poison", test::framed(test::infer_message("pick", "i", "INT64", 1, 0,
                                                             test::raw_of(std::vector<std::int64_t>{99}))));
  const std::string text = files.write(
      "text",
      test::framed(test::infer_message("text", "x", "BYTES", 2, 0, std::string("\2\0\0\0a\0\0\0\0\0", 10))));
  const std::string garbage = files.write("garbage", test::framed("\xff\xff\xff"));

  net::ServerOptions options;
  options.runtime = {given.library, given.version, 2};
  options.shards = 2;
  net::Server server(std::move(options));
  std::thread cold([&] {
    while (auto event = server.next_cold()) {
      if (event->kind == net::ColdKind::message)
        server.reply(event->call, event->payload, false, Code::kOk, "");
      if (event->kind == net::ColdKind::half_close)
        server.reply(event->call, std::nullopt, true, Code::kOk, "");
    }
  });

  const std::vector<float> zeros(4);
  const std::int64_t one_row[] = {1, 4};
  const engine::TensorView sample{ort::Element::float32,
                                  engine::Shape(one_row),
                                  {reinterpret_cast<const std::uint8_t*>(zeros.data()), 16},
                                  {},
                                  {}};
  server.load(config(given, "neg", 1, "1", engine::Execution::automatic), {&sample, 1}, true);
  server.load(config(given, "neg", 2, "2", engine::Execution::pool), {&sample, 1}, true);
  server.load(config(given, "pick", 3, "1", engine::Execution::always_inline), {}, false);
  server.load(config(given, "text", 4, "1", engine::Execution::pool), {}, false);
  CHECK(server.inline_rows(1) > 0 && server.inline_rows(2) == 0);
  server.load(config(given, "neg", 5, "3", engine::Execution::pool), {&sample, 1}, true);
  const auto publish = [&](std::uint64_t epoch, double share) {
    net::RouteSpec split =
        route("neg", epoch, {{2, engine::Arm::canary, share}, {1, engine::Arm::live, 1 - share}});
    if (epoch % 3 != 0) split.shadow = net::RouteSpec::ShadowSpec{5, epoch % 2 == 0 ? 1.0 : 0.5};
    split.slow_ns.fill(1);
    server.publish({std::move(split), route("pick", 1, {{3, engine::Arm::live, 1}}),
                    route("text", 1, {{4, engine::Arm::live, 1}})});
  };
  publish(1, 0.3);
  const std::string address = server.start("127.0.0.1:0");

  std::atomic<bool> stop{false};
  std::thread publisher([&] {
    for (std::uint64_t epoch = 2; !stop; ++epoch) {
      publish(epoch, epoch % 2 == 0 ? 0.5 : 0.1);
      server.configure_tokens({{static_cast<std::uint8_t>(epoch), {}}, epoch});
      server.confide(1, static_cast<double>(epoch));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::thread loader([&] {
    for (std::uint64_t key = 100; !stop; ++key) {
      server.load(config(given, "neg", key, "x", engine::Execution::pool), {&sample, 1}, true);
      server.retire(key, std::chrono::seconds(1));
    }
  });
  std::thread counter([&] {
    while (!stop) {
      answered(server);
      server.reservoir(1);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });

  std::vector<std::thread> clients;
  clients.emplace_back([&] { load(address, "ModelInfer", neg, "6000", "4", "16"); });
  clients.emplace_back([&] { load(address, "ModelInfer", neg, "2000", "2", "16", "somebody"); });
  clients.emplace_back([&] { load(address, "ModelInfer", pick, "3000", "2", "8"); });
  clients.emplace_back([&] { load(address, "ModelInfer", text, "2000", "2", "32"); });
  clients.emplace_back([&] { load(address, "ModelStreamInfer", neg, "2000", "2", "8"); });
  clients.emplace_back([&] {
    load(address, "ModelInfer", poison, "300", "2", "8");
    load(address, "ModelInfer", garbage, "300", "2", "8");
    load(address, "ServerMetadata", garbage, "500", "4", "16");
    load(address, "ServerReady", garbage, "100", "4", "1");
  });
  for (std::thread& client : clients) client.join();
  const std::uint64_t expected = 6000 + 2000 + 3000 + 2000 + 2000;
  for (int tries = 0; answered(server) != expected && tries < 500; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::printf("%llu of %llu\n", static_cast<unsigned long long>(answered(server)),
              static_cast<unsigned long long>(expected));
  CHECK(answered(server) == expected);
  // 8,000 unkeyed requests of the route with two arms, and one key; every run took longer than a nanosecond.
  const auto slow = static_cast<std::size_t>(engine::EventKind::slow);
  CHECK(evidence(server, engine::evidence::kUnits, false) == 8001);
  CHECK(evidence(server, engine::evidence::kFirst + slow, false) == 8001);
  CHECK(evidence(server, engine::evidence::kRequest + slow, false) == 8001);
  CHECK(evidence(server, engine::evidence::kOffered, true) > 0);

  // Broken off in the middle, and drained under load.
  std::thread last([&] { load(address, "ModelInfer", neg, "200000", "4", "64"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  server.drain(std::chrono::seconds(5), std::chrono::milliseconds(10));
  last.join();
  stop = true;
  publisher.join();
  loader.join();
  counter.join();
  server.publish({});
  server.retire(5, std::chrono::seconds(5));
  CHECK(evidence(server, engine::evidence::kOffered, true) ==
        evidence(server, engine::evidence::kCompared, true) +
            evidence(server, engine::evidence::kDropped, true));
  server.stop();
  cold.join();
  std::puts("ok");
}
