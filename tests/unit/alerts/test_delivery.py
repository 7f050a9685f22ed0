from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from kedge.alerts.delivery import Delivery
from kedge.alerts.manager import AlertManager
from kedge.alerts.model import Notification, Severity
from kedge.alerts.outbox import Outbox
from kedge.alerts.routing import Router
from kedge.alerts.settings import parse
from kedge.alerts.sinks.base import Delivered, Outcome, Retry
from kedge.alerts.sinks.select import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clock
    from kedge_testing.receiver import Received, Receiver

    from kedge.alerts.database import Database
    from kedge.alerts.model import Finding, Origin

    Make = Callable[..., Finding]
    Start = Callable[..., Receiver]


class Bench:
    """A manager, an outbox and a delivery over real webhooks, and clocks that stand still."""

    def __init__(self, database: Database, clock: Clock, monotonic: Clock, urls: dict[str, str]) -> None:
        sinks = [{"name": name, "type": "webhook", "url": url, "timeout": 30} for name, url in urls.items()]
        config = parse({"sinks": sinks, "clear_after": 1}, "alerts")
        built = build(config, {})
        self.outbox = Outbox(database)
        self.manager = AlertManager(
            database, self.outbox, Router(config), dict.fromkeys(built, 3600.0), clear_after=1, labels={}, clock=clock
        )
        self.monotonic = monotonic
        self.delivery = Delivery(
            self.outbox, built, clock=clock, monotonic=monotonic, random=lambda: 1.0
        )  # random 1: whole pauses

    def settle(self) -> float | None:
        """Try until nothing may be tried now."""
        while (pause := self.delivery.attempt()) == 0.0:
            pass
        return pause


@pytest.fixture
def bench(database: Database, clock: Clock) -> Callable[..., Bench]:
    def make(**urls: str) -> Bench:
        monotonic = type(clock)(50.0)
        return Bench(database, clock, monotonic, urls)

    return make


def kinds(requests: list[Received]) -> list[tuple[str, str]]:
    return [(each.body["data"]["subject"], each.body["type"].rpartition(".")[2]) for each in requests]


def test_messages_arrive_in_order_and_once(bench: Any, receiver: Start, origin: Origin, finding: Make) -> None:
    server = receiver()
    rig = bench(hook=server.url)
    assert rig.settle() is None
    rig.manager.observe(origin, "drift", [finding("a"), finding("b")])
    rig.manager.observe(origin, "drift", [finding("b", Severity.CRITICAL)])
    assert rig.settle() is None
    assert kinds(server.requests) == [("a", "firing"), ("b", "firing"), ("b", "escalated"), ("a", "resolved")]
    assert rig.delivery.counts() == {("hook", "delivered"): 4}


