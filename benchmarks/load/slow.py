"""A model of more than 10 ms a run: how much of what ONNX Runtime can do alone is left behind a server."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import model
from benchmarks.load import h2load
from benchmarks.load.field import check_answer, write_body
from benchmarks.load.h2load import Shape
from benchmarks.load.process import BareLoop
from benchmarks.load.subjects import Kedge, ask
from benchmarks.report import Cell, ratio_row

if TYPE_CHECKING:
    from benchmarks.model import Files

CALLERS: Final = Shape(4, 1)
LEAST: Final = 0.97


def slow_rows(plane: str, files: Files, pairs: int, seconds: float) -> tuple[tuple[Cell, ...], ...]:
    """Rows of the table of ratios: four callers' requests a second, and their cost, against the bare loop's runs.

    Args:
        plane: "native" or "portable".
        files: of the benchmark model.
        pairs: of runs, server and loop in turns.
        seconds: of one run.
    """
    request = model.request()
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="kedge-bench-")))
        server = Kedge(f"kedge {plane}, slow model", plane, files.slow, directory / "state")
        parts.callback(server.stop)
        loop = BareLoop(files.slow_model)
        parts.callback(loop.stop)
        body = write_body(directory, request)
        check_answer(server.name, ask(server.address, request), files.slow_model)
        sent, rates, costs = 1, [], []
        requests = max(20, int(loop.rate(seconds) * seconds))
        for turn in range(pairs):
            if turn % 2 == 0:
                bare, cost = _bare(loop, requests)
            before = server.process.cpu_seconds()
            served = h2load.run(server.url, CALLERS, requests, body=body).rate
            served_cost = (server.process.cpu_seconds() - before) / requests
            if turn % 2 == 1:
                bare, cost = _bare(loop, requests)
            sent += requests
            server.check_count(sent)
            rates.append(served / bare)
            costs.append(served_cost / cost)
    of = f"{plane}, a model of {1000 * cost:.0f} ms"
    return (
        ratio_row(f"{of}: requests a second over the bare loop, {CALLERS}", rates, least=LEAST),
        ratio_row(f"{of}: server CPU a request over the bare loop, {CALLERS}", costs),
    )


def _bare(loop: BareLoop, runs: int) -> tuple[float, float]:
    """Runs a second, and CPU seconds a run."""
    before = loop.cpu_seconds()
    rate = runs / float(loop.ask(f"{runs}"))
    return rate, (loop.cpu_seconds() - before) / runs
