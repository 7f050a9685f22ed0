#include "engine/shadow.hpp"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "engine/worker.hpp"

namespace kedge::engine {
namespace {

constexpr int kNice = 10;  // those who answer come first

}  // namespace

Shadow::Shadow(std::shared_ptr<Model> model) : model_(std::move(model)), wake_(::eventfd(0, EFD_CLOEXEC)) {
  if (wake_ < 0) throw LoadError("cannot make an eventfd for a shadow: too many open files?");
}

Shadow::~Shadow() {
  stop();
  ::close(wake_);
}

void Shadow::wake() {
  const std::uint64_t one = 1;
  // A full counter wakes as well; nothing else can fail.
  [[maybe_unused]] const ssize_t wrote = ::write(wake_, &one, sizeof one);
}

void Shadow::open() {
  const std::lock_guard lock(mutex_);
  open_ = true;
  if (running_ || stopping_) return;
  if (thread_.joinable()) thread_.join();
  running_ = true;
  thread_ = std::thread([this] { work(); });
}

void Shadow::close() {
  {
    const std::lock_guard lock(mutex_);
    open_ = false;
    called_.store(true);
  }
  wake();
}

bool Shadow::ended() {
  const std::lock_guard lock(mutex_);
  return !running_;
}

void Shadow::stop() {
  std::thread last;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    called_.store(true);
    last = std::move(thread_);
  }
  wake();
  if (last.joinable()) last.join();
}

std::future<void> Shadow::post(const std::function<void(Observer&)>& task) {
  std::packaged_task<void(Observer&)> posted(task);
  std::future<void> done = posted.get_future();
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(posted));
    if (!running_) {
      run_tasks();
      return done;
    }
    called_.store(true);
  }
  wake();
  return done;
}

std::shared_ptr<ShadowQueue> Shadow::connect(const std::shared_ptr<const ShadowRoute>& route) {
  auto queue = std::make_shared<ShadowQueue>();
  const std::lock_guard lock(connecting_);
  connected_.push_back({queue, route->as, route});
  called_.store(true);
  return queue;
}

// --- the thread ---

void Shadow::work() {
  setpriority(PRIO_PROCESS, 0, kNice);  // on Linux of this thread alone
  Lane lane(model_);
  while (true) {
    if (called_.load() && !between_batches()) return;
    const Waiting waiting = take();
    if (waiting.items.empty()) {
      sleep();
    } else {
      run(waiting, lane);
      lane.let_go();
    }
  }
}

// Until a writer or the control plane calls. The flag goes up before the last look at the queues: a writer
// that sees it down has written what this look finds.
void Shadow::sleep() {
  asleep_.store(true, std::memory_order_seq_cst);
  if (nothing_waits() && !called_.load(std::memory_order_seq_cst)) {
    std::uint64_t calls = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_, &calls, sizeof calls);
  }
  asleep_.store(false, std::memory_order_seq_cst);
}

// What the control plane asked for; false if the thread is to end.
bool Shadow::between_batches() {
  const std::lock_guard lock(mutex_);
  called_.store(false);
  run_tasks();
  if (!stopping_ && (open_ || !nothing_waits())) {
    called_.store(!open_);  // looks again after each batch until nothing waits
    return true;
  }
  running_ = false;
  fold();
  return false;
}

// With the lock held.
void Shadow::run_tasks() {
  std::vector<Source> connected;
  {
    const std::lock_guard lock(connecting_);
    connected.swap(connected_);
  }
  auto tasks = std::exchange(tasks_, {});
  if (connected.empty() && tasks.empty()) return;
  std::move(connected.begin(), connected.end(), std::back_inserter(sources_));
  fold();
  for (auto& task : tasks) task(observer_);
}

