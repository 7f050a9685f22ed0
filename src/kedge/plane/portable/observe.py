"""Observe: after the answers are sent, count what came in, what was predicted and how long it took.

One writer, the serving thread, owns every sketch; so `Observer` has no locks and is touched by that thread alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.dtypes import widened
from kedge.errors import KernelError
from kedge.kernel.snapshot import Counts
from kedge.plane import limits
from kedge.plane.cells import FOLDED, CellKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import Prediction
    from kedge.kernel.contract import Kernel, Layout, Sketch
    from kedge.plane.contract import Arm
    from kedge.plane.portable.route import Target
    from kedge.plane.portable.run import Run

_log: Final = logging.getLogger("kedge.plane")
Scores = tuple["NDArray[np.int64] | None", "NDArray[Any] | None", bool]
"""Classes, scores, and whether the scores are probabilities: what `Sketch.observe_predictions` takes."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What of a bundle's inputs and outputs is counted.

    Attributes:
        layout: of the sketches.
        tensors: position and name of the input behind each of the layout's tensors, and whether it is BF16.
        predictions: from all outputs to what is counted of them; None where predictions are not watched.
    """

    layout: Layout
    tensors: tuple[tuple[int, bool], ...]
    names: tuple[str, ...]
    predictions: Callable[[Sequence[NDArray[Any]]], Scores] | None

    @classmethod
    def of(cls, bundle: Bundle) -> Watch:
        """What a bundle's schema, reference and serving config ask for. Raises `KernelError` where they do not fit."""
        layout = bundle.layout()
        names = tuple(spec.name for spec in bundle.manifest.inputs)
        tensors = tuple(
            (names.index(tensor.name), bundle.manifest.inputs[names.index(tensor.name)].dtype == "BF16")
            for tensor in layout.tensors
        )
        prediction = bundle.serving.prediction
        outputs = [spec.name for spec in bundle.manifest.outputs]
        watched = prediction is not None and (layout.classes > 0 or bool(layout.scores))
        return cls(layout, tensors, names, _reader(prediction, outputs) if prediction and watched else None)

    def inputs(self, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The arrays the sketch counts."""
        return [widened(feeds[position]) if bf16 else feeds[position] for position, bf16 in self.tensors]


def _reader(prediction: Prediction, outputs: list[str]) -> Callable[[Sequence[NDArray[Any]]], Scores]:
    """A function from a run's outputs to its predictions."""
    at = outputs.index(prediction.output)
    if prediction.kind == "value":
        return lambda arrays: (None, _column(arrays[at]), False)
    to_ids = _class_ids(prediction.classes)
    if prediction.kind == "label":
        return lambda arrays: (to_ids(arrays[at]), None, False)
    label_at = outputs.index(prediction.label_output) if prediction.label_output is not None else None
    logits = prediction.kind == "logits"

    def scores(arrays: Sequence[NDArray[Any]]) -> Scores:
        probabilities = _probabilities(arrays[at], logits=logits)
        labels = probabilities.argmax(axis=1) if label_at is None else to_ids(arrays[label_at])
        return labels, probabilities, True

    return scores


def _column(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(values.shape[0], -1)[:, 0]


def _probabilities(scores: NDArray[Any], *, logits: bool) -> NDArray[Any]:
    """[N, C] probabilities; a single score a row is that of the second of two classes."""
    flat = scores.reshape(scores.shape[0], -1)
    if flat.shape[1] != 1:
        return _softmax(flat) if logits else flat
    if logits:
        return _softmax(np.concatenate([np.zeros_like(flat), flat], axis=1))
    return np.concatenate([1 - flat, flat], axis=1)


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):  # what is not finite is counted as such, not warned about
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        result: NDArray[Any] = shifted / shifted.sum(axis=1, keepdims=True)
        return result


def _class_ids(classes: tuple[str, ...]) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """A function from a label output [N] or [N, 1] to class ids; a label that is no class gets their number."""
    if classes == tuple(str(index) for index in range(len(classes))):

        def numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
            if labels.dtype.kind in "iu":
                return _column(labels).astype(np.int64, copy=False)
            return by_name(labels)
    else:

        def numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
            return by_name(labels)

    table = {name: index for index, name in enumerate(classes)}

    def by_name(labels: NDArray[Any]) -> NDArray[np.int64]:
        column = _column(labels).tolist()
        return np.array([table.get(_name(label), len(classes)) for label in column], dtype=np.int64)

    return numbers


def _name(label: Any) -> str:
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


class Observer:
    """Counts by (bundle, arm, epoch)."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._cells: dict[CellKey, Sketch] = {}
        self._broken: set[str] = set()
        self._pending: dict[tuple[Target, tuple[tuple[int, ...], ...]], list[Run]] = {}

    def run(self, target: Target, run: Run) -> None:
        """Take note of one run whose answers are on their way; `flush` counts it."""
        self._pending.setdefault((target, run.members[0].tensors.shape), []).append(run)

    @property
    def idle(self) -> bool:
        """Nothing waits to be counted."""
        return not self._pending

    def flush(self) -> None:
        """Count what was noted: runs of one target and shape in one go, because a call costs more than a row."""
        pending, self._pending = self._pending, {}
        for (target, _), runs in pending.items():
            self._count(target, runs)

    def _count(self, target: Target, runs: list[Run]) -> None:
        model = target.model
        sketch = self._sketch(target)
        sketch.observe_status(0, sum(len(run.members) for run in runs))
        runs = [run for run in runs if run.rows]
        if not runs:
            return
        for run in runs:
            sketch.observe_batch(run.queue_ns, run.nanoseconds, run.rows)
        if len(runs) == 1 or not model.signature.batchable:
            for run in runs:
                self._rows(target, sketch, run.feeds, run.outputs, run.rows)
        else:
            feeds = [np.concatenate(parts) for parts in zip(*(run.feeds for run in runs), strict=True)]
            outputs = [np.concatenate(parts) for parts in zip(*(run.outputs for run in runs), strict=True)]
            self._rows(target, sketch, feeds, outputs, sum(run.rows for run in runs))

    def _rows(
        self, target: Target, sketch: Sketch, feeds: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]], rows: int
    ) -> None:
        model, watch = target.model, target.model.watch
        try:
            if watch.tensors:
                sketch.observe(watch.inputs(feeds))
            if watch.predictions is not None:
                classes, scores, probabilities = watch.predictions(outputs)
                sketch.observe_predictions(classes, scores, probabilities=probabilities)
            if model.signature.batchable:
                model.reservoir.offer(watch.names, feeds, rows)
        except (KernelError, ValueError, TypeError, IndexError) as error:
            # A model whose outputs are not what its bundle says goes on serving; the log says so once.
            if model.handle.bundle not in self._broken:
                self._broken.add(model.handle.bundle)
                _log.warning("bundle %s cannot be watched: %s", model.handle.bundle[:12], error)

    def status(self, target: Target, code: int) -> None:
        """Count one answer that is not OK."""
        self._sketch(target).observe_status(code)

    def violation(self, target: Target, kind: str, name: str) -> None:
        """Count one tensor that does not fit the model."""
        self._sketch(target).observe_schema(kind, name)

    def snapshot(self) -> dict[CellKey, bytes]:
        """The kernel's snapshot of every cell, with all that was noted."""
        self.flush()
        return {key: sketch.snapshot() for key, sketch in self._cells.items()}

    def fold(self, open_epochs: set[CellKey]) -> None:
        """Add up, under epoch 0, what was counted in epochs closed long ago.

        Args:
            open_epochs: cells that requests may still be counted in.
        """
        self.flush()
        closed: dict[tuple[str, Arm], list[int]] = {}
        for bundle, arm, epoch in self._cells:
            if epoch != FOLDED and (bundle, arm, epoch) not in open_epochs:
                closed.setdefault((bundle, arm), []).append(epoch)
        for (bundle, arm), epochs in closed.items():
            for epoch in sorted(epochs)[: -limits.CLOSED_EPOCHS]:
                sketch = self._cells.pop((bundle, arm, epoch))
                total = self._cells.setdefault((bundle, arm, FOLDED), self._kernel.sketch(sketch.layout))
                total.merge(Counts.parse(sketch.snapshot(), sketch.layout))

    def _sketch(self, target: Target) -> Sketch:
        key = (target.model.handle.bundle, target.arm, target.epoch)
        sketch = self._cells.get(key)
        if sketch is None:
            sketch = self._cells[key] = self._kernel.sketch(target.model.watch.layout)
        return sketch
