"""A verdict can be judged again from the counts that were kept, and a changed count is noticed."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import flights

from kedge.audit import files
from kedge.audit.clock import Moment
from kedge.audit.counts import CountsGoneError, CountStore
from kedge.audit.errors import RecordError
from kedge.audit.record import SYSTEM, Draft, Record, Verdict, decimal
from kedge.bundle.store import Store
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.monitor.charts import WARM_UP
from kedge.monitor.evaluator import Evaluator
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Key, Panes
from kedge.plane.evidence import WORDS, Evidence
from kedge.rollout import traffic
from kedge.rollout.digest import LEAST_SECONDS, RETRY_SECONDS, Digests
from kedge.rollout.evaluating import numbers
from kedge.rollout.guards import StepEvidence, read
from kedge.rollout.plan import Plan
from kedge.rollout.record_replay import NothingToReplayError, Replay, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.bundle.contents import Bundle
    from kedge.kernel.contract import Sketch

START = 3600.0 * 500_000 - 1800.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("digest")
    return Store(root / "store").add(flights.bundle(root))


@dataclass
class Server:
    """What counts, an evaluator that looks, and the evidence of it."""

    bundle: Bundle
    directory: Path
    now: float = START
    sketches: dict[str, Sketch] = field(default_factory=dict)
    digests: Digests = field(init=False)

    def __post_init__(self) -> None:
        self.frame = Frame.of(self.bundle)
        self.database = files.connect(self.directory)
        self.log = files.open_log(
            self.directory, self.database, software="test", clock=lambda: Moment(int(self.now * 1e9), "test")
        )
        self.store = CountStore(self.directory / "counts", lambda: self.now)
        self.panes = Panes(lambda: self.now)
        self.evaluator = Evaluator(lambda: self.now, self.panes, lambda _: self.frame)
        self.digests = Digests(self.log, self.store, self.evaluator, lambda _: self.frame, lambda: self.now)

    def serve(self, table: pa.Table | None = None, arm: str = "live", seconds: float = LEAST_SECONDS) -> None:
        if arm not in self.sketches:
            self.sketches[arm] = select("reference").sketch(self.bundle.layout())
        if table is not None:
            columns = (table[tensor.name] for tensor in self.bundle.layout().tensors)
            self.sketches[arm].observe(
                [
                    np.array(one.to_pylist(), dtype=object) if pa.types.is_string(one.type) else one.to_numpy()
                    for one in columns
                ]
            )
        self.look(seconds)

    def answer(self, codes: dict[int, int], run_ns: int = 1_000_000, arm: str = "live") -> None:
        sketch = self.sketches.setdefault(arm, select("reference").sketch(self.bundle.layout()))
        for code, count in codes.items():
            sketch.observe_status(code, count)
        for _ in range(200):
            sketch.observe_batch(np.array([1000], np.int64), run_ns, 8)
        self.look()

    def look(self, seconds: float = LEAST_SECONDS) -> None:
        self.now += seconds
        layout = self.bundle.layout()
        totals = {Key(self.bundle.id, arm): Counts.parse(one.snapshot(), layout) for arm, one in self.sketches.items()}
        self.evaluator.tick(lambda: totals)
        self.digests.look()

    def records(self, action: str = traffic.VERDICT) -> list[Record]:
        rows = self.database.execute("SELECT record FROM audit_record ORDER BY seq").fetchall()
        return [record for (data,) in rows if (record := Record.parse(data)).action == action]

    def replay(self, record: Record) -> Replay:
        return replay(record, self.store, lambda _: Frame.of(self.bundle))

    def lines(self, test: str) -> list[tuple[Record, traffic.Line]]:
        return [
            (record, one) for record in self.records() for one in traffic.change_of(record).lines if one.test == test
        ]


@pytest.fixture
def server(bundle: Bundle, tmp_path: Path) -> Iterator[Server]:
    made = Server(bundle, tmp_path)
    yield made
    made.database.close()


def equal(server: Server, test: str) -> traffic.Line:
    found = server.lines(test)
    assert found, [one.test for record in server.records() for one in traffic.change_of(record).lines]
    record, line = found[-1]
    result = server.replay(record)
    assert (result.differences, result.gone) == ((), ())
    assert any(what.endswith(f"{line.subject} {line.name}") for what in result.checked)
    return line


def test_drift_is_recorded_when_it_begins_and_ends_and_judged_again(server: Server) -> None:
    server.serve(flights.rows(1000, 1))
    assert server.records() == []
    for seed in (2, 3):
        server.serve(flights.rows(1000, seed, temp=58.0))
    (record,) = server.records()
    assert (record.bundle, record.model, record.previous_state, record.next_state) == (
        server.bundle.id, "flights", "quiet", "CRITICAL",
    )  # fmt: skip
    assert record.verdict is not None
    assert (record.verdict.test, record.verdict.decision) == ("drift", "CRITICAL")
    assert record.rationale.startswith("feature temp: distribution moved up")
    change = traffic.change_of(record)
    assert [kept.rows for kept in change.windows] == [1000, 1000]
    assert equal(server, "drift").name == "temp"
    for seed in (4, 5):
        server.serve(flights.rows(1000, seed))
    last = server.records()[-1]
    assert (last.previous_state, last.next_state) == ("CRITICAL", "quiet")
    assert server.replay(last).equal


def test_unusable_values_are_judged_again(server: Server) -> None:
    server.serve(flights.rows(1000, 1))
    gone = pa.array(np.full(1000, np.nan, np.float32))
    server.serve(flights.rows(1000, 3).set_column(0, "temp", gone), arm="canary")
    line = equal(server, "missing")
    assert (line.effect, line.cause) == ("1.0", "pipeline")
    assert traffic.change_of(server.records()[-1]).arm == "canary"


def test_a_changed_unit_is_found_again_from_what_was_remembered(server: Server) -> None:
    for seed in range(4):
        server.serve(flights.rows(1000, seed))
    for seed in (8, 9):
        table = flights.rows(1000, seed)
        celsius = ((table["temp"].to_numpy().astype(np.float64) - 32) / 1.8).astype(np.float32)
        server.serve(table.set_column(0, "temp", pa.array(celsius)))
    line = equal(server, "unit")
    assert (line.name, line.cause) == ("temp", "pipeline")
    units = traffic.change_of(server.records()[-1]).units
    assert units is not None
    assert units.claims[0].text == "looks like a change of unit: degrees Fahrenheit sent as degrees Celsius"


def test_errors_refusals_and_latency_are_judged_again(server: Server) -> None:
    for _ in range(6):
        server.answer({0: 990, 13: 10})
    server.answer({0: 500, 13: 500})
    assert equal(server, "errors").past == (60, 6000)
    server.answer({0: 900, 3: 100})
    assert equal(server, "refusals").after == "CRITICAL"
    for _ in range(2):
        server.answer({0: 1000}, run_ns=9_000_000)
    assert equal(server, "latency").after == "CRITICAL"


def test_a_chart_is_judged_again_from_its_state_before_the_hour(server: Server) -> None:
    parts = [flights.rows(300, seed) for seed in range(10)]
    shifted = [flights.rows(300, seed, temp=41.5) for seed in range(10)]
    random = np.random.default_rng(4)
    for hour in range(WARM_UP + 24 + 80):
        chosen = parts if hour < WARM_UP + 24 else shifted
        server.serve(chosen[random.integers(10)], seconds=3600.0)
        if server.lines("chart"):
            break
    assert equal(server, "chart").after == "WARN"
    assert len(server.records(traffic.DIGEST)) == hour + 1
    assert all(server.replay(record).equal for record in server.records(traffic.DIGEST)[:3])


def test_every_hour_and_at_the_end_all_counts_are_kept(server: Server) -> None:
    server.serve(flights.rows(1500, 1))
    server.serve(flights.rows(200, 2), arm="canary", seconds=3600.0)
    server.serve(flights.rows(70, 3))
    server.digests.close()
    first, last = map(traffic.digest_of, server.records(traffic.DIGEST))
    assert [(one.arm, one.rows) for one in first.counted] == [("canary", 200), ("live", 1500)]
    assert [(one.arm, one.rows) for one in last.counted] == [("live", 70)]
    assert (float(first.start), first.end) == (START, last.start)
    assert all(server.replay(record).equal for record in server.records(traffic.DIGEST))
    kept = Counts.parse(server.store.get(last.counted[0].counts), server.bundle.layout())
    assert kept.features[0].rows == 70


def test_silence_leaves_a_record_too(server: Server) -> None:
    server.look(3600.0)
    (record,) = server.records(traffic.DIGEST)
    assert traffic.digest_of(record).counted == ()
    assert server.replay(record).equal


def test_a_changed_count_a_changed_record_and_counts_that_are_gone_are_told(server: Server) -> None:
    server.serve(flights.rows(1000, 1))
    for seed in (2, 3):
        server.serve(flights.rows(1000, seed, temp=58.0))
    (record,) = server.records()
    change = traffic.change_of(record)
    line = change.lines[0].model_copy(update={"effect": "0.2", "after": "WARN"})
    other = change.model_copy(update={"lines": (line,)})
    result = server.replay(record.model_copy(update={"details": traffic.details(other)}))
    assert {one.field for one in result.differences} == {"effect", "after"}
    assert not result.equal

    calm = flights.rows(1000, 9)
    server.serve(calm)
    running = server.evaluator.grounds(server.bundle.id, "live", {("feature", "temp")})[0][1]
    swapped = change.windows[1].model_copy(update={"counts": server.store.put(running.windows[-1].counts.to_bytes())})
    other = change.model_copy(update={"windows": (change.windows[0], swapped)})
    result = server.replay(record.model_copy(update={"details": traffic.details(other)}))
    assert ("verdict", "CRITICAL", "OK") in {(one.field, one.recorded, one.recomputed) for one in result.differences}

    path = server.store.root / change.windows[0].counts[:2] / f"{change.windows[0].counts}.z"
    path.write_bytes(b"damaged")
    assert "are damaged" in server.replay(record).gone[0]
    path.unlink()
    assert "they were kept for a time" in server.replay(record).gone[0]
    assert not server.replay(record).equal


def test_a_verdict_that_flutters_is_recorded_as_it_stands_later(server: Server) -> None:
    warm, calm = flights.rows(1000, 2, temp=58.0), flights.rows(1000, 1)
    for table in (calm, warm, warm):
        server.serve(table)
    assert len(server.records()) == 1
    for table in (calm, warm, warm, calm, warm, warm):
        server.serve(table, seconds=1.0)
    assert len(server.records()) == 1
    server.serve(calm)
    assert [record.next_state for record in server.records()] == ["CRITICAL", "quiet"]


def test_evidence_does_not_wait_until_a_clock_that_was_set_back_has_caught_up(server: Server) -> None:
    warm, calm = flights.rows(1000, 2, temp=58.0), flights.rows(1000, 1)
    for table in (calm, warm, warm):
        server.serve(table)
    server.now -= 600.0
    server.serve(calm)
    assert [record.next_state for record in server.records()] == ["CRITICAL", "quiet"]
    server.store.root.rename(server.directory / "aside")
    server.store.root.write_text("a file where the directory should be")
    for table in (warm, warm):
        server.serve(table)
    server.store.root.unlink()
    server.now -= 600.0
    server.serve(warm)
    assert [record.next_state for record in server.records()] == ["CRITICAL", "quiet", "CRITICAL"]


def test_what_cannot_be_written_is_written_later(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(flights.rows(1000, 1))
    server.serve(flights.rows(1000, 2, temp=58.0))
    server.store.root.write_text("a file where the directory should be")
    server.serve(flights.rows(1000, 3, temp=58.0))
    (said,) = caplog.records
    assert said.getMessage() == "evidence is late and will be written again"
    assert said.data["reason"].startswith("cannot keep counts in ")  # type: ignore[attr-defined]
    server.store.root.unlink()
    server.serve(flights.rows(1000, 4, temp=58.0))
    assert server.records() == []
    server.serve(flights.rows(1000, 5, temp=58.0), seconds=RETRY_SECONDS)
    assert server.replay(server.records()[0]).equal


def test_records_without_counts_and_with_strange_details_are_named(server: Server) -> None:
    record = server.log.append(Draft(action="rollout.promoted", actor=SYSTEM))
    with pytest.raises(NothingToReplayError, match="rests on no stored counts"):
        server.replay(record)
    record = server.log.append(Draft(action=traffic.VERDICT, actor=SYSTEM, details={"arm": "live"}))
    with pytest.raises(RecordError, match=r"record \d+: details\.windows: "):
        server.replay(record)


def test_many_lines_and_many_arms_take_several_records(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kedge.rollout.digest.LINES_A_RECORD", 1)
    monkeypatch.setattr("kedge.rollout.digest.COUNTED_A_RECORD", 1)
    for seed in range(3):
        table = flights.rows(1000, seed, temp=58.0)
        distance = pa.array(table["distance"].to_numpy() * np.float32(3))
        server.serve(table.set_column(table.column_names.index("distance"), "distance", distance))
        server.serve(flights.rows(500, seed), arm="canary")
    assert len(server.records()) >= 2
    assert all(server.replay(record).equal for record in server.records())
    server.digests.close()
    parts = list(map(traffic.digest_of, server.records(traffic.DIGEST)))
    assert [(one.part, one.parts) for one in parts] == [(1, 2), (2, 2)]


def test_a_bundle_that_is_deleted_leaves_what_it_counted_and_may_come_again(server: Server) -> None:
    server.serve(flights.rows(1000, 1))
    server.serve(flights.rows(1000, 2, temp=58.0))
    server.serve(flights.rows(1000, 3, temp=58.0))
    server.digests.forget(server.bundle.id)
    server.digests.forget(server.bundle.id)
    (record,) = server.records(traffic.DIGEST)
    assert traffic.digest_of(record).counted[0].rows == 3000
    server.evaluator.forget(server.bundle.id)
    server.panes.forget(server.bundle.id)
    server.sketches.clear()
    server.look()
    server.serve(flights.rows(3500, 1))
    server.digests.close()
    last = server.records(traffic.DIGEST)[-1]
    assert traffic.digest_of(last).counted[0].rows == 3500
    assert server.replay(last).equal


def test_guards_are_read_again_from_the_numbers_in_the_record(server: Server) -> None:
    def cell(requests: int, bad: int) -> Evidence:
        words = np.zeros(WORDS, np.int64)
        words[0], words[1], words[6] = requests, bad, bad
        return Evidence(words)

    steps = (StepEvidence(0, 0.1, cell(4000, 400), cell(36000, 360)),)
    readings = read(Plan.default("canary"), steps)
    fired = next(one for one in readings if one.fired)
    record = server.log.append(
        Draft(
            action="rollout.rolled_back",
            actor=SYSTEM,
            verdict=Verdict(test=fired.guard, decision="harm", e_value=decimal(math.exp(fired.log_e or 0)), n=fired.n),
            details=numbers(readings),
        )
    )
    result = server.replay(record)
    assert result.equal, result.differences
    assert f"guard {fired.guard}" in result.checked

    assert "guard slow" in result.checked
    details = json.loads(json.dumps(record.details))
    del next(one for one in details["readings"] if one["guard"] == "slow")["numbers"]["of"]
    result = server.replay(record.model_copy(update={"details": details}))
    assert result.equal, "a record of before judged units were counted"
    assert any(
        "guard slow (as it was counted then: units in batches of a size without" in one for one in result.checked
    )

    said = next(one for one in details["readings"] if one["guard"] == fired.guard)
    said["numbers"]["0.canary.ever"] = 4
    said["numbers"]["0.canary.bad"] = 4
    result = server.replay(record.model_copy(update={"details": details}))
    assert {one.field for one in result.differences} >= {"log_e", "upper", "verdict", "e_value"}
    del said["numbers"]["method"]
    result = server.replay(record.model_copy(update={"details": details}))
    assert ("numbers", "whole") in {(one.field, one.recorded) for one in result.differences}


def store_of(directory: Path, now: Callable[[], float]) -> CountStore:
    return CountStore(directory / "counts", now)


def test_old_counts_go_and_the_newest_stay(tmp_path: Path) -> None:
    now = [1_000_000.0]
    store = store_of(tmp_path, lambda: now[0])
    old, again = store.put(b"old"), store.put(b"again")
    now[0] += 86400.0 * 10
    new = store.put(b"new")
    assert store.put(b"again") == again
    (store.root / old[:2] / ".left.partial").write_bytes(b"x")
    assert store.prune(keep_days=5) == 1
    assert [store.get(new), store.get(again)] == [b"new", b"again"]
    with pytest.raises(CountsGoneError):
        store.get(old)
    now[0] += 10
    newest = store.put(bytes(100_000))
    assert store.prune(keep_bytes=(store.root / newest[:2] / f"{newest}.z").stat().st_size) == 2
    assert store.get(newest) == bytes(100_000)
    assert not list(store.root.rglob("*.partial"))


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_what_is_no_digest_is_no_path(tmp_path: Path, digest: Any) -> None:
    with pytest.raises(CountsGoneError, match="is no SHA-256"):
        store_of(tmp_path, lambda: 0.0).get(digest)
