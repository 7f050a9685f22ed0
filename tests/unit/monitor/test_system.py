"""Errors and latency against their own past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.monitor.system import SECONDS, System
from kedge.monitor.verdict import Cause, Verdict

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle


class Traffic:
    """Answers and batches, counted as a plane counts them, looked at once a second."""

    def __init__(self, bundle: Bundle) -> None:
        self.layout = bundle.layout()
        self.sketch = select("reference").sketch(self.layout)
        self.system = System(self.layout, 0.025)
        self.now = 1000.0
        self.random = np.random.default_rng(8)

    def second(self, *, answers: int = 1000, codes: dict[int, int] | None = None, slowness: float = 1.0) -> None:
        bad = codes or {}
        self.sketch.observe_status(0, answers - sum(bad.values()))
        for code, count in bad.items():
            self.sketch.observe_status(code, count)
        for run in self.random.lognormal(14, 0.2, 200) * slowness:
            self.sketch.observe_batch(np.array([1000], np.int64), int(run), 8)
        self.look()

    def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.system.advance(Counts.parse(self.sketch.snapshot(), self.layout), self.now)

    def verdict(self, name: str) -> Verdict:
        return self.system.health[name].verdict


@pytest.fixture
def traffic(bundle: Bundle) -> Traffic:
    made = Traffic(bundle)
    made.look()
    return made


def test_nothing_is_said_before_there_are_answers(traffic: Traffic) -> None:
    traffic.look(1000.0)
    assert {health.verdict for health in traffic.system.health.values()} == {Verdict.INSUFFICIENT}


def test_usual_errors_are_fine_and_a_burst_is_not(traffic: Traffic) -> None:
    for _ in range(5):
        traffic.second(codes={13: 15})
    assert traffic.verdict("errors") is Verdict.WARN, "with no past a server has at most one error in a thousand"
    for _ in range(3):
        traffic.second()
    assert traffic.verdict("errors") is Verdict.OK
    traffic.second(codes={14: 200})
    found = traffic.system.health["errors"]
    assert (found.verdict, found.cause) == (Verdict.CRITICAL, Cause.SYSTEM)
    assert found.reasons[0].startswith("20 % server errors (200 of 1,000)")


def test_a_model_of_few_requests_is_judged_though_the_clock_was_set_back(traffic: Traffic) -> None:
    traffic.now -= 86400.0
    for _ in range(10):
        traffic.second(answers=20, codes={13: 10})
    traffic.look(SECONDS)
    assert traffic.verdict("errors") is Verdict.CRITICAL


def test_what_clients_do_is_no_error_of_the_server(traffic: Traffic) -> None:
    traffic.second(codes={1: 300, 16: 300, 5: 100})
    assert traffic.verdict("errors") is Verdict.OK
    assert traffic.verdict("refusals") is Verdict.OK


def test_refused_requests_are_a_matter_of_the_pipeline(traffic: Traffic) -> None:
    traffic.second(codes={3: 500})
    found = traffic.system.health["refusals"]
    assert (found.verdict, found.cause) == (Verdict.CRITICAL, Cause.PIPELINE)
    assert "500 of 1,000" in found.reasons[0]


def test_little_traffic_is_judged_by_the_minute(traffic: Traffic) -> None:
    traffic.second(answers=60, codes={13: 30})
    assert traffic.verdict("errors") is Verdict.INSUFFICIENT
    traffic.look(60.0)
    assert traffic.verdict("errors") is Verdict.CRITICAL


def test_slower_runs_are_told_after_two_windows_with_both_medians(traffic: Traffic) -> None:
    for _ in range(8):
        traffic.second()
    assert traffic.verdict("latency") is Verdict.OK
    traffic.second(slowness=3.0)
    assert traffic.verdict("latency") is Verdict.OK, "one window is not enough"
    traffic.second(slowness=3.0)
    found = traffic.system.health["latency"]
    assert (found.verdict, found.cause) == (Verdict.CRITICAL, Cause.SYSTEM)
    assert len(found.windows) == 2
    assert found.reasons[0].endswith("ms")
    traffic.second()
    assert traffic.verdict("latency") is Verdict.OK
