"""What a server does when it is asked for twice what it can do, and how soon it is itself again.

Open loop: requests come at their times, whatever becomes of those before. What a server can do is measured just before,
by the same client in a closed loop. Every planned request must end in an answer that says what became of it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import model
from benchmarks.limits.server import BOUNDED, QUEUE, UNBOUNDED, Server, Watch, messages, slow_bundles, watched
from benchmarks.load.process import ROOT
from benchmarks.report import BenchmarkError, Table, ratio_row
from kedge.load import Plan
from kedge.load import run as send

if TYPE_CHECKING:
    from benchmarks.report import Cell
    from kedge.load import Report

TIMES: Final = 2.0
"""What is asked for over what can be done."""
LIGHT: Final = 0.3
"""Of what can be done: the load before and after."""
SETTLE_SECONDS: Final = 1.0
"""After the overload, until latency is looked at again."""
DEADLINE: Final = 0.2
COUNTED_SECONDS: Final = 5.0
COLUMNS: Final = ("what", "median", "lowest - highest", "turns", "bar", "met")


@dataclass(frozen=True)
class Case:
    """A model to be overloaded.

    Attributes:
        title: of its table.
        name: of the model.
        closed: requests outstanding while its best is measured.
        rows: a request.
        streams: outstanding a connection, at most; a request beyond waits in the client, as back-pressure has it.
        deadline: of each request, seconds; 0 for none.
        sheds: the server refuses what it cannot do; else it reads no faster than it answers.
    """

    title: str
    name: str
    closed: int
    rows: int = 1
    streams: int = 1024
    deadline: float = 0.0
    sheds: bool = True


CASES: Final = (
    Case(f"a model of 10 ms, {QUEUE} requests may wait, no deadlines", BOUNDED, closed=4),
    Case(f"the same, long queue, deadlines of {1000 * DEADLINE:.0f} ms", UNBOUNDED, closed=4, deadline=DEADLINE),
    Case("a model on the serving thread, 16 rows a request", model.NAME, closed=64, rows=16, streams=256, sheds=False),
)


@dataclass
class Found:
    """What the turns of a case gave, by row of its table."""

    ratios: dict[str, list[float]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    late: int = 0

    def add(self, what: str, value: float) -> None:
        self.ratios.setdefault(what, []).append(value)


def run(*, quick: bool) -> tuple[Table, ...]:
    """Every case on both planes."""
    tables = []
    files = model.make(ROOT / "build/bench/model")
    bundles = (files.watched, *slow_bundles(files))
    for plane, turns in (("native", 1 if quick else 3), ("portable", 1 if quick else 2)):
        with ExitStack() as parts:
            folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="kedge-bench-")))
            server = Server(plane, folder / "state", *bundles)
            parts.callback(server.stop)
            for case in CASES:
                load = Overload(server, case)
                for _ in range(turns):
                    load.turn(0.5 if quick else 1.0)
                load.check_count()
                tables.append(_table(f"{plane}: {case.title}", case, load.found))
    return tuple(tables)


class Overload:
    """One case on one server, and what it gave so far."""

    def __init__(self, server: Server, case: Case) -> None:
        self._server = server
        self._case = case
        self._messages = messages(case.name, 256, case.rows)
        self._told: dict[str, int] = {}
        self.found = Found()
        self._send(Plan(closed=case.closed, connections=2, duration=0.5))

    def turn(self, scale: float) -> None:
        """Its best, a light load, twice its best, and a light load again; about 6 s times `scale`."""
        case, found = self._case, self.found
        # Asking how it is takes some of the machine, so it is asked here as well.
        with watched(self._server, Watch()):
            best, best_cpu = self._timed(Plan(closed=case.closed, connections=2, duration=scale))
        before = self._light(best.rate, scale).latency.p50
        memory = self._server.resident_mb()
        watch = Watch()
        plan = Plan(
            rate=TIMES * best.rate,
            duration=2.5 * scale,
            connections=4,
            streams=case.streams,
            deadline=case.deadline,
            grace=5.0 if case.sheds else 0.5,
        )
        with watched(self._server, watch):
            over, over_cpu = self._timed(plan)
        self._light(best.rate, SETTLE_SECONDS)
        after = self._light(best.rate, scale)
        found.add("answers over the best", (over.goodput if case.deadline else over.rate) / best.rate)
        found.add("server CPU an OK answer over that at the best", over_cpu / best_cpu)
        found.add("processor time that the server got, over the same", over_cpu * over.rate / (best_cpu * best.rate))
        found.add("memory at the peak over before", watch.peak_mb / memory)
        found.add("median latency a second after the end over before", after.latency.p50 / before)
        found.add("p99 of OK answers, ms from the sending", 1000 * over.service.p99)
        if case.sheds:
            found.add("shed in, median ms", 1000 * over.other_service.p50)
        if case.sheds and not case.deadline:  # with one, those it passed for are among the other answers
            found.add("shed in, p99 ms", 1000 * over.other_service.p99)
        if case.deadline:
            found.add("share of runs whose answer came too late", 1 - over.good / max(1, over.ok))
        for name, took in watch.took.items():
            found.watch.took.setdefault(name, []).extend(took)
        for name, count in {**over.statuses, **over.failures}.items():
            found.answers[name] = found.answers.get(name, 0) + count
        found.late += over.client_limited

    def check_count(self) -> None:
        """Raises `BenchmarkError` unless the server counted as many answers as the client got; of each status, too.

        Not of each with deadlines: gRPC's core tells a client that its time is over while the answer is on its way.
        """
        if not self._case.sheds:
            return  # the last requests were given up by the client: both may be right
        end = time.monotonic() + COUNTED_SECONDS
        while not self._agrees():
            if time.monotonic() > end:
                raise BenchmarkError(f"{self._told} were answered, counted {self._server.counted(self._case.name)}")
            time.sleep(0.05)

    def _agrees(self) -> bool:
        counted = [count for count in self._server.counted(self._case.name).values() if count]
        if self._case.deadline:
            return sum(counted) == sum(self._told.values())
        return sorted(counted) == sorted(self._told.values())

    def _timed(self, plan: Plan) -> tuple[Report, float]:
        """What became of it, and CPU seconds of the server an OK answer."""
        before = self._server.process.cpu_seconds()
        report = self._send(plan)
        return report, (self._server.process.cpu_seconds() - before) / max(1, report.ok)

    def _light(self, best: float, seconds: float) -> Report:
        report = self._send(Plan(rate=LIGHT * best, duration=0.7 * seconds, connections=2, streams=256))
        if report.ok != report.planned:
            raise BenchmarkError(f"under a light load not all was answered: {report.statuses} {report.failures}")
        return report

    def _send(self, plan: Plan) -> Report:
        """Raises `BenchmarkError` where what became of a request is neither an answer nor the client's own doing."""
        report = send(self._server.grpc, self._messages, plan)
        allowed = {"OK"} | ({"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"} if self._case.sheds else set())
        lost = {name for name in report.failures if self._case.sheds or name not in ("unsent", "unanswered")}
        if report.statuses.keys() - allowed or lost:
            raise BenchmarkError(f"{self._case.name}: {report.statuses} {report.failures} {report.texts}")
        for name, count in report.statuses.items():
            self._told[name] = self._told.get(name, 0) + count
        return report


