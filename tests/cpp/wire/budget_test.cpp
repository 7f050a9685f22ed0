#include "wire/budget.hpp"

#include <doctest/doctest.h>

using namespace kedge::wire;

TEST_CASE("a reservation is taken from every level or from none") {
  Budget shard(100);
  const Budget::Owned first = Budget::make(80, &shard);
  const Budget::Owned second = Budget::make(80, &shard);
  Reservation a;
  Reservation b;
  CHECK(a.add(*first, 60));
  CHECK_FALSE(a.add(*first, 30));
  CHECK_FALSE(b.add(*second, 50));
  CHECK(second->used() == 0);
  CHECK(b.add(*second, 40));
  CHECK(shard.used() == 100);
  a.release();
  CHECK(shard.used() == 40);
  CHECK(first->used() == 0);
}

TEST_CASE("what exists already is charged past the limit, and then nothing more is taken") {
  Budget shard(100);
  Reservation held;
  held.charge(shard, 150);
  Reservation more;
  CHECK_FALSE(more.add(shard, 0));
  held.release();
  CHECK(more.add(shard, 100));
}

TEST_CASE("a reservation shrinks at every level") {
  Budget shard(100);
  const Budget::Owned connection = Budget::make(100, &shard);
  Reservation held;
  CHECK(held.add(*connection, 60));
  held.shrink(80);
  CHECK(shard.used() == 60);
  held.shrink(10);
  CHECK(shard.used() == 10);
  CHECK(connection->used() == 10);
  held.shrink(0);
  CHECK(shard.used() == 0);
}

TEST_CASE("a huge request does not wrap around") {
  Budget shard(100);
  Reservation held;
  CHECK(held.add(shard, 50));
  CHECK_FALSE(held.add(shard, SIZE_MAX));
  CHECK_FALSE(held.add(shard, SIZE_MAX - 49));
}

TEST_CASE("a budget whose owner is gone lives until its last reservation") {
  Budget shard(100);
  Budget::Owned connection = Budget::make(100, &shard);
  Reservation first;
  Reservation second;
  CHECK(first.add(*connection, 10));
  CHECK(second.add(*connection, 20));
  connection.reset();
  Reservation moved = std::move(first);
  CHECK(shard.used() == 30);
  moved.release();
  CHECK(shard.used() == 20);
  second = Reservation();
  CHECK(shard.used() == 0);
}

TEST_CASE("an answer may take as much again as its connection's limit, but never more than the shard has") {
  Budget shard(250);
  Budget connection(100, &shard);
  Reservation request;
  Reservation answer;
  Reservation more;
  CHECK(request.add(connection, 100));
  CHECK(answer.overdraw(connection, 100));
  CHECK_FALSE(more.overdraw(connection, 1));
  CHECK_FALSE(shard.take_shortage());
  Budget other(100, &shard);
  Reservation others;
  CHECK(others.overdraw(other, 50));
  CHECK_FALSE(others.overdraw(other, 1));
  CHECK(shard.take_shortage());
  CHECK_FALSE(shard.take_shortage());
  CHECK(shard.used() == 250);
}
