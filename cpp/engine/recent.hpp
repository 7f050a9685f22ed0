// What was made for the last few keys, to be used again: a handful, so that looking through them beats
// hashing.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace kedge::engine {

// `Entry` has `bool is(const Key&...)`. References stay valid until the next `get`.
template <class Entry>
class Recent {
 public:
  // The entry of these keys, or what `make` makes for them, in place of the oldest where there are enough.
  template <class Make, class... Key>
  Entry& get(Make&& make, const Key&... key) {
    if (last_ < entries_.size() && entries_[last_].is(key...)) return entries_[last_];
    for (last_ = 0; last_ < entries_.size(); ++last_) {
      if (entries_[last_].is(key...)) return entries_[last_];
    }
    if (entries_.size() < kKept) return entries_.emplace_back(make());
    last_ = oldest_;
    oldest_ = (oldest_ + 1) % kKept;
    return entries_[last_] = make();
  }

 private:
  static constexpr std::size_t kKept = 16;

  std::vector<Entry> entries_;
  std::size_t last_ = 0;
  std::size_t oldest_ = 0;
};

}  // namespace kedge::engine
