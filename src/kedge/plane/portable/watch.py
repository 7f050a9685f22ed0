"""What of a bundle's traffic is counted, and which rows make a bundle suspect."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.dtypes import widened
from kedge.plane import limits
from kedge.plane.portable.predictions import ScoreRule, reader, unfinished_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.kernel.contract import Layout
    from kedge.plane.portable.predictions import Predictions, Reader
    from kedge.plane.portable.signature import Signature


@dataclass(frozen=True, slots=True)
class Watch:
    """What of a bundle's inputs and outputs is counted.

    Attributes:
        layout: of the sketches.
        tensors: position of the input behind each of the layout's tensors, and whether it is BF16.
        names: of the inputs.
        predictions: from all outputs to what they predict; None where the bundle does not say, or they are
            BF16, whose bit patterns are no numbers to numpy.
        counted: the sketch counts predictions; without a reference there is nothing to compare them with.
        score: by which arms are compared.
    """

    layout: Layout
    tensors: tuple[tuple[int, bool], ...]
    names: tuple[str, ...]
    predictions: Reader | None
    counted: bool
    score: ScoreRule

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
        types = {spec.name: spec.dtype for spec in bundle.manifest.outputs}
        return cls(
            layout,
            tensors,
            names,
            None if prediction is None or types[prediction.output] == "BF16" else reader(prediction, outputs),
            layout.classes > 0 or bool(layout.scores),
            ScoreRule(layout),
        )

    def inputs(self, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The arrays the sketch counts."""
        return [widened(feeds[position]) if bf16 else feeds[position] for position, bf16 in self.tensors]


class Suspects:
    """The first rows of a bundle, since they were last taken, whose inputs were finite and whose prediction was not.

    Args:
        signature: of its model. The inputs of one that is not batchable are kept whole, as one row.
    """

    def __init__(self, signature: Signature) -> None:
        self._names = tuple(signature.inputs)
        self._bf16 = tuple(tensor.dtype.name == "BF16" for tensor in signature.inputs.values())
        self._batchable = signature.batchable
        self._rows: list[dict[str, NDArray[Any]]] = []
        self._lock = threading.Lock()  # a shadow's rows come from a thread of its own

    def look(self, feeds: Sequence[NDArray[Any]], predictions: Predictions) -> None:
        """Keep what is suspect of a run."""
        scores = predictions[1]
        if scores is None or len(self._rows) >= limits.SUSPECTS or np.isfinite(scores).all():
            return
        rows = unfinished_rows(predictions)
        with self._lock:
            if not self._batchable:
                if all(_finite(feed, bf16=bf16).all() for feed, bf16 in zip(feeds, self._bf16, strict=True)):
                    self._keep(feeds, slice(None))
                return
            for feed, bf16 in zip(feeds, self._bf16, strict=True):
                rows = rows & _finite(feed, bf16=bf16).reshape(len(rows), -1).all(axis=1)
            for row in np.flatnonzero(rows).tolist():
                self._keep(feeds, slice(row, row + 1))

    def take(self) -> tuple[dict[str, NDArray[Any]], ...]:
        """Each a mapping of tensor name to an array of first extent 1. There is room for others then."""
        with self._lock:
            rows, self._rows = self._rows, []
        return tuple(rows)

    def _keep(self, feeds: Sequence[NDArray[Any]], rows: slice) -> None:
        if len(self._rows) < limits.SUSPECTS:
            self._rows.append({name: feed[rows].copy() for name, feed in zip(self._names, feeds, strict=True)})


def _finite(feed: NDArray[Any], *, bf16: bool) -> NDArray[np.bool_]:
    """Where an input is finite; integers and strings always are."""
    values = widened(feed) if bf16 else feed
    finite: NDArray[np.bool_] = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
    return finite
