#include "wire/budget.hpp"

namespace kedge::wire {

void Budget::close() {
  closed_ = true;
  if (holders_ == 0) delete this;
}

void Budget::leave() {
  if (--holders_ == 0 && closed_) delete this;
}

}  // namespace kedge::wire