// Takes over what the writers counted, and lets go of those that are gone; with the lock held.
void Shadow::fold() {
  for (Source& source : sources_) {
    std::int64_t late = 0;  // came after the thread had ended
    while (!running_ && source.queue->pop() != nullptr) ++late;
    const ShadowQueue::Counts counts = source.queue->take_counts();
    Evidence* evidence = observer_.evidence(source.as);
    if (evidence == nullptr) continue;
    evidence->offered(counts.offered);
    evidence->dropped(counts.dropped + late);
    evidence->failed(counts.failed);
  }
  std::erase_if(sources_, [](const Source& source) {
    const bool gone = source.route.expired() || source.queue.use_count() == 1;
    return gone && source.queue->front() == nullptr;
  });
  observer_.fold();
}

bool Shadow::nothing_waits() const {
  return std::all_of(sources_.begin(), sources_.end(),
                     [](const Source& source) { return source.queue->front() == nullptr; });
}

// What waits and may run together. Queues take turns to go first.
Shadow::Waiting Shadow::take() {
  Waiting waiting;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const Source& source = sources_[(next_source_ + i) % sources_.size()];
    const ShadowItem* front = source.queue->front();
    if (waiting.items.empty()) waiting.as = source.as;
    while (front != nullptr && source.as == waiting.as && joins(waiting, *front)) {
      waiting.rows += front->rows;
      waiting.items.push_back(source.queue->pop());
      front = source.queue->front();
    }
  }
  ++next_source_;
  return waiting;
}

bool Shadow::joins(const Waiting& waiting, const ShadowItem& item) const {
  if (waiting.items.empty()) return true;
  const ShadowItem& first = *waiting.items.front();
  const ModelConfig& config = model_->config();
  if (!config.batchable || item.alone || first.alone || waiting.rows + item.rows > config.max_batch)
    return false;
  for (std::size_t i = 0; i < item.inputs.size(); ++i) {
    const auto a = first.inputs[i].shape.dims();
    const auto b = item.inputs[i].shape.dims();
    if (!std::equal(a.begin() + 1, a.end(), b.begin() + 1, b.end())) return false;
  }
  return true;
}

void Shadow::run(const Waiting& waiting, Lane& lane) {
  if (attempt(waiting, waiting.items, lane)) return;
  const bool alone = waiting.items.size() == 1;
  for (const auto& item : waiting.items) {
    if (!alone && attempt(waiting, {&item, 1}, lane)) continue;
    if (Evidence* evidence = observer_.evidence(waiting.as)) evidence->failed(1);
    observer_.answered(waiting.as, Code::kInternal, {});
  }
}

// Runs and counts items; false, and nothing counted, if the model fails.
bool Shadow::attempt(const Waiting& waiting, std::span<const std::unique_ptr<ShadowItem>> items, Lane& lane) {
  while (carriers_.size() < items.size()) carriers_.push_back(std::make_unique<Request>());
  carried_.clear();
  queue_ns_.clear();
  const std::int64_t start = monotonic_ns();
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Request& carrier = *carriers_[i];
    carrier.inputs.clear();
    for (const wire::InputView& input : items[i]->inputs) carrier.inputs.push_back(&input);
    carrier.rows = items[i]->rows;
    carried_.push_back(&carrier);
    queue_ns_.push_back(start - items[i]->offered_ns);
    rows += items[i]->rows;
  }
  lane.gather(carried_);
  const std::int64_t before = monotonic_ns();
  const bool failed = !lane.run().empty();
  const std::int64_t run_ns = monotonic_ns() - before;
  if (failed || !lane.uneven_output(rows).empty()) return false;
  observer_.ran(waiting.as, lane, {}, queue_ns_, run_ns, rows);
  const PredictionView& seen = lane.predicted(static_cast<std::size_t>(rows));
  Evidence* evidence = observer_.evidence(waiting.as);
  if (evidence == nullptr) return true;
  std::size_t row = 0;
  for (const auto& item : items) {
    const RowPrediction here = model_->score().read(seen, row);
    evidence->compared(item->live, item->live_ns, here, run_ns, model_->score().unit());
    row += static_cast<std::size_t>(item->rows);
  }
  return true;
}

}  // namespace kedge::engine
