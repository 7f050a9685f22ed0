"""What one client or model costs the others on the same server: a slow model, and clients that mean no good.

A model that answers in the shard's thread is asked at a fifth of what the server can do, at a fixed pace, alone and
beside its neighbour in turns.
"""

from __future__ import annotations

import functools
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from benchmarks import model
from benchmarks.change import meanwhile, resident_mb
from benchmarks.load import h2load
from benchmarks.load.h2load import Shape
from benchmarks.load.hostile import KINDS
from benchmarks.load.process import ROOT, Process, python
from benchmarks.report import Table, ratio_row
from kedge.build import build
from kedge.bundle.store import Store
from kedge.kernel.select import select
from kedge.plane.contract import Arm, ArmRoute, LoadOptions, Route, RouteTable
from kedge.plane.native import NativePlane
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.load.h2load import Load

SLOW: Final = "slow"
MANY: Final = Shape(4, 64)
"""Streams enough that the pace is kept while answers are late."""
PART: Final = 0.2
"""Of what the server can do."""
COLUMNS: Final = ("of the fast model", "median", "lowest - highest", "pairs", "bar", "met")
WORDS: Final = {
    "garbage": "a client that sends garbage",
    "half": "100 connections that stop in a message",
    "flood": "a client that begins and resets requests",
    "reader": "50 connections that read a byte a second",
}


class Serving:
    """A native plane with the benchmark's model and, on a thread of its own, a slow one."""

    def __init__(self, folder: Path, files: model.Files) -> None:
        self.plane = NativePlane(select("native"), isolate=False)
        store = Store(folder / "store")
        handles = [self.plane.load(store.add(path).directory, LoadOptions()) for path in (files.watched, _slow(files))]
        routes = (Route(one.model, 1, (ArmRoute(one, Arm.LIVE, 1.0),)) for one in handles)
        self.plane.publish(RouteTable(tuple(routes)))
        message = pb.ModelInferRequest.FromString(model.request())
        self.fast, self.slow = folder / "fast", folder / "slow"
        for path, name in ((self.fast, model.NAME), (self.slow, SLOW)):
            message.model_name = name
            data = message.SerializeToString()
            path.write_bytes(b"\0" + struct.pack(">I", len(data)) + data)
        self.log = folder / "log"
        self.address = self.plane.start("127.0.0.1:0")
        self.url = f"http://{self.address}/inference.GRPCInferenceService/ModelInfer"
        h2load.run(self.url, MANY, 5_000, body=self.fast)
        self.pace = PART * h2load.run(self.url, MANY, 50_000, body=self.fast).rate

    def ask(self, seconds: float) -> Load:
        """The fast model, at its pace."""
        return h2load.run(self.url, MANY, int(seconds * self.pace), body=self.fast, log=self.log, pace=self.pace)


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
    ratios, of_bar = [], []
    run_seconds = 1 / h2load.run(serving.url, Shape(1, 1), 50, body=serving.slow).rate
    several = int(1.3 * seconds / run_seconds)
    for turn in range(pairs):
        alone = serving.ask(seconds).p99_us if turn % 2 else 0.0
        with meanwhile(functools.partial(h2load.run, serving.url, Shape(1, 2), several, body=serving.slow)):
            beside = serving.ask(seconds).p99_us
        alone = alone or serving.ask(seconds).p99_us
        ratios.append(beside / alone)
        of_bar.append(beside / max(2 * alone, alone + 4000))
    rows = (
        ratio_row("p99 beside the slow model over alone", ratios),
        ratio_row("p99 beside the slow model over max(2 x, + 4 ms) of alone", of_bar, most=1.0),
    )
    title = f"A model of {1000 * run_seconds:.0f} ms beside a fast one at {serving.pace:,.0f} requests a second"
    return Table(title, COLUMNS, rows)


def _beside_hostile(serving: Serving, pairs: int, seconds: float) -> Table:
    """Latencies of an honest client beside each hostile one, over those alone."""
    rows = []
    before = resident_mb()
    for kind in KINDS:
        medians, tails = [], []
        for turn in range(pairs):
            alone = serving.ask(seconds) if turn % 2 else None
            with _hostile(kind, serving):
                beside = serving.ask(seconds)
            alone = alone or serving.ask(seconds)
            medians.append(beside.median_us / alone.median_us)
            tails.append(beside.p99_us / alone.p99_us)
        rows += [
            ratio_row(f"median latency beside {WORDS[kind]}", medians, most=1.1),
            ratio_row(f"p99 latency beside {WORDS[kind]}", tails),
        ]
    note = (
        f"Every request was answered; alone in {alone.median_us:.0f} us (median) and {alone.p99_us:,.0f} us (p99) the "
        f"last time. This process, in which the server runs, grew by {resident_mb() - before:.1f} MB in all."
    )
    return Table("Hostile clients beside an honest one", COLUMNS, tuple(rows), (note,))


@contextmanager
def _hostile(kind: str, serving: Serving) -> Iterator[None]:
    client = Process(python("benchmarks.load.hostile", kind, serving.address, str(serving.fast)))
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
