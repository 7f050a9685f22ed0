"""What changing what serves costs: publishing under load, loading a large model beside a small one, memory over cycles.

The native plane runs in this process, whose Python only gives the orders; `h2load` asks from outside. An answer that is
not OK would show in the plane's own count of statuses, and h2load says whether every request was answered at all.
"""

from __future__ import annotations

import functools
import gc
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from benchmarks import model
from benchmarks.load import h2load
from benchmarks.load.h2load import Shape
from benchmarks.load.process import ROOT
from benchmarks.report import BenchmarkError, Table, ratio_row
from kedge.audit.record import Actor
from kedge.build import build
from kedge.bundle.store import Store
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.plane import cells
from kedge.plane.contract import Arm, ArmRoute, LoadOptions, Route, RouteTable
from kedge.plane.native import NativePlane
from kedge.rollout.ledger import open_ledger
from kedge.rollout.manager import Rollouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.bundle.contents import Bundle
    from kedge.plane.contract import Handle, PublishReport

WIDE: Final = Shape(8, 8)
FEW: Final = Shape(2, 2)
"""For latencies: the client writes a log line a request, which costs it."""
SIDE: Final = 5000
"""Of the square matrix that makes the large model 100 MB."""
GRACE: Final = 10.0
OPERATOR: Final = Actor(name="benchmark", authenticated_by="none")


class Stamped(NativePlane):
    """A native plane that remembers when its last publish returned."""

    published = 0.0

    def publish(self, table: RouteTable) -> PublishReport:
        report = super().publish(table)
        self.published = time.perf_counter()
        return report


class Serving:
    """A native plane that serves the benchmark's model in two versions."""

    def __init__(self, folder: Path, files: model.Files) -> None:
        self.plane = NativePlane(select("native"), isolate=False)
        store = Store(folder / "store")
        second = _rebuilt(files, folder, "2")
        self.bundles: tuple[Bundle, ...] = tuple(store.add(path) for path in (files.watched, second))
        self.handles = tuple(self.load(bundle) for bundle in self.bundles)
        self.epoch = 0
        self.publish(0)
        message = model.request()
        self.body = folder / "body"
        self.body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        self.log = folder / "log"
        self.url = self.url_of(self.plane.start("127.0.0.1:0"))

    @staticmethod
    def url_of(address: str) -> str:
        return f"http://{address}/inference.GRPCInferenceService/ModelInfer"

    def load(self, bundle: Bundle) -> Handle:
        return self.plane.load(bundle.directory, LoadOptions())

    def publish(self, which: int) -> int:
        """All traffic to one of the two; nanoseconds until every shard picks from the new table."""
        self.epoch += 1
        route = Route(model.NAME, self.epoch, (ArmRoute(self.handles[which], Arm.LIVE, 1.0),))
        return self.plane.publish(RouteTable((route,))).nanoseconds

    def ask(self, shape: Shape, requests: int, *, log: bool = False) -> h2load.Load:
        return h2load.run(self.url, shape, requests, body=self.body, log=self.log if log else None)

    def statuses(self) -> tuple[int, int]:
        """Answers that were OK, and others."""
        layouts = {bundle.id: bundle.layout() for bundle in self.bundles}
        found = cells.decode(self.plane.snapshot())
        counts = [Counts.parse(cell.counts, layouts[bundle]).status for (bundle, _, _), cell in found.items()]
        return sum(int(status[0]) for status in counts), sum(int(status[1:].sum()) for status in counts)


def run(*, quick: bool) -> tuple[Table, ...]:
    """Publishing, loading, memory."""
    with tempfile.TemporaryDirectory(prefix="kedge-bench-") as name:
        serving = Serving(Path(name), model.make(ROOT / "build/bench/model"))
        try:
            return (
                _publishing(serving, 500 if quick else 10_000),
                _beside(serving, Path(name), pairs=2 if quick else 6, requests=10_000 if quick else 40_000),
                _memory(serving, cycles=40 if quick else 300),
                _rollbacks(serving, Path(name), 20 if quick else 200),
            )
        finally:
            serving.plane.stop()


