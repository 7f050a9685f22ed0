"""What one client or model costs the others on the same server: a slow model, and clients that mean no good.

A model that answers in the shard's thread is asked at a fifth of what the server can do, by Poisson arrivals that wait
for nobody, alone and beside its neighbour in turns. Latency counts from the time a request was to be sent.
"""

from __future__ import annotations

import functools
import statistics
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from benchmarks import model
from benchmarks.change import meanwhile, resident_mb
from benchmarks.load.hostile import KINDS
from benchmarks.load.process import ROOT, Process, python
from benchmarks.report import BenchmarkError, Table, ratio_row
from kedge.build import build
from kedge.bundle.store import Store
from kedge.kernel.select import select
from kedge.load import Plan
from kedge.load import run as send
from kedge.plane.contract import Arm, ArmRoute, LoadOptions, Route, RouteTable
from kedge.plane.native import NativePlane
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from kedge.load import Report

SLOW: Final = "slow"
CONNECTIONS: Final = 4
ROWS: Final = 1024
"""Different rows, in turn."""
PART: Final = 0.2
"""Of what the server can do."""
COLUMNS: Final = ("of the fast model", "median", "lowest - highest", "pairs", "bar", "met")
WORDS: Final = {
    "garbage": "a client that sends garbage",
    "half": "100 connections that stop in a message",
    "flood": "a client that begins and resets requests",
    "reader": "50 connections that read a byte a second",
    "nobody": "the same resets, sent to another server",
}


class Serving:
    """A native plane with the benchmark's model and, on a thread of its own, a slow one."""

    def __init__(self, folder: Path, files: model.Files) -> None:
        self.plane = NativePlane(select("native"), isolate=False)
        store = Store(folder / "store")
        handles = [self.plane.load(store.add(path).directory, LoadOptions()) for path in (files.watched, _slow(files))]
        routes = (Route(one.model, 1, (ArmRoute(one, Arm.LIVE, 1.0),)) for one in handles)
        self.plane.publish(RouteTable(tuple(routes)))
        self.fast, self.slow = _requests(model.NAME), _requests(SLOW)
        self.body = folder / "body"
        self.body.write_bytes(b"\0" + struct.pack(">I", len(self.fast[0])) + self.fast[0])
        self.address = self.plane.start("127.0.0.1:0")
        self.late = 0
        flat_out = Plan(closed=256, connections=CONNECTIONS, requests=200_000, duration=60)
        rates = [self.send(self.fast, flat_out).rate for _ in range(6)]
        self.pace = PART * statistics.median(rates[1:])  # the first one warms up
        self.turns = 0

    def send(self, messages: list[bytes], plan: Plan) -> Report:
        """Requests as planned. Raises `BenchmarkError` where one was not answered OK."""
        report = send(self.address, messages, plan)
        if report.ok != report.planned:
            raise BenchmarkError(f"{report.planned - report.ok} requests failed: {report.statuses} {report.failures}")
        return report

    def ask(self, seconds: float) -> Report:
        """The fast model, at its pace."""
        plan = Plan(rate=self.pace, duration=seconds, connections=CONNECTIONS, streams=1024, seed=self.turns)
        report = self.send(self.fast, plan)
        self.turns += 1
        self.late += report.client_limited
        return report

    def both(
        self, seconds: float, turn: int, neighbour: Callable[[], AbstractContextManager[object]]
    ) -> tuple[Report, Report]:
        """Alone and beside a neighbour; in odd turns alone first."""
        first = self.ask(seconds) if turn % 2 else None
        with neighbour():
            beside = self.ask(seconds)
        return first or self.ask(seconds), beside

    def lateness(self) -> str:
        """How often the client was the limit, for a note."""
        return (
            f"In {self.late} of {self.turns} turns more than 1 % of the requests were sent a millisecond late or more."
        )


