#include "engine/session.hpp"

#include <cstring>
#include <numeric>

#include "engine/environment.hpp"

using namespace kedge;          // NOLINT: a test
using namespace kedge::engine;  // NOLINT: a test

namespace {

template <class T>
TensorView view(ort::Element type, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  return {type,
          Shape(shape),
          {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(T)},
          {},
          {}};
}

template <class T>
std::vector<T> values(const TensorView& tensor) {
  std::vector<T> out(tensor.bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
  return out;
}

void numbers_of_any_batch_size(const test::Environment& given, const Runtime& runtime) {
  Runner runner(given.session(runtime, "neg"), true);
  for (const int rows : {1, 7, 1, 256, 300, 3, 0}) {
    std::vector<float> x(static_cast<std::size_t>(rows) * 4);
    std::iota(x.begin(), x.end(), 1.0F);
    const TensorView in = view(ort::Element::float32, {rows, 4}, x);
    CHECK(runner.run({&in, 1}).empty());
    CHECK(runner.outputs()[0].shape == in.shape);
    const std::vector<float> y = values<float>(runner.outputs()[0]);
    const std::vector<float> total = values<float>(runner.outputs()[1]);
    CHECK(y.size() == x.size() && total.size() == static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == -x[i]);
    for (std::size_t i = 0; i < total.size(); ++i) CHECK(total[i] == static_cast<float>(16 * i + 10));
  }
}

void strings_with_nul_and_nothing(const test::Environment& given, const Runtime& runtime) {
  Runner runner(given.session(runtime, "text"), true);
  const std::string_view texts[] = {std::string_view("a\0b", 3), {}, "\xff\xfe"};
  const TensorView in = {ort::Element::string, Shape(std::vector<std::int64_t>{3}), {}, texts, {}};
  for (int again = 0; again < 2; ++again) {
    CHECK(runner.run({&in, 1}).empty());
    const TensorView& out = runner.outputs()[0];
    CHECK((values<char>(out) == std::vector<char>{'a', '\0', 'b', '\xff', '\xfe'}));
    CHECK(out.offsets.size() == 3 && out.offsets[1] == 3 && out.offsets[2] == 3);
  }
  const TensorView none = {ort::Element::string, Shape(std::vector<std::int64_t>{0}), {}, {}, {}};
  CHECK(runner.run({&none, 1}).empty());
  CHECK(runner.outputs()[0].bytes.empty() && runner.outputs()[0].offsets.empty());
}

void outputs_of_unknown_shape(const test::Environment& given, const Runtime& runtime) {
  Runner runner(given.session(runtime, "nonzero"), false);
  for (const std::vector<float>& x : {std::vector<float>{0, 3, 0, 5}, std::vector<float>{0, 0}}) {
    const TensorView in = view(ort::Element::float32, {static_cast<std::int64_t>(x.size())}, x);
    CHECK(runner.run({&in, 1}).empty());
    std::vector<std::int64_t> expected;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (x[i] != 0) expected.push_back(static_cast<std::int64_t>(i));
    }
    CHECK(values<std::int64_t>(runner.outputs()[0]) == expected);
    CHECK(runner.outputs()[0].shape[1] == static_cast<std::int64_t>(expected.size()));
  }
}

void every_number_type(const test::Environment& given, const Runtime& runtime) {
  const auto session = given.session(runtime, "every");
  Runner runner(session, true);
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<TensorView> in;
  for (const TensorSpec& spec : session->inputs()) {
    bytes.emplace_back(3 * 2 * element_size(spec.type));
    for (std::size_t i = 0; i < bytes.back().size(); ++i) bytes.back()[i] = i % 2;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i)
    in.push_back(view(session->inputs()[i].type, {3, 2}, bytes[i]));
  CHECK(in.size() == 13);
  CHECK(runner.run(in).empty());
  for (std::size_t i = 0; i < in.size(); ++i) CHECK(values<std::uint8_t>(runner.outputs()[i]) == bytes[i]);
}

void a_failed_run_says_why_in_one_line_and_leaves_the_runner_usable(const test::Environment& given,
                                                                    const Runtime& runtime) {
  Runner runner(given.session(runtime, "pick"), true);
  const std::vector<std::int64_t> bad = {1, 99};
  const std::vector<std::int64_t> good = {1, 9};
  const TensorView poisoned = view(ort::Element::int64, {2}, bad);
  const std::string message = runner.run({&poisoned, 1});
  CHECK(!message.empty() && message.find('\n') == std::string::npos &&
        message.find(".cc:") == std::string::npos);
  const TensorView clean = view(ort::Element::int64, {2}, good);
  CHECK(runner.run({&clean, 1}).empty());
  CHECK((values<float>(runner.outputs()[0]) == std::vector<float>{10, 90}));
}

template <class F>
std::string error_of(F&& load) {
  try {
    load();
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

void what_cannot_be_used_is_named(const test::Environment& given, const Runtime& runtime) {
  CHECK(error_of([&] { given.session(runtime, "absent"); }).starts_with("model: "));
  SessionOptions options;
  options.path = given.models + "/neg.onnx";
  options.providers = {"NoSuchExecutionProvider"};
  CHECK(error_of([&] { Session(runtime, options); }).find("NoSuchExecutionProvider") != std::string::npos);
  CHECK(error_of([&] { Runtime::open({given.library, "0.0.1", 1}); }).find("0.0.1") != std::string::npos);
  CHECK(error_of([&] { Runtime::open({"/nowhere.so", "1", 1}); }).find("cannot open") != std::string::npos);
}

void paths_do_not_leave_the_process() {
  CHECK(plain_message("/src/a/b.cc:12 void f(int) bad index 7\nmore") == "bad index 7");
  CHECK(plain_message("Load model from /var/m.onnx failed") == "Load model from ... failed");
  CHECK(plain_message(nullptr).empty());
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  const auto runtime = given.runtime();
  numbers_of_any_batch_size(given, *runtime);
  strings_with_nul_and_nothing(given, *runtime);
  outputs_of_unknown_shape(given, *runtime);
  every_number_type(given, *runtime);
  a_failed_run_says_why_in_one_line_and_leaves_the_runner_usable(given, *runtime);
  what_cannot_be_used_is_named(given, *runtime);
  paths_do_not_leave_the_process();
  std::puts("ok");
}