def test_pauses_double_up_to_a_bound_and_the_message_stays_the_same(
    bench: Any, receiver: Start, origin: Origin, finding: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = receiver(lambda n, _request: (503 if n <= 9 else 200, {}))
    rig = bench(hook=server.url)
    rig.manager.observe(origin, "drift", [finding("a")])
    pauses = []
    with caplog.at_level(logging.WARNING):
        while (pause := rig.settle()) is not None:
            pauses.append(pause)
            rig.monotonic.now += pause
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert len({each.body["id"] for each in server.requests}) == 1
    assert {each.headers["Idempotency-Key"] for each in server.requests} == {server.requests[0].body["id"]}
    assert rig.delivery.counts() == {("hook", "retried"): 9, ("hook", "delivered"): 1}
    assert caplog.records[0].__dict__["data"]["reason"] == f"{server.url} answered 503: said"


def test_randomness_spreads_pauses_over_half_their_length(
    database: Database, clock: Clock, receiver: Start, origin: Origin, finding: Make
) -> None:
    server = receiver(lambda _n, _request: (500, {}))
    rig = Bench(database, clock, type(clock)(0.0), {"hook": server.url})
    draws = iter([0.0, 0.0, 0.5, 0.5])
    rig.delivery = Delivery(
        rig.outbox, build(parse({"sinks": [{"name": "hook", "type": "webhook", "url": server.url}]}, "a"), {}),
        clock=clock, monotonic=rig.monotonic, random=lambda: next(draws),
    )  # fmt: skip
    rig.manager.observe(origin, "drift", [finding("a")])
    assert rig.settle() == 0.5
    rig.monotonic.now += 0.5
    assert rig.settle() == 1.5


def test_a_server_that_asks_for_a_longer_pause_gets_it(
    bench: Any, receiver: Start, origin: Origin, finding: Make
) -> None:
    server = receiver(lambda _n, _request: (429, {"Retry-After": "90"}))
    rig = bench(hook=server.url)
    rig.manager.observe(origin, "drift", [finding("a")])
    assert rig.settle() == 90.0


def test_a_sink_that_is_down_loses_nothing_and_holds_up_nobody(
    bench: Any, receiver: Start, origin: Origin, finding: Make
) -> None:
    up, down = receiver(), receiver()
    down.close()
    rig = bench(down=down.url, up=up.url)
    for n in range(5):
        rig.manager.observe(origin, f"s{n}", [finding(f"feature {n}")])
    rig.manager.observe(origin, "s0", [])
    assert rig.settle() == 1.0
    assert len(up.requests) == 6
    assert rig.delivery.counts()[("down", "retried")] == 1, "the sink pauses as a whole"

    back = receiver(port=down.port)
    while (pause := rig.settle()) is not None:
        rig.monotonic.now += pause
    assert sorted(kinds(back.requests)) == sorted(kinds(up.requests))
    for n in range(5):
        lane = [kind for subject, kind in kinds(back.requests) if subject == f"feature {n}"]
        assert lane == (["firing", "resolved"] if n == 0 else ["firing"])


def test_a_message_a_server_cannot_stomach_holds_up_only_its_own_lane(
    bench: Any, receiver: Start, origin: Origin, finding: Make
) -> None:
    server = receiver(lambda _n, request: (500 if request.body["data"]["subject"] == "bad" else 200, {}))
    rig = bench(hook=server.url)
    rig.manager.observe(origin, "s", [finding("bad")])
    rig.manager.observe(origin, "t", [finding("good")])
    rig.manager.observe(origin, "s", [])
    for _ in range(6):
        rig.monotonic.now += rig.settle()
    sent = kinds(server.requests)
    assert ("good", "firing") in sent
    assert ("bad", "firing") in sent
    assert ("bad", "resolved") not in sent, "within a lane nothing overtakes"


def test_a_refused_message_makes_way(
    bench: Any, receiver: Start, origin: Origin, finding: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = receiver(lambda n, _request: (400 if n == 1 else 200, {}))
    rig = bench(hook=server.url)
    rig.manager.observe(origin, "s", [finding("a")])
    rig.manager.observe(origin, "s", [])
    assert rig.settle() is None
    assert kinds(server.requests) == [("a", "firing"), ("a", "resolved")]
    assert rig.delivery.counts() == {("hook", "refused"): 1, ("hook", "delivered"): 1}
    assert "refused for good" in caplog.text


def test_sinks_take_turns(bench: Any, receiver: Start, origin: Origin, finding: Make) -> None:
    order: list[str] = []
    first = receiver(lambda _n, _r: (order.append("first"), (200, {}))[1])
    second = receiver(lambda _n, _r: (order.append("second"), (200, {}))[1])
    rig = bench(first=first.url, second=second.url)
    rig.manager.observe(origin, "s", [finding(str(n)) for n in range(3)])
    rig.settle()
    assert order == ["first", "second"] * 3


def test_a_fault_of_our_own_is_kept_to_its_sink(
    database: Database, clock: Clock, origin: Origin, finding: Make, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[Notification] = []

    class Broken:
        refresh: float | None = None

        def deliver(self, _message: Notification, _now: float) -> Outcome:
            raise RuntimeError("bug")

    class Fine:
        refresh: float | None = None

        def deliver(self, message: Notification, _now: float) -> Outcome:
            taken.append(message)
            return Delivered() if len(taken) > 1 else Retry("busy")

    sinks = [{"name": name, "type": "webhook", "url": "https://h/"} for name in ("broken", "fine")]
    outbox, config, monotonic = Outbox(database), parse({"sinks": sinks}, "alerts"), type(clock)(0.0)
    manager = AlertManager(
        database, outbox, Router(config), {"broken": 60.0, "fine": 60.0}, clear_after=1, labels={}, clock=clock
    )
    delivery = Delivery(
        outbox, {"broken": Broken(), "fine": Fine()}, clock=clock, monotonic=monotonic, random=lambda: 1.0
    )
    manager.observe(origin, "s", [finding("a")])
    for _ in range(10):
        monotonic.now += delivery.attempt() or 0.0
    assert len(taken) == 2
    assert delivery.counts()[("broken", "retried")] >= 1
    assert "a sink failed in an unforeseen way" in caplog.text
