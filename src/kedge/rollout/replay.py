"""Current rows put to a retained bundle: do they fit its inputs, what does it count of them, what does it predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.dtypes import DTYPES, widened
from kedge.errors import KedgeError
from kedge.kernel.snapshot import Counts
from kedge.plane.portable.predictions import invalid_rows
from kedge.plane.portable.watch import Watch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import TensorSpec
    from kedge.kernel.contract import Kernel

Tensors = Mapping[str, "NDArray[Any]"]
Run = Callable[[Tensors], Tensors]
"""From inputs by name to outputs by name, with the rows on the first axis."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What became of the rows.

    Attributes:
        rows: given.
        fitted: of those, that fit the bundle's inputs.
        misfit: why the first of the others does not; empty where all fit.
        failure: why the model failed on them; empty where it did not.
        predicted: rows with a prediction, whose inputs are all finite: what is made of others is no fault of the model.
        invalid: of those, not finite, or with a probability outside [0, 1].
        counts: inputs and predictions, in the bundle's own layout.
    """

    rows: int
    fitted: int
    misfit: str
    failure: str
    predicted: int
    invalid: int
    counts: Counts


def replay(bundle: Bundle, rows: Sequence[Tensors], run: Run, kernel: Kernel) -> Replay:
    """Put rows to a bundle.

    Args:
        bundle: who they are put to.
        rows: each a mapping of tensor name to an array of first extent 1, as planes keep them.
        run: its model. What it raises as `KedgeError` is a failure of the bundle.
        kernel: what counts.
    """
    watch = Watch.of(bundle)
    sketch = kernel.sketch(watch.layout)
    fitting, misfit = [], ""
    for row in rows:
        if reason := _misfit(bundle, row):
            misfit = misfit or reason
        else:
            fitting.append([row[name] for name in watch.names])
    predicted = invalid = 0
    failure = ""
    for batch in _batches(fitting, bundle.serving.batching.max_batch if bundle.manifest.batchable else 1):
        feeds = [np.concatenate(parts) for parts in zip(*batch, strict=True)]
        if watch.tensors:
            sketch.observe(watch.inputs(feeds))
        if failure or watch.predictions is None:
            continue
        try:
            outputs = run(dict(zip(watch.names, feeds, strict=True)))
        except KedgeError as error:
            failure = str(error)
            continue
        predictions = watch.predictions([outputs[spec.name] for spec in bundle.manifest.outputs])
        wrong, finite = invalid_rows(predictions), _finite(bundle, feeds)
        predicted += int(finite.sum())
        invalid += 0 if wrong is None else int((wrong & finite).sum())
        if watch.counted:
            classes, scores, probabilities = predictions
            sketch.observe_predictions(classes, scores, probabilities=probabilities)
    counts = Counts.parse(sketch.snapshot(), watch.layout)
    return Replay(len(rows), len(fitting), misfit, failure, predicted, invalid, counts)


def _misfit(bundle: Bundle, row: Tensors) -> str:
    """Why a row does not fit a bundle's inputs, in words; empty where it does."""
    for spec in bundle.manifest.inputs:
        if spec.name not in row:
            return f"its input '{spec.name}' is not sent any more"
        if not _kind_fits(spec, row[spec.name]):
            return f"its input '{spec.name}' is {spec.dtype}, and {row[spec.name].dtype.name} is sent"
        shape = row[spec.name].shape
        if len(shape) != len(spec.shape) or any(
            dim not in {-1, size} for dim, size in zip(spec.shape[1:], shape[1:], strict=True)
        ):
            return f"its input '{spec.name}' is {list(spec.shape)}, and {list(shape)} is sent"
    if unknown := sorted(row.keys() - {spec.name for spec in bundle.manifest.inputs}):
        return f"'{unknown[0]}' is sent, which it does not take"
    return ""


def _kind_fits(spec: TensorSpec, array: NDArray[Any]) -> bool:
    expected = DTYPES[spec.dtype].numpy
    return array.dtype.kind in "OSU" if expected.kind == "O" else array.dtype == expected


def _finite(bundle: Bundle, feeds: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """[N] rows without NaN and infinity in their inputs."""
    rows = np.ones(len(feeds[0]), dtype=np.bool_)
    for spec, feed in zip(bundle.manifest.inputs, feeds, strict=True):
        values = widened(feed) if spec.dtype == "BF16" else feed
        if values.dtype.kind == "f":
            rows &= np.isfinite(values.reshape(len(rows), -1)).all(axis=1)
    return rows


def _batches(rows: Sequence[list[NDArray[Any]]], most: int) -> list[list[list[NDArray[Any]]]]:
    """Rows of one shape together, at most so many."""
    by_shape: dict[tuple[tuple[int, ...], ...], list[list[NDArray[Any]]]] = {}
    for row in rows:
        by_shape.setdefault(tuple(array.shape[1:] for array in row), []).append(row)
    return [group[start : start + most] for group in by_shape.values() for start in range(0, len(group), most)]
