// A drain that is out of time ends calls whose requests still run; both go their own ways from then on.
#include "net/one_model.hpp"

using namespace kedge;  // NOLINT: a test

namespace {

void a_call_that_ends_after_its_request_does_not_touch_it(const test::Environment& given) {
  test::OneModel served(given);
  engine::Pipeline& pipeline = served.pipeline;
  {
    test::Unread peer(pipeline, served.budget);
    std::string said = test::http2_greeting();
    constexpr std::uint32_t calls = 8;
    for (std::uint32_t call = 0; call < calls; ++call) {
      said += test::http2_call(2 * call + 1, "/x/ModelInfer");
      said += test::http2_body(2 * call + 1, test::text_request("a"));
    }
    CHECK(peer.session.feed(wire::as_bytes(said)));
    pipeline.run_batches();
    CHECK(pipeline.under_way() == calls);
    served.returns.await(calls);
    CHECK(pipeline.under_way() == calls);
    pipeline.fail_all();
    pipeline.answered(served.returns.answers);
    pipeline.observe();
    pipeline.released(served.returns.done);
    CHECK(pipeline.under_way() == 0);
    for (int turn = 0; turn < 3; ++turn) pipeline.expire(1);  // spare requests are freed
    CHECK(peer.session.open_calls() == calls);                // the client has read nothing yet
    peer.session.abandon();
  }
  CHECK(served.budget.used() == 0);
}

}  // namespace

int main(int argc, char** argv) {
  const test::Environment given(argc, argv);
  a_call_that_ends_after_its_request_does_not_touch_it(given);
  std::puts("ok");
}
