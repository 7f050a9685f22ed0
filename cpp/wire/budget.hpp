// Byte budgets: a connection's inside its shard's. Memory is reserved when a length is declared, before it is
// used, so half-received messages cannot exhaust memory together.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace kedge::wire {

// Not thread-safe: a budget and everything reserved from it belong to one shard. A parent must outlive its
// children.
class Budget {
 public:
  explicit Budget(std::size_t limit, Budget* parent = nullptr) : limit_(limit), parent_(parent) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // A budget whose owner may end before the last reservation does, as a connection ends before its queued
  // requests.
  struct Close {
    void operator()(Budget* budget) const { budget->close(); }
  };
  using Owned = std::unique_ptr<Budget, Close>;
  static Owned make(std::size_t limit, Budget* parent) { return Owned(new Budget(limit, parent)); }

  // Takes `bytes` here and in every parent, or nothing at all.
  [[nodiscard]] bool try_take(std::size_t bytes) {
    if (used_ > limit_ || bytes > limit_ - used_) {
      short_ = true;
      return false;
    }
    if (parent_ != nullptr && !parent_->try_take(bytes)) return false;
    used_ += bytes;
    return true;
  }
  // Takes `bytes` of an answer that is there already: here up to as much again as the limit, so that a
  // request and its answer fit together; in parents as `try_take`.
  [[nodiscard]] bool try_overdraw(std::size_t bytes) {
    if (used_ > 2 * limit_ || bytes > 2 * limit_ - used_) return false;
    if (parent_ != nullptr && !parent_->try_take(bytes)) return false;
    used_ += bytes;
    return true;
  }
  // Takes `bytes` that exist already and are bounded otherwise, past the limit if need be.
  void charge(std::size_t bytes) {
    used_ += bytes;
    if (parent_ != nullptr) parent_->charge(bytes);
  }
  void give_back(std::size_t bytes) {
    used_ -= bytes;
    if (parent_ != nullptr) parent_->give_back(bytes);
  }
  [[nodiscard]] std::size_t used() const { return used_; }
  // Whether somebody was refused since the last call.
  [[nodiscard]] bool take_shortage() { return std::exchange(short_, false); }
  [[nodiscard]] std::size_t limit() const { return limit_; }

 private:
  friend class Reservation;
  void close();
  void leave();

  std::size_t limit_;
  std::size_t used_ = 0;
  Budget* parent_;
  std::size_t holders_ = 0;
  bool closed_ = false;
  bool short_ = false;
};

// Bytes held from a budget, given back when this ends; it must end on the budget's shard.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Reservation& operator=(Reservation&& other) noexcept {
    if (this != &other) {
      release();
      budget_ = std::exchange(other.budget_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() { release(); }

  // Adds `bytes` from `budget` (the same one every time); false and unchanged if it has not that many left.
  [[nodiscard]] bool add(Budget& budget, std::size_t bytes) {
    if (!budget.try_take(bytes)) return false;
    hold(budget, bytes);
    return true;
  }
  // Adds bytes that exist already: see Budget::try_overdraw, Budget::charge.
  [[nodiscard]] bool overdraw(Budget& budget, std::size_t bytes) {
    if (!budget.try_overdraw(bytes)) return false;
    hold(budget, bytes);
    return true;
  }
  void charge(Budget& budget, std::size_t bytes) {
    budget.charge(bytes);
    hold(budget, bytes);
  }
  // Gives back all but `bytes`.
  void shrink(std::size_t bytes) {
    if (bytes >= bytes_) return;
    budget_->give_back(bytes_ - bytes);
    bytes_ = bytes;
  }
  void release() {
    if (budget_ == nullptr) return;
    budget_->give_back(bytes_);
    budget_->leave();
    budget_ = nullptr;
    bytes_ = 0;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void hold(Budget& budget, std::size_t bytes) {
    if (budget_ == nullptr) {
      budget_ = &budget;
      ++budget.holders_;
    }
    bytes_ += bytes;
  }

  Budget* budget_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace kedge::wire
