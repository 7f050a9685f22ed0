#include "engine/lane.hpp"

#include <cstring>
#include <deque>

#include "engine/environment.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

constexpr std::size_t kUsual = std::size_t{1} << 20U;  // of each input and output

// Requests for a model's one input, as the codec leaves them.
class Asked {
 public:
  void add(wire::DType type, std::vector<std::uint8_t> bytes, std::vector<std::int64_t> shape) {
    const auto& content = bytes_.emplace_back(std::move(bytes));
    wire::InputView& input = inputs_.emplace_back();
    input.dtype = type;
    input.elements = 1;
    for (const std::int64_t each : shape) {
      input.elements *= each;
      input.shape.values[input.shape.rank++] = each;
    }
    input.raw = content;
    input.in_place = true;
    Request& request = requests_.emplace_back();
    request.inputs.push_back(&input);
    request.rows = shape[0];
    pointers_.push_back(&request);
  }
  std::span<Request* const> all() const { return pointers_; }

 private:
  std::deque<std::vector<std::uint8_t>> bytes_;
  std::deque<wire::InputView> inputs_;
  std::deque<Request> requests_;
  std::vector<Request*> pointers_;
};

Lane lane(const test::Environment& given, const Runtime& runtime, const std::string& name) {
  ModelConfig config;
  config.session.path = given.models + "/" + name + ".onnx";
  config.batchable = true;
  return Lane(std::make_shared<Model>(runtime, std::move(config)));
}

std::vector<std::uint8_t> ones(std::size_t count) {
  const std::vector<float> values(count, 1.0F);
  std::vector<std::uint8_t> bytes(count * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Two requests together are copied to be one run's.
void large_numbers_are_let_go(const test::Environment& given, const Runtime& runtime) {
  Lane asked = lane(given, runtime, "neg");
  for (const std::int64_t rows : {300'000, 2, 300'000, 2}) {
    Asked requests;
    for (int i = 0; i < 2; ++i)
      requests.add(wire::DType::fp32, ones(static_cast<std::size_t>(rows) * 4), {rows, 4});
    asked.gather(requests.all());
    CHECK(asked.run().empty());
    CHECK(asked.outputs()[0].shape[0] == 2 * rows);
    const wire::Bytes y = asked.outputs()[0].bytes;
    float last = 0;
    std::memcpy(&last, y.data() + y.size() - sizeof last, sizeof last);
    CHECK(last == -1.0F);
    asked.let_go();
    CHECK(asked.bytes() > 0 || rows > 2);  // what a usual batch needs is kept
    CHECK(asked.bytes() <= 3 * kUsual);
  }
}

void large_texts_are_let_go(const test::Environment& given, const Runtime& runtime) {
  Lane asked = lane(given, runtime, "text");
  for (const std::int64_t rows : {300'000, 2}) {
    Asked requests;
    requests.add(wire::DType::bytes, std::vector<std::uint8_t>(static_cast<std::size_t>(rows) * 4), {rows});
    asked.gather(requests.all());
    CHECK(asked.run().empty());
    CHECK(asked.outputs()[0].offsets.size() == static_cast<std::size_t>(rows));
    asked.let_go();
    CHECK(asked.bytes() <= 2 * kUsual);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  const auto runtime = given.runtime();
  large_numbers_are_let_go(given, *runtime);
  large_texts_are_let_go(given, *runtime);
  std::puts("ok");
}
