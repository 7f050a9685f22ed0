"""Observe: after the answers are sent, count what came in, what was predicted and how long it took.

One writer, the serving thread, owns every sketch; so `Observer` has no locks and is touched by that thread alone.
"""

from __future__ import annotations

import logging
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.plane.portable.cells import Cells, count_rows
from kedge.plane.portable.predictions import invalid_rows
from kedge.plane.portable.shadow import Shadows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel, Sketch
    from kedge.plane.cells import Cell, CellKey
    from kedge.plane.evidence import Kind
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.predictions import Predictions
    from kedge.plane.portable.route import Target
    from kedge.plane.portable.run import Request, Run
    from kedge.plane.portable.shadow import ShadowRoute
    from kedge.plane.portable.units import Keyed, Trial

_MAX_ROWS: Final = 4096
"""Rows that are noted before they are counted, at most: they are kept until then."""

_log: Final = logging.getLogger("kedge.plane")


class Observer:
    """Counts by (bundle, arm, epoch).

    Attributes:
        shadows: what is compared with the bundles that answer.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.shadows = Shadows(kernel)
        self._cells = Cells(kernel)
        self._rows_pending = 0
        self._trouble = ""
        self._pending: dict[tuple[Target, tuple[tuple[int, ...], ...]], list[Run[Request]]] = {}

    def run(self, target: Target, run: Run[Request]) -> None:
        """Take note of one run whose answers are on their way; `flush` counts it."""
        key = target, run.members[0].tensors.shape
        runs = self._pending.get(key)
        if runs is None:
            runs = self._pending[key] = []
        runs.append(run)
        self._rows_pending += run.rows
        if self._rows_pending >= _MAX_ROWS:
            self.flush()

    @property
    def idle(self) -> bool:
        """Nothing waits to be counted."""
        return not self._pending

    def flush(self) -> None:
        """Count what was noted: runs of one target and shape in one go, because a call costs more than a row.

        A fault of ours in one of them is logged: the others are counted, and whoever called goes on answering.
        """
        pending, self._pending = self._pending, {}
        self._rows_pending = 0
        for (target, _), runs in pending.items():
            try:
                self._count(target, runs)
            except Exception as error:  # noqa: BLE001 - of any kind: every answer has been computed
                self._failed(target, error)

    def status(self, target: Target, code: int, unit: Keyed | None) -> None:
        """Count one answer that is not OK."""
        sketch, words = self._cell(target)
        sketch.observe_status(code)
        if target.trial is not None:
            target.trial.count_failure(words, unit, code)

    def violation(self, target: Target, kind: str, name: str) -> None:
        """Count one tensor that does not fit the model."""
        self._cell(target)[0].observe_schema(kind, name)

    def snapshot(self) -> dict[CellKey, Cell]:
        """Every cell but those of shadows, with all that was noted."""
        self.flush()
        return self._cells.snapshot()

    def fold(self, open_epochs: set[CellKey]) -> None:
        """See `Cells.fold`."""
        self.flush()
        self._cells.fold(open_epochs)

    def forget(self, bundle: str) -> None:
        """Drop what a bundle counted, with all that was noted."""
        self.flush()
        self._cells.forget(bundle)

    def _failed(self, target: Target, error: Exception) -> None:
        if repr(error) != self._trouble:  # it may come with every run
            bundle = target.model.handle.bundle[:12]
            _log.error("answers of %s cannot be counted in full", bundle, exc_info=error)
        self._trouble = repr(error)

    def _cell(self, target: Target) -> tuple[Sketch, NDArray[np.int64]]:
        return self._cells.of((target.model.handle.bundle, target.arm, target.epoch), target.model.watch.layout)

    def _count(self, target: Target, runs: list[Run[Request]]) -> None:
        model = target.model
        sketch, words = self._cell(target)
        sketch.observe_status(0, sum(member.answered for run in runs for member in run.members))
        full = [run for run in runs if run.rows]
        queued = np.array([run.started - member.arrived for run in full for member in run.members], dtype=np.int64)
        for run in full:
            sketch.observe_batch(queued, run.nanoseconds, run.rows)
            queued = queued[:0]  # all of them were counted with the first run
        if len(full) <= 1 or not model.signature.batchable:
            for run in full:
                self._rows(target, [run], run.feeds, run.outputs)
        else:
            feeds = [np.concatenate(parts) for parts in zip(*(run.feeds for run in full), strict=True)]
            outputs = [np.concatenate(parts) for parts in zip(*(run.outputs for run in full), strict=True)]
            self._rows(target, full, feeds, outputs)
        if target.trial is not None and len(full) < len(runs):
            _compare(target.trial, words, target.model, [run for run in runs if not run.rows], None)

    def _rows(
        self,
        target: Target,
        runs: Sequence[Run[Request]],
        feeds: Sequence[NDArray[Any]],
        outputs: Sequence[NDArray[Any]],
    ) -> None:
        """Count the rows of these runs, which follow each other in `feeds` and `outputs`."""
        model = target.model
        sketch, words = self._cell(target)
        rows = sum(run.rows for run in runs)
        predictions = count_rows(model, sketch, feeds, outputs, rows)
        if model.signature.batchable:
            model.reservoir.offer(model.watch.names, feeds, rows)
        if target.trial is not None:
            _compare(target.trial, words, model, runs, predictions)
        if target.shadow is not None:
            self._offer(target.shadow, model, runs, predictions)

    def _offer(
        self, route: ShadowRoute, model: Model, runs: Sequence[Run[Request]], predictions: Predictions | None
    ) -> None:
        """Give a sample of the answered requests of these runs to a shadow."""
        row = 0
        for run in runs:
            for member in run.members:
                if member.answered and member.tensors.rows and route.drawn():
                    live = model.watch.score.read(predictions, row)
                    self.shadows.offer(route, member.tensors, live, run.nanoseconds)
                row += member.tensors.rows


def _compare(
    trial: Trial,
    words: NDArray[np.int64],
    model: Model,
    runs: Sequence[Run[Request]],
    predictions: Predictions | None,
) -> None:
    """Count the answered requests of these runs for the trial they are part of; their rows follow each other."""
    members = [member for run in runs for member in run.members]
    ends = list(accumulate(member.tensors.rows for member in members))
    starts = [end - member.tensors.rows for end, member in zip(ends, members, strict=True)]
    slots: Sequence[int | None] = [None] * len(members)
    invalid = None
    if predictions is not None:
        slots = model.watch.score.slots(predictions, starts) or slots
        invalid = invalid_rows(predictions)
    lines = [(run.nanoseconds, trial.line(run.rows)) for run in runs for _ in run.members]
    for member, start, end, slot, (took, line) in zip(members, starts, ends, slots, lines, strict=True):
        if not member.answered:
            continue
        events: list[Kind] = ["slow"] if 0 < line < took else []
        # all rows are of the one request where the model is not batchable
        if invalid is not None and (invalid[start:end] if model.signature.batchable else invalid).any():
            events.append("invalid")
        trial.count(words, member.unit, events, slot, judged=line > 0)
