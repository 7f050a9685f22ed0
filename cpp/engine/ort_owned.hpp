// Frees what a function of the C interface made.
#pragma once

namespace kedge::ort {

// `value` is filled through its address and released at the end of the scope.
template <class T>
struct Owned {
  T* value = nullptr;
  void (*release)(T*);

  explicit Owned(void (*how)(T*)) : release(how) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (value != nullptr) release(value);
  }
};

}  // namespace kedge::ort