def _publishing(serving: Serving, publishes: int) -> Table:
    """`publishes` route tables, a millisecond apart, while h2load keeps the shard busy."""
    serving.ask(WIDE, 20_000)
    before, _ = serving.statuses()
    asked = 0
    took: list[int] = []
    while len(took) < publishes:
        with meanwhile(lambda: serving.ask(WIDE, 200_000)) as busy:
            while busy() and len(took) < publishes:
                took.append(serving.publish(len(took) % 2))
                time.sleep(0.001)
        asked += 200_000
    ok, failed = serving.statuses()
    if failed or ok - before != asked:
        raise BenchmarkError(f"publishing lost requests: {asked} asked, {ok - before} OK, {failed} failed")
    micros = np.array(took) / 1e3
    rows = (
        ("publishes under load", len(took), ""),
        ("requests answered meanwhile, failed", f"{asked:,}, {failed}", "0 failed"),
        ("median us", float(np.median(micros)), ""),
        ("p99 us", float(np.quantile(micros, 0.99)), "<= 1,000"),
        ("worst us", float(micros.max()), ""),
    )
    return Table(f"From the store of a table until every shard picks from it, {WIDE}", ("what", "found", "bar"), rows)


def _beside(serving: Serving, folder: Path, *, pairs: int, requests: int) -> Table:
    """p99 of the small model's requests: alone, while tables are published, while a large model is loaded."""
    large = Store(folder / "store").add(_large(folder))

    spent = 0.0
    """Processor time of the publisher, the last time, a publish; in seconds."""

    def publishing(busy: Callable[[], bool]) -> None:
        nonlocal spent
        start = time.thread_time()
        for turn in range(1_000_000):
            if not busy():
                spent = (time.thread_time() - start) / max(turn, 1)
                return
            serving.publish(turn % 2)
            time.sleep(0.001)

    def burning(busy: Callable[[], bool]) -> None:
        while busy():
            end = time.thread_time() + spent
            while time.thread_time() < end:
                pass
            time.sleep(0.001)

    def loading(busy: Callable[[], bool]) -> None:
        while busy():
            serving.plane.retire(serving.load(large), GRACE)

    works = {"publishing": publishing, "burning": burning, "loading": loading}
    ratios: dict[str, list[float]] = {what: [] for what in works}
    alone: list[float] = []
    for _ in range(pairs):
        for what, work in works.items():
            alone.append(serving.ask(FEW, requests, log=True).p99_us)
            disturbed: list[float] = []
            with meanwhile(functools.partial(_p99, serving, requests, disturbed)) as busy:
                work(busy)
            ratios[what].append(disturbed[0] / alone[-1])
    rows = (
        ratio_row("while tables are published every millisecond", ratios["publishing"], most=1.2),
        ratio_row("while a thread only takes the publisher's time every millisecond", ratios["burning"]),
        ratio_row("while a 100 MB model is loaded, over and over", ratios["loading"], most=2.0),
    )
    columns = ("p99 latency over steady state", "median", "lowest - highest", "pairs", "bar", "met")
    note = f"Steady p99: {statistics.median(alone):.0f} us. The publisher takes {1e6 * spent:.0f} us a publish."
    return Table(f"Serving meanwhile, {FEW}", columns, rows, (note,))


def _p99(serving: Serving, requests: int, into: list[float]) -> None:
    into.append(serving.ask(FEW, requests, log=True).p99_us)


