"""The evaluator over time: two windows that agree, faults at once, health, charts over restarts, strange traffic."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from kedge_testing import flights

from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.monitor.chart_store import ChartStore
from kedge.monitor.charts import WARM_UP
from kedge.monitor.evaluator import Evaluator
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Key, Panes
from kedge.monitor.verdict import Cause, Judgement, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.bundle.contents import Bundle

Count = Callable[[pa.Table], Counts]


class Server:
    """What counts, and an evaluator that looks at it once a second of its own time."""

    def __init__(self, bundle: Bundle, store: ChartStore | None = None, start: float = 1e6) -> None:
        self.frame = Frame.of(bundle)
        self.now = start
        self.totals: dict[Key, Counts] = {}
        self.evaluator = Evaluator(lambda: self.now, Panes(lambda: self.now), lambda _: self.frame, store)
        self.bundle = bundle

    def serve(self, counts: Counts, arm: str = "live", seconds: float = 1.0) -> tuple[Judgement, ...]:
        key = Key(self.bundle.id, arm)
        self.totals[key] = self.totals[key] + counts if key in self.totals else counts
        return self.wait(seconds)

    def wait(self, seconds: float = 1.0) -> tuple[Judgement, ...]:
        self.now += seconds
        return self.evaluator.tick(lambda: self.totals)

    def judged(self, name: str, arm: str = "live") -> Judgement:
        return next(item for item in self.evaluator.judgements() if item.name == name and item.arm == arm)


@pytest.fixture
def server(bundle: Bundle) -> Server:
    return Server(bundle)


def test_before_the_first_window_is_full_a_line_is_insufficient_and_says_how_much_is_missing(
    server: Server, count: Count
) -> None:
    server.serve(count(flights.rows(400, 1)))
    found = server.judged("temp")
    assert (found.verdict, found.rows, found.windows) == (Verdict.INSUFFICIENT, 400, ())
    assert found.reasons == ("400 rows so far; 1,000 are needed",)
    assert 0.03 < found.smallest_detectable < 0.08
    server.serve(count(flights.rows(600, 2)))
    assert server.judged("temp").verdict is Verdict.OK
    assert server.judged("temp").windows[0].rows == 1000


def test_drift_takes_two_windows_of_the_same_line(server: Server, count: Count) -> None:
    warm, calm = count(flights.rows(1000, 1, temp=58.0)), count(flights.rows(1000, 2))
    server.serve(calm)
    assert server.serve(warm) == ()
    assert server.serve(calm) == ()
    assert server.serve(warm) == ()
    (found,) = [item for item in server.serve(warm) if item.subject == "feature"]
    assert (found.name, found.verdict, found.cause, found.test) == ("temp", Verdict.CRITICAL, Cause.DATA, "drift")
    first, second = found.windows
    assert first.end == second.start, "disjoint, without a gap"
    assert found.effect >= found.line == 0.1
    assert found.p_value < 1e-9
    assert found.reasons[0].startswith("distribution moved up: mean 39.")
    assert server.serve(calm) == ()


def test_windows_longer_than_the_fast_one_see_smaller_shifts(server: Server, count: Count) -> None:
    slight = [count(flights.rows(1000, seed, temp=43.2)) for seed in range(21)]
    found: list[Judgement] = []
    for part in slight:
        found = [item for item in server.serve(part) if item.name == "temp"]
    assert found
    assert found[0].windows[-1].rows == 10_000


def test_a_missing_column_is_found_in_one_window_whatever_else_moved(server: Server, count: Count) -> None:
    table = flights.rows(1000, 3)
    server.serve(count(flights.rows(1000, 1)))
    gone = table.set_column(0, "temp", pa.array(np.full(1000, np.nan, np.float32)))
    (found,) = server.serve(count(gone))
    assert (found.name, found.verdict, found.cause, found.test) == ("temp", Verdict.CRITICAL, Cause.PIPELINE, "missing")
    assert found.effect == 1.0
    assert found.reasons == ("missing share 1.9 % -> 100 %",)


def test_arms_are_judged_apart(server: Server, count: Count) -> None:
    warm, calm = count(flights.rows(1000, 1, temp=58.0)), count(flights.rows(1000, 2))
    for _ in range(2):
        server.serve(calm)
        problems = server.serve(warm, "canary")
    assert {item.arm for item in problems} == {"canary"}
    assert server.judged("temp", "live").verdict is Verdict.OK


def test_a_stuck_sensor_is_the_pipelines(server: Server, count: Count) -> None:
    for seed in range(4):
        server.serve(count(flights.rows(1000, seed)))
    stuck = flights.rows(1000, 9).set_column(0, "temp", pa.array(np.full(1000, 21.0, np.float32)))
    server.serve(count(stuck))
    (found,) = server.serve(count(stuck))
    assert (found.cause, found.test, found.reasons[0]) == (Cause.PIPELINE, "unit", "stuck at 21")


def test_who_waits_wakes_when_something_changes(server: Server, count: Count) -> None:
    version = server.evaluator.wait(-1, 0.0)
    assert server.evaluator.wait(version, 0.01) == version
    woken: list[int] = []
    thread = threading.Thread(target=lambda: woken.append(server.evaluator.wait(version, 20.0)))
    thread.start()
    server.serve(count(flights.rows(1000, 1)))
    thread.join()
    assert woken[0] > version
    steady = server.evaluator.wait(-1, 0.0)
    server.serve(count(flights.rows(1000, 2)))
    assert server.evaluator.wait(steady, 0.0) == steady, "another quiet window is no news"


def test_a_bundle_that_is_gone_is_forgotten(server: Server, count: Count) -> None:
    server.serve(count(flights.rows(1000, 1)))
    assert server.evaluator.judgements()
    server.evaluator.forget(server.bundle.id)
    assert server.evaluator.judgements() == ()


def test_charts_see_what_no_window_does_and_survive_a_restart(bundle: Bundle, count: Count, tmp_path: Path) -> None:
    parts = [count(flights.rows(300, seed)) for seed in range(40)]
    shifted = [count(flights.rows(300, seed, temp=41.5)) for seed in range(40)]
    store = ChartStore(tmp_path / "kedge.db")
    server = Server(bundle, store, start=3600.0 * 400_000 - 1800)
    random = np.random.default_rng(4)
    for _ in range(WARM_UP + 24):
        assert not [item for item in server.serve(parts[random.integers(40)], seconds=3600.0) if item.test == "chart"]
    assert server.evaluator.charts()
    for _ in range(20):
        server.serve(shifted[random.integers(40)], seconds=3600.0)
    before = server.evaluator.charts()
    again = Server(bundle, store, start=server.now)
    again.serve(shifted[0], seconds=60.0)
    assert again.evaluator.charts() == before
    for _ in range(60):
        problems = again.serve(shifted[random.integers(40)], seconds=3600.0)
    (found,) = [item for item in problems if item.name == "temp"]
    assert (found.test, found.verdict, found.cause) == ("chart", Verdict.WARN, Cause.DATA)
    assert found.effect > found.line
    assert "hourly values run above" in found.reasons[0]
    store.close()


def predicted(bundle: Bundle, table: pa.Table, confidence: np.ndarray) -> Counts:
    """Counts of inputs and of predictions of class 0 with that confidence."""
    layout = bundle.layout()
    sketch = select("reference").sketch(layout)
    arrays = {name: table[name].to_numpy() for name in ("temp", "distance")}
    arrays["carrier"] = np.array(table["carrier"].to_pylist(), dtype=object)
    sketch.observe([arrays[tensor.name] for tensor in layout.tensors])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    sketch.observe_predictions(np.zeros(len(confidence), np.int64), probabilities, probabilities=True)
    return Counts.parse(sketch.snapshot(), layout)


def strange(kind: str, rows: int) -> pa.Table:
    table = flights.rows(rows, 3)
    values = {"constant": 40.0, "nan": np.nan, "inf": np.inf, "huge": 3e38, "tiny": 1e-40, "minus": -np.inf}
    columns = {
        "temp": pa.array(np.full(rows, values[kind], np.float32)),
        "distance": pa.array(np.full(rows, values[kind], np.float32)),
        "carrier": pa.array(["" if kind == "nan" else "UA"] * rows),
        "late": table["late"],
    }
    return pa.table(columns)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["constant", "nan", "inf", "huge", "tiny", "minus"])
def test_strange_traffic_warns_of_nothing_and_divides_by_nothing(bundle: Bundle, count: Count, kind: str) -> None:
    server = Server(bundle)
    counts = count(strange(kind, 1000))
    for _ in range(4):
        problems = server.serve(counts, seconds=1800.0)
    assert {item.name for item in problems} >= {"temp", "distance", "carrier"}
    for item in server.evaluator.judgements():
        assert np.isfinite((item.effect, item.line, item.smallest_detectable)).all()


@pytest.mark.filterwarnings("error")
def test_single_class_predictions_and_empty_arms_are_fine(bundle: Bundle) -> None:
    server = Server(bundle)
    server.serve(Counts.zero(bundle.layout()))
    assert server.evaluator.judgements() == (), "an arm without traffic is none"
    counts = predicted(bundle, flights.rows(1500, 5), np.ones(1500, np.float32))
    for _ in range(3):
        server.serve(counts, seconds=3600.0)
    found = {(item.subject, item.name): item for item in server.evaluator.judgements()}
    assert found["prediction", "class"].verdict.problem, "the reference has both classes"
    assert found["feature", "temp"].verdict is Verdict.OK
    assert all(np.isfinite(item.effect) for item in found.values())


def test_a_bundle_without_a_reference_is_watched_for_errors_alone(bundle: Bundle, count: Count) -> None:
    bare = dataclasses.replace(bundle, distributions=None)
    server = Server(bare)
    sketch = select("reference").sketch(bare.layout())
    sketch.observe_status(13, 2000)
    (found,) = server.serve(Counts.parse(sketch.snapshot(), bare.layout()))
    assert (found.subject, found.name, found.cause) == ("system", "errors", Cause.SYSTEM)


def test_predictions_that_move_with_their_inputs_are_no_fault_of_the_model(bundle: Bundle) -> None:
    random = np.random.default_rng(2)

    def counts(temp: float) -> Counts:
        confidence = np.clip(random.normal(0.99, 0.02, 1000), 0.5, 1).astype(np.float32)
        return predicted(bundle, flights.rows(1000, 5, temp=temp), confidence)

    causes = {}
    for temp in (40.0, 60.0):
        server = Server(bundle)
        for _ in range(3):
            problems = server.serve(counts(temp))
        causes[temp] = {item.cause for item in problems if item.subject == "confidence"}
    assert causes == {40.0: {Cause.MODEL}, 60.0: {Cause.DATA}}
