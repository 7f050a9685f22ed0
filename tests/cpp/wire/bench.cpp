// CPU nanoseconds an operation, for the steps a request takes. Figures move with the machine: compare within
// one run.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "client.hpp"
#include "message.hpp"
#include "wire/grpc_session.hpp"
#include "wire/infer_request.hpp"
#include "wire/infer_response.hpp"
#include "wire/sticky.hpp"
#include "wire/token.hpp"

using namespace kedge;
using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

template <class T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

// CPU time of this thread: what the machine's other work does not change much.
double cpu_ns() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// The best of nine runs.
template <class Operation>
void measure(const char* name, int count, Operation operation) {
  double best = 1e18;
  for (int run = 0; run < 9; ++run) {
    const double start = cpu_ns();
    for (int i = 0; i < count; ++i) operation();
    best = std::min(best, (cpu_ns() - start) / count);
  }
  std::printf("%-58s %10.1f ns\n", name, best);
}

class Echo final : public CallHandler {
 public:
  Method method(std::string_view) override { return {}; }
  void on_call(Call&) override {}
  void on_message(Call& call, Message&& message) override {
    Buffer answer;
    std::uint8_t* to = answer.extend(frame_prefix_bytes + message.bytes.size());
    write_frame_prefix(to, message.bytes.size());
    std::memcpy(to + frame_prefix_bytes, message.bytes.data(), message.bytes.size());
    session->finish(call, std::move(answer));
  }
  void on_half_close(Call&) override {}
  void on_ended(Call&, Ended) override {}
  GrpcSession* session = nullptr;
};

// Server time a unary echo of `size` bytes takes, `streams` at a time; the client's part is prepared and not
// measured.
void measure_session(std::size_t size, int streams) {
  Client client;
  Echo echo;
  Budget shard(limits::max_shard_bytes);
  GrpcSession session(echo, shard, {});
  echo.session = &session;
  exchange(client, session);
  double best = 1e18;
  for (int run = 0; run < 200; ++run) {
    for (int i = 0; i < streams; ++i) {
      client.request("/inference.GRPCInferenceService/ModelInfer", framed(std::string(size, 'x')),
                     {{"user-agent", "bench/1"}});
    }
    const std::string up = client.output();
    Output output;
    const double start = cpu_ns();
    session.feed(as_bytes(up));
    session.pull(output);
    best = std::min(best, (cpu_ns() - start) / streams);
    client.input(drain(output));
    exchange(client, session);
    client.answers.clear();
  }
  std::printf("session: unary echo of %4zu bytes, %3d at a time %18.1f ns\n", size, streams, best);
}

}  // namespace

int main() {
  const std::string raw = bytes(1, "flights-late") + bytes(3, "1") + input("X", "FP32", {1, 32}) +
                          bytes(7, std::string(128, '\1'));
  InferRequest request;
  measure("decode + check: raw [1,32] FP32", 1'000'000, [&] {
    keep(decode(as_bytes(raw), request));
    keep(check_data(request));
  });
  const std::string typed =
      bytes(1, "flights-late") + input("X", "FP32", {1, 32}, bytes(5, bytes(6, std::string(128, '\1'))));
  measure("decode + check: typed [1,32] FP32", 1'000'000, [&] {
    keep(decode(as_bytes(typed), request));
    keep(check_data(request));
  });
  std::string many = bytes(1, "flights-late");
  for (int i = 0; i < 32; ++i) many += input("feature_" + std::to_string(i), "FP32", {1, 1});
  for (int i = 0; i < 32; ++i) many += bytes(7, "abcd");
  measure("decode + check: 32 inputs of raw [1,1] FP32", 100'000, [&] {
    keep(decode(as_bytes(many), request));
    keep(check_data(request));
  });

  const std::int64_t label_shape[] = {1};
  const std::int64_t probabilities_shape[] = {1, 2};
  const std::string label(8, '\0');
  const std::string probabilities(8, '\0');
  const OutputView outputs[] = {
      {"label", DType::int64, label_shape, as_bytes(label), {}},
      {"probabilities", DType::fp32, probabilities_shape, as_bytes(probabilities), {}}};
  const std::string bundle(64, 'a');
  const ResponseParameter parameters[] = {{"kedge_bundle", std::string_view(bundle)},
                                          {"kedge_arm", std::string_view("live")}};
  const InferResponse response = {"flights-late", "1.0.0", "1", parameters, outputs, true};
  measure("encode: two outputs, two parameters", 1'000'000, [&] { keep(encode(response, Framing::unary)); });

  const Buffer head = encode_head("flights-late", "1.0.0", parameters);
  const InferResponse headed = {{}, {}, "1", {}, outputs, true, head.view()};
  measure("encode: the same, its head encoded before", 1'000'000,
          [&] { keep(encode(headed, Framing::unary)); });
  const std::string id(72, 'a');
  const ResponseParameter sealed[] = {{"kedge_prediction_id", std::string_view(id)}};
  const InferResponse with_id = {{}, {}, "1", sealed, outputs, true, head.view()};
  measure("encode: and a prediction id", 1'000'000, [&] { keep(encode(with_id, Framing::unary)); });

  Prediction prediction;
  prediction.predicted = PredictedClass{.label = 1, .count = 2, .probabilities = {1, 2}};
  const TokenKey key = {1, {1, 2, 3}};
  const TokenSealer sealer(key, prediction);
  measure("token: seal", 1'000'000, [&] { keep(sealer.seal(prediction)); });
  const TokenText token = sealer.seal(prediction);
  measure("token: decode", 1'000'000, [&] { keep(decode_token(token.view(), {&key, 1})); });
  measure("sticky hash of a 12-byte key", 1'000'000,
          [&] { keep(sticky_hash(key.secret, "user-1234567", 473'000)); });

  measure_session(150, 1);
  measure_session(150, 64);
  return 0;
}
