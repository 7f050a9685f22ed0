// The request path of one shard: receive, decode, pick, add, run, send, observe. Touched by the shard's
// thread alone.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "engine/executor.hpp"
#include "engine/infer_stream.hpp"
#include "engine/route_table.hpp"
#include "engine/worker.hpp"

namespace kedge::engine {

inline constexpr const char* kDraining = "the server is draining; ask another one";

// What the pipeline shares with the rest of the server; outlives it.
struct Shared {
  RoutePointer& routes;
  std::atomic<bool> leaving{false};   // answers "not ready", still serves: balancers look elsewhere
  std::atomic<bool> draining{false};  // new requests are refused
  // Whether this model and version is loaded and was never routed to. Asked only where no route is found.
  std::function<bool(std::string_view model, std::string_view version)> waiting;

  Sealing sealing;

  explicit Shared(RoutePointer& pointer) : routes(pointer) {}
};

class Pipeline {
 public:
  // `flush` writes every dirty connection's output.
  Pipeline(std::uint32_t shard, Shared& shared, std::function<void()> flush);
  ~Pipeline();

  // The events of ModelInfer and ModelStreamInfer calls, in the words of wire::CallHandler.
  void open_unary(Peer& peer, wire::Call& call);
  void open_stream(Peer& peer, wire::Call& call);
  void receive(Peer& peer, wire::Call& call, wire::Message&& message);
  void half_close(wire::Call& call);
  void ended(wire::Call& call);

  // Reads the route table again; batches under way for the old one are closed.
  void refresh();
  // Runs every batch that should not wait any longer and sends the answers.
  void run_batches();
  // Counts what was sent. Call after the connections were flushed.
  void observe();

  // Requests that come back from an executor.
  void answered(std::span<Request* const> requests);
  void released(std::span<Request* const> requests);

  // Ends streams past their deadline, and in a drain those that have had all their answers.
  void expire(std::int64_t now);
  // Ends every call: the drain is out of time.
  void fail_all();
  // Drops what is kept for retired models.
  void tidy();

  const RouteTable* table() const { return table_; }
  Observer& observer() { return worker_.observer(); }
  // Requests decoded since the last call, to bound a turn.
  std::size_t take_decoded() { return std::exchange(decoded_, 0); }
  // When the next batch that waits for company must run, or a request that waits for a pool is answered that
  // its deadline passed; 0 for never.
  std::int64_t next_due_ns() const;
  // Requests that no answer was sent for yet.
  std::size_t under_way() const { return under_way_; }
  void set_turn(std::int64_t now) { now_ = now; }

 private:
  using TargetPtr = std::shared_ptr<const Target>;
  const TargetPtr* pick(Request& request, const wire::Call* call, Answer& refusal);
  void refuse(Request* request, Code code, std::string message);
  bool prepare(Request& request, const TargetPtr& target);
  void add(Request* request, const TargetPtr& target);
  void add_inline(Request* request, const TargetPtr& target, std::int64_t most);
  void close(Batch& batch);
  void run(Batch& batch);
  void hand_to_pools();
  void expire_waiting();
  void send(Request& request);
  void resume_streams();
  Request* make();
  void trim();
  void recycle(Request* request);

  const std::uint32_t shard_;
  Shared& shared_;
  std::function<void()> flush_;
  const RouteTable* table_ = nullptr;
  std::uint64_t generation_ = 0;
  std::int64_t now_ = 0;
  std::mt19937_64 random_;
  Worker worker_;

  struct PoolShare {
    TargetPtr target;
    std::vector<Request*> requests;
  };
  std::vector<Batch> forming_;         // by Target::index of the table in force
  std::vector<std::uint32_t> active_;  // indices of `forming_` that hold requests
  std::vector<Batch> ready_;           // to run in this turn
  std::vector<PoolShare> for_pools_;   // to hand over in this turn
  std::vector<ExecutorPool::Refused> refused_;
  struct Deadline {
    std::shared_ptr<Model> model;
    std::int64_t at_ns;  // the earliest among those that wait for its pool, or earlier
  };
  std::vector<Deadline> deadlines_;
  std::vector<Request*> sent_;  // to be observed, then recycled
  std::vector<std::unique_ptr<Request>> all_;
  std::vector<Request*> free_;
  std::size_t unused_ = 0;  // the fewest of `free_` since the last `trim`
  std::vector<InferStream*> streams_;
  std::vector<InferStream*> to_resume_;
  std::size_t decoded_ = 0;
  std::size_t under_way_ = 0;
  bool odd_turn_ = false;
};

}  // namespace kedge::engine