def _memory(serving: Serving, cycles: int) -> Table:
    """Resident memory after cycles of load, swap, traffic and retire, over that after ten."""
    sizes: dict[int, float] = {}
    for cycle in range(1, cycles + 1):
        fresh = serving.load(serving.bundles[cycle % 2])
        old = serving.handles[cycle % 2]
        serving.handles = (fresh, serving.handles[1]) if cycle % 2 == 0 else (serving.handles[0], fresh)
        serving.publish(cycle % 2)
        serving.ask(FEW, 200)
        serving.plane.retire(old, GRACE)
        if cycle in (10, cycles):
            gc.collect()
            sizes[cycle] = resident_mb()
    row = ratio_row(f"after {cycles} cycles over after 10", [sizes[cycles] / sizes[10]], most=1.05)
    columns = ("resident memory", "ratio", "range", "runs", "bar", "met")
    note = f"{sizes[10]:.1f} MB after 10, {sizes[cycles]:.1f} MB after {cycles}."
    return Table("Load, swap, 200 requests, retire", columns, (row,), (note,))


def _rollbacks(serving: Serving, folder: Path, count: int) -> Table:
    """A swap and its rollback, `count` times under load: from the command until no shard picks the bad bundle."""
    plane = Stamped(select("native"), isolate=False)
    state = folder / "state"
    state.mkdir(mode=0o700)
    rollouts = Rollouts(ledger=open_ledger(state), store=Store(folder / "store"), plane=plane, clock=time.time)
    first, second = (bundle.id for bundle in serving.bundles)
    took: list[float] = []
    try:
        rollouts.restore()
        rollouts.deploy(first, strategy="swap", by=OPERATOR, reason="benchmark")
        serving.url = serving.url_of(plane.start("127.0.0.1:0"))
        while len(took) < count:
            with meanwhile(lambda: serving.ask(WIDE, 200_000)) as busy:
                while busy() and len(took) < count:
                    rollouts.deploy(second, strategy="swap", by=OPERATOR, reason="benchmark")
                    start = time.perf_counter()
                    rollouts.rollback(model.NAME, by=OPERATOR, reason="benchmark")
                    took.append((plane.published - start) * 1e3)
                    rollouts.clear_quarantine(second, by=OPERATOR, reason="benchmark")
    finally:
        rollouts.close()
        plane.stop()
    rows = (
        ("rollbacks under load", len(took), ""),
        ("median ms", float(np.median(took)), ""),
        ("p99 ms", float(np.quantile(took, 0.99)), "<= 1"),
        ("worst ms", max(took), ""),
    )
    return Table(
        f"From the command to roll back until every shard picks the good bundle, {WIDE}", ("what", "found", "bar"), rows
    )


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Does `work` on a thread of its own; gives a function that says whether it still goes on."""
    failure: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except (BenchmarkError, subprocess.SubprocessError) as error:
            failure.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield thread.is_alive
    finally:
        thread.join()
    if failure:
        raise failure[0]


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _rebuilt(files: model.Files, folder: Path, version: str) -> Path:
    """The watched bundle again, as another version."""
    spec = yaml.safe_load(files.watched.with_suffix(".yaml").read_text())
    path = files.watched.with_name("again.yaml")  # paths in it are relative to where it stands
    path.write_text(yaml.safe_dump(spec | {"version": version}))
    archive = folder / "again.kedge"
    build(path, archive)
    return archive


def _large(folder: Path) -> Path:
    """A bundle of a model with 100 MB of weights."""
    weights = np.zeros((SIDE, SIDE), np.float32)
    weights[0] = 1.0
    row = numpy_helper.from_array(np.ones((model.FEATURES, SIDE), np.float32), "in")
    nodes = [helper.make_node("MatMul", ["x", "in"], ["wide"]), helper.make_node("MatMul", ["wide", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", model.FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", SIDE])],
        [row, numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", model.OPSETS[""])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "large.onnx")
    (folder / "large.yaml").write_text(yaml.safe_dump({"name": "large", "version": "1", "model": "large.onnx"}))
    build(folder / "large.yaml", folder / "large.kedge")
    return folder / "large.kedge"
