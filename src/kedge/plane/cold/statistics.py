"""ModelStatistics, from the counts the plane keeps anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kedge.errors import Code, RequestError
from kedge.kernel.latency import latency_lower
from kedge.kernel.snapshot import Counts
from kedge.plane import cells
from kedge.plane.cold.routes import find, handles
from kedge.plane.contract import Arm
from kedge.plane.text import quoted
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.plane.cold.facts import Facts
    from kedge.plane.contract import Handle


def model_statistics(request: pb.ModelStatisticsRequest, facts: Facts) -> pb.ModelStatisticsResponse:
    """Counts and durations of every version asked about.

    Raises:
        RequestError: NOT_FOUND, or INVALID_ARGUMENT for a version without a model.
    """
    table = facts.table()
    if request.name and request.version:
        wanted = [find(table, request.name, request.version)[1]]
    elif request.version:
        raise RequestError(
            Code.INVALID_ARGUMENT, f"version {quoted(request.version)} without a model: expected a name too"
        )
    else:
        routes = [find(table, request.name, "")[0]] if request.name else table.routes
        wanted = [handle for route in routes for handle in handles(route)]
    counted = cells.decode(facts.snapshot())
    response = pb.ModelStatisticsResponse()
    for handle in wanted:
        bundle = facts.bundle(handle.bundle)
        response.model_stats.append(_statistics(handle, _total(bundle, counted)))
    return response


def _total(bundle: Bundle, counted: dict[cells.CellKey, cells.Cell]) -> Counts:
    """What a bundle answered; as a shadow it answered nobody."""
    layout = bundle.layout()
    parts = [
        Counts.parse(cell.counts, layout)
        for (identity, arm, _), cell in counted.items()
        if identity == bundle.id and arm is not Arm.SHADOW
    ]
    return sum(parts, start=Counts.zero(layout))


def _statistics(handle: Handle, counts: Counts) -> pb.ModelStatistics:
    by_size = counts.latency_run_by_size
    runs = int(by_size.sum())
    queue_ns, run_ns = _nanoseconds(counts.latency_queue), _nanoseconds(by_size.sum(axis=0))
    succeeded, answered = int(counts.status[0]), int(counts.status.sum())
    statistics = pb.ModelStatistics(
        name=handle.model,
        version=handle.version,
        inference_count=counts.rows if counts.layout.tensors else succeeded,
        execution_count=runs,
    )
    of = statistics.inference_stats
    _fill(of.success, succeeded, queue_ns + run_ns)
    _fill(of.fail, answered - succeeded, 0)
    _fill(of.queue, int(counts.latency_queue.sum()), queue_ns)
    _fill(of.compute_infer, runs, run_ns)
    for bucket, histogram in enumerate(by_size):
        if histogram.any():
            batch = statistics.batch_stats.add(batch_size=1 << bucket)
            _fill(batch.compute_infer, int(histogram.sum()), _nanoseconds(histogram))
    return statistics


def _fill(duration: pb.StatisticDuration, count: int, nanoseconds: int) -> None:
    duration.count, duration.ns = count, nanoseconds


def _nanoseconds(histogram: NDArray[np.int64]) -> int:
    """Total of a latency histogram, each time taken at the middle of its bucket."""
    lower = latency_lower()
    middle = (lower + np.append(lower[1:] - 1, lower[-1])) // 2
    return int(histogram @ middle)
