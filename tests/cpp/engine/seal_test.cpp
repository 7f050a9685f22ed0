#include "engine/seal.hpp"

#include <set>
#include <thread>

#include "engine/environment.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

constexpr wire::TokenKey kOld = {1, {1}};
constexpr wire::TokenKey kNew = {2, {2}};

std::shared_ptr<Model> model(const test::Environment& given, const Runtime& runtime, bool outcomes) {
  ModelConfig config;
  config.session.path = given.models + "/neg.onnx";
  config.bundle = "deadbeef01020304" + std::string(48, '0');
  config.outcomes = outcomes;
  return std::make_shared<Model>(runtime, std::move(config));
}

wire::Prediction opened(const wire::TokenText& token, const wire::TokenKey& key) {
  const Result<wire::Prediction> read = wire::decode_token(token.view(), {&key, 1});
  CHECK(read.ok());
  return read.value();
}

void a_token_says_where_it_was_made(const std::shared_ptr<Model>& model) {
  Sealing sealing;
  Sealer first(sealing);
  Sealer second(sealing);
  const Target target{model, Arm::canary, (std::uint64_t{1} << 32) + 7, 0, 1};
  CHECK(!second.start(target));  // no key yet
  sealing.use({kOld, 0x0123456789ABCDEF});
  CHECK(second.start(target));
  const auto token = opened(second.seal(0xABCDE, 515, wire::PredictedValue{1, 0, 2}), kOld);
  CHECK((token.bundle == std::array<std::uint8_t, 8>{0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4}));
  CHECK(token.epoch == 7 && token.boot == 0x0123456789ABCDEF && token.shard == 1 && token.sequence == 0);
  CHECK(token.arm == 2 && token.key_bits == 0xABCDE && token.slice == 515 && token.seconds > 1'700'000'000);
  CHECK((std::get<wire::PredictedValue>(token.predicted) == wire::PredictedValue{1, 0, 2}));
}

void a_bundle_without_outcomes_is_not_sealed(const std::shared_ptr<Model>& silent) {
  Sealing sealing;
  sealing.use({kOld, 1});
  Sealer sealer(sealing);
  CHECK(!sealer.start({silent, Arm::live, 1, 0, 1}));
}

void a_new_key_seals_from_the_next_batch_on(const std::shared_ptr<Model>& model) {
  Sealing sealing;
  sealing.use({kOld, 1});
  Sealer sealer(sealing);
  const Target target{model, Arm::live, 1, 0, 1};
  CHECK(sealer.start(target));
  CHECK(opened(sealer.seal(0, 0, {}), kOld).sequence == 0);
  sealing.use({kNew, 2});
  CHECK(opened(sealer.seal(0, 0, {}), kOld).sequence == 1);  // the batch under way
  CHECK(sealer.start(target));
  const auto token = opened(sealer.seal(0, 0, {}), kNew);
  CHECK(token.boot == 2 && token.sequence == 2);
}

void many_targets_in_turn_keep_their_own_origin(const std::shared_ptr<Model>& model) {
  Sealing sealing;
  sealing.use({kOld, 1});
  Sealer sealer(sealing);
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::uint64_t epoch = 1 + i * 7 % 40;  // more than are remembered
    const Target target{model, Arm::live, epoch, 0, epoch};
    CHECK(sealer.start(target));
    const auto token = opened(sealer.seal(0, 0, {}), kOld);
    CHECK(token.epoch == epoch && token.sequence == i);
  }
}

void numbers_are_used_again_and_ids_never(const std::shared_ptr<Model>& model) {
  Sealing sealing;
  sealing.use({kOld, 1});
  std::set<std::pair<std::uint16_t, std::uint64_t>> seen;
  const Target target{model, Arm::live, 1, 0, 1};
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<wire::Prediction>> sealed(4);
    std::vector<std::thread> threads;
    for (auto& mine : sealed) {
      threads.emplace_back([&] {
        Sealer sealer(sealing);
        CHECK(sealer.start(target));
        for (int i = 0; i < 20; ++i) mine.push_back(opened(sealer.seal(0, 0, {}), kOld));
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& mine : sealed) {
      for (const wire::Prediction& token : mine) {
        CHECK(token.shard < 4);
        CHECK(seen.emplace(token.shard, token.sequence).second);
      }
    }
  }
}

void there_is_an_end_to_numbers() {
  Sealing sealing;
  for (int i = 0; i < 65536; ++i) CHECK(sealing.take().number == i);
  bool refused = false;
  try {
    (void)sealing.take();
  } catch (const std::runtime_error&) {
    refused = true;
  }
  CHECK(refused);
  sealing.give_back({3, 9});
  CHECK(sealing.take().next == 9);
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  const auto runtime = given.runtime();
  const auto usual = model(given, *runtime, true);
  a_token_says_where_it_was_made(usual);
  a_bundle_without_outcomes_is_not_sealed(model(given, *runtime, false));
  a_new_key_seals_from_the_next_batch_on(usual);
  many_targets_in_turn_keep_their_own_origin(usual);
  numbers_are_used_again_and_ids_never(usual);
  there_is_an_end_to_numbers();
  std::puts("ok");
}
