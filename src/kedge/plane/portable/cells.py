"""Cells: the counts of every (bundle, arm, epoch) by one writer, and how rows get into them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.errors import KernelError
from kedge.kernel.snapshot import Counts
from kedge.plane.cells import FOLDED, Cell, CellKey
from kedge.plane.evidence import WORDS, Evidence
from kedge.plane.portable.predictions import are_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel, Layout, Sketch
    from kedge.plane.contract import Arm
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.predictions import Predictions

_log: Final = logging.getLogger("kedge.plane")


class Cells:
    """Sketches and evidence by (bundle, arm, epoch), of one writer.

    Args:
        kernel: makes the sketches.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._cells: dict[CellKey, tuple[Sketch, NDArray[np.int64]]] = {}

    def of(self, key: CellKey, layout: Layout) -> tuple[Sketch, NDArray[np.int64]]:
        """The sketch of a cell and the words of its evidence."""
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = self._kernel.sketch(layout), np.zeros(WORDS, dtype=np.int64)
        return cell

    def snapshot(self) -> dict[CellKey, Cell]:
        """What every cell holds."""
        return {
            key: Cell(sketch.snapshot(), Evidence(words).to_bytes() if words.any() else b"")
            for key, (sketch, words) in self._cells.items()
        }

    def fold(self, open_epochs: set[CellKey]) -> None:
        """Add up, under epoch 0, what was counted in epochs that are closed.

        Args:
            open_epochs: cells that requests may still be counted in.
        """
        newest: dict[tuple[str, Arm], int] = {}
        for bundle, arm, epoch in self._cells:
            newest[bundle, arm] = max(epoch, newest.get((bundle, arm), FOLDED))
        for key in tuple(self._cells):
            bundle, arm, epoch = key
            if epoch in (FOLDED, newest[bundle, arm]) or key in open_epochs:
                continue
            sketch, words = self._cells.pop(key)
            total, all_words = self.of((bundle, arm, FOLDED), sketch.layout)
            total.merge(Counts.parse(sketch.snapshot(), sketch.layout))
            all_words += words

    def forget(self, bundle: str) -> None:
        """Drop what a bundle counted."""
        for key in [key for key in self._cells if key[0] == bundle]:
            del self._cells[key]


def count_rows(
    model: Model, sketch: Sketch, feeds: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]], rows: int
) -> Predictions | None:
    """Count the rows of a run; returns what was predicted, or None where that cannot be told.

    There is one prediction a row, or for a model that is not batchable at least one.
    """
    watch = model.watch
    predictions = None
    try:
        if watch.tensors:
            sketch.observe(watch.inputs(feeds))
        if watch.predictions is not None:
            predictions = watch.predictions(outputs)
            model.suspects.look(feeds, predictions)
            if watch.counted:
                classes, scores, probabilities = predictions
                sketch.observe_predictions(classes, scores, probabilities=probabilities)
    except (KernelError, ValueError, TypeError, IndexError) as error:
        # A model whose outputs are not what its bundle says goes on serving; the log says so once.
        if not model.unwatchable:
            model.unwatchable = True
            _log.warning("bundle %s cannot be watched: %s", model.handle.bundle[:12], error)
    expected = rows if model.signature.batchable else None
    return predictions if predictions is not None and are_of(predictions, expected) else None
