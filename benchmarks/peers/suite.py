"""The peers suite: serving, then the cost of drift statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers import drift_cost, serving

if TYPE_CHECKING:
    from benchmarks.report import Table


def run(*, quick: bool) -> tuple[Table, ...]:
    """Both, in fewer and shorter turns if `quick`. Raises `BenchmarkError`."""
    return (*serving.run(quick=quick), *drift_cost.run(quick=quick))