def _table(title: str, case: Case, found: Found) -> Table:
    bars: dict[str, dict[str, float]] = {
        "answers over the best": {"least": 0.9},
        "server CPU an OK answer over that at the best": {"most": 1.11},
        "shed in, median ms": {"most": 1.0},
        "shed in, p99 ms": {"most": 1.0},
        "memory at the peak over before": {"most": 1.2},
        "median latency a second after the end over before": {"most": 1.2},
        "share of runs whose answer came too late": {"most": 0.05},
    }
    rows = [ratio_row(what, values, **bars.get(what, {})) for what, values in found.ratios.items()]
    rows += [_door(name, took) for name, took in found.watch.took.items()]
    what = ", ".join(f"{count:,} {name}" for name, count in sorted(found.answers.items()))
    notes = [f"Of all that was asked for at {TIMES:g} times the best: {what}."]
    if not case.sheds:
        notes.append("Those unsent waited for a stream in the client when its time was over.")
    if found.late:
        notes.append(f"In {found.late} turns more than 1 % of the requests were sent a millisecond late or more.")
    return Table(title, COLUMNS, tuple(rows), tuple(notes))


def _door(name: str, took: list[float]) -> tuple[Cell, ...]:
    return (
        f"{name}, ms meanwhile",
        1000 * statistics.median(took),
        f"{1000 * min(took):.2f} - {1000 * max(took):.2f}",
        len(took),
        "",
        "",
    )