def run(*, quick: bool) -> tuple[Table, ...]:
    """A slow model, then hostile clients."""
    pairs, seconds = (2, 0.5) if quick else (8, 3.0)
    with tempfile.TemporaryDirectory(prefix="kedge-bench-") as name:
        serving = Serving(Path(name), model.make(ROOT / "build/bench/model"))
        try:
            return _beside_slow(serving, pairs, seconds), _beside_hostile(serving, pairs, seconds)
        finally:
            serving.plane.stop()


def _beside_slow(serving: Serving, pairs: int, seconds: float) -> Table:
    """p99 of the fast model beside one that is always running, over that alone."""
    medians, ratios, of_bar, of_service = [], [], [], []
    run_seconds = serving.send(serving.slow, Plan(closed=1, connections=1, requests=50, duration=60)).service.p50
    busy = Plan(closed=2, connections=1, duration=1.3 * seconds, grace=30.0)
    for turn in range(pairs):
        alone, beside = serving.both(
            seconds, turn, lambda: meanwhile(functools.partial(serving.send, serving.slow, busy))
        )
        medians.append(beside.latency.p50 / alone.latency.p50)
        ratios.append(beside.latency.p99 / alone.latency.p99)
        of_bar.append(beside.latency.p99 / max(2 * alone.latency.p99, alone.latency.p99 + 0.004))
        of_service.append(beside.service.p99 / alone.service.p99)
    rows = (
        ratio_row("median beside the slow model over alone", medians),
        ratio_row("p99 beside the slow model over alone", ratios),
        ratio_row("p99 beside the slow model over max(2 x, + 4 ms) of alone", of_bar, most=1.0),
        ratio_row("p99 from the sending beside the slow model over alone", of_service),
    )
    title = f"A model of {1000 * run_seconds:.0f} ms beside a fast one at {serving.pace:,.0f} requests a second"
    return Table(title, COLUMNS, rows, (_alone(alone), serving.lateness()))


def _beside_hostile(serving: Serving, pairs: int, seconds: float) -> Table:
    """Latencies of an honest client beside each hostile one, over those alone."""
    rows = []
    before = resident_mb()
    for kind in KINDS:
        medians, tails = [], []
        for turn in range(pairs):
            alone, beside = serving.both(seconds, turn, functools.partial(_hostile, kind, serving))
            medians.append(beside.latency.p50 / alone.latency.p50)
            tails.append(beside.latency.p99 / alone.latency.p99)
        rows += [
            ratio_row(f"median latency beside {WORDS[kind]}", medians, most=None if kind == "nobody" else 1.1),
            ratio_row(f"p99 latency beside {WORDS[kind]}", tails),
        ]
    grown = f"This process, in which the server runs, grew by {resident_mb() - before:.1f} MB in all."
    return Table(
        "Hostile clients beside an honest one", COLUMNS, tuple(rows), (_alone(alone), serving.lateness(), grown)
    )


def _alone(report: Report) -> str:
    p50, p99 = 1e6 * report.latency.p50, 1e6 * report.latency.p99
    return f"Every request was answered OK; alone in {p50:,.0f} us (median) and {p99:,.0f} us (p99) the last time."


def _requests(name: str) -> list[bytes]:
    """Serialised requests of one row each."""
    found = []
    for row in model.rows(ROWS):
        message = pb.ModelInferRequest(model_name=name, raw_input_contents=[row.astype("<f4").tobytes()])
        message.inputs.add(name=model.INPUT, datatype="FP32", shape=[1, model.FEATURES])
        found.append(message.SerializeToString())
    return found


@contextmanager
def _hostile(kind: str, serving: Serving) -> Iterator[None]:
    client = Process(python("benchmarks.load.hostile", kind, serving.address, str(serving.body)))
    try:
        yield
    finally:
        client.stop()


def _slow(files: model.Files) -> Path:
    """The slow model under a name of its own."""
    spec = yaml.safe_load(files.slow.with_suffix(".yaml").read_text())
    path = files.slow.with_name("neighbour.yaml")  # paths in it are relative to where it stands
    path.write_text(yaml.safe_dump(spec | {"name": SLOW}))
    archive = path.with_suffix(".kedge")
    archive.unlink(missing_ok=True)
    build(path, archive)
    return archive
