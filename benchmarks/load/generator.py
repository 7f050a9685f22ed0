"""`kedge load` against h2load, on the same server in turns: what each costs, and whether they measure the same."""

from __future__ import annotations

import resource
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import model
from benchmarks.load import h2load
from benchmarks.load.field import check_answer, write_body
from benchmarks.load.h2load import LoadError, Shape
from benchmarks.load.subjects import Kedge, ask
from benchmarks.report import Table, ratio_row
from kedge.load import Plan, run

if TYPE_CHECKING:
    from benchmarks.model import Files
    from kedge.load import Report

WIDE: Final = Shape(8, 8)
ALONE: Final = Shape(1, 1)
PACE: Final = 100.0
"""Requests a second on one connection: of h2load's pace, which is kept by steps of 10 ms, one a step."""
PACED_SECONDS: Final = 3.0
COLUMNS: Final = ("kedge load over h2load, connections x streams", "median", "lowest - highest", "pairs", "bar", "met")


def compare(files: Files, pairs: int, seconds: float) -> Table:
    """Rates and CPU of the clients at full speed, and the latencies they see of one request at a time and at a pace.

    Args:
        files: of the benchmark model.
        pairs: of runs, one client and the other in turns.
        seconds: of one run.
    """
    request = model.request()
    rates, costs, medians, paced_medians, paced_tails = [], [], [], [], []
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="kedge-bench-")))
        server = Kedge("kedge native, two clients", "native", files.watched, directory / "state")
        parts.callback(server.stop)
        body, log = write_body(directory, request), directory / "log"
        check_answer(server.name, ask(server.address, request), files.model)
        most = int(h2load.run(server.url, WIDE, 20_000, body=body).rate * seconds)
        alone = max(200, int(h2load.run(server.url, ALONE, 300, body=body).rate * seconds / 2))
        paced = int(PACE * min(PACED_SECONDS, 3 * seconds))
        sent = 1 + 20_000 + 300
        for turn in range(pairs):
            for client in ("h2load", "kedge")[:: 1 if turn % 2 else -1]:
                if client == "kedge":
                    wide = _ours(server.address, request, closed=64, requests=most, connections=8, streams=8)
                    one = _ours(server.address, request, closed=1, requests=alone, connections=1)
                    even = _ours(server.address, request, rate=PACE, requests=paced, connections=1, arrivals="uniform")
                else:
                    before = _children_seconds()
                    theirs = h2load.run(server.url, WIDE, most, body=body)
                    their_cost = (_children_seconds() - before) / most
                    their_one = h2load.run(server.url, ALONE, alone, body=body, log=log)
                    their_even = h2load.run(server.url, ALONE, paced, body=body, log=log, pace=PACE)
            rates.append(wide.rate / theirs.rate)
            costs.append(wide.client_cpu / most / their_cost)
            medians.append(one.latency.p50 * 1e6 / their_one.median_us)
            paced_medians.append(even.service.p50 * 1e6 / their_even.median_us)
            paced_tails.append(even.service.p99 * 1e6 / their_even.p99_us)
            sent += 2 * (most + alone + paced)
        server.check_count(sent)
    rows = (
        ratio_row(f"requests a second, {WIDE}", rates),
        ratio_row(f"CPU of the client a request, {WIDE}", costs, most=1.0),
        ratio_row(f"median latency, {ALONE}", medians),
        ratio_row(f"median time from the sending at {PACE:.0f} a second, {ALONE}", paced_medians),
        ratio_row(f"p99 time from the sending at {PACE:.0f} a second, {ALONE}", paced_tails),
    )
    last = (
        f"The last time: {wide.rate:,.0f} and {theirs.rate:,.0f} requests a second, {1e6 * wide.client_cpu / most:.2f} "
        f"and {1e6 * their_cost:.2f} us of the client's CPU each; a request alone {1e6 * one.latency.p50:.0f} and "
        f"{their_one.median_us:.0f} us."
    )
    checks = "kedge load checks status and id of every answer and takes its time twice; h2load sees neither."
    return Table("kedge load against h2load", COLUMNS, rows, (last, checks))


def _ours(address: str, request: bytes, **plan: object) -> Report:
    """One run. Raises `LoadError` where not every request was answered OK."""
    report = run(address, [request], Plan(duration=h2load.TIMEOUT_SECONDS, **plan))  # type: ignore[arg-type]
    if report.ok != report.planned or report.planned != plan["requests"]:
        raise LoadError(f"{address}: {report.ok} of {plan['requests']} requests were answered OK")
    return report


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
