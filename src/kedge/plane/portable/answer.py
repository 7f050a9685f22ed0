"""Answer: what a client is given: the outputs it asked for, prediction ids, and how sure the model is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedge.errors import Code, RequestError
from kedge.plane.portable import strings
from kedge.plane.portable.predictions import are_of
from kedge.plane.portable.seal import PREDICTION_ID
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.plane.portable.decode import Tensors
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.predictions import Predictions
    from kedge.plane.portable.route import Target
    from kedge.plane.portable.seal import Sealing
    from kedge.plane.portable.signature import Tensor
    from kedge.plane.portable.units import Keyed

Carried = list[tuple["Tensor", "NDArray[Any]"]]


def compose(
    sealing: Sealing,
    target: Target,
    unit: Keyed | None,
    tensors: Tensors,
    outputs: Sequence[NDArray[Any]],
    *,
    confident: bool,
) -> tuple[Carried, str | None]:
    """The tensors of an answer, and the prediction id of its one row.

    Args:
        sealing: makes the ids.
        target: who answers.
        unit: the request's sticky key, where it has one.
        tensors: what was asked.
        outputs: all of the model's.
        confident: add how sure it is.

    Raises:
        RequestError: INTERNAL where that was asked and the model's outputs are not what its bundle says.
    """
    model, rows, names = target.model, tensors.rows, tensors.outputs
    known = model.signature.outputs
    by_name = names is not None and PREDICTION_ID.name in names
    sealed = (by_name or rows == 1) and not sealing.why_not(model)
    predictions = _predictions(model, outputs, rows) if (sealed or confident) and rows else None
    ids = []
    if sealed:
        slices = model.slicer.ids(tensors.arrays, rows)
        ids = sealing.seal(target, unit, predictions, outputs, rows, slices=slices)
    carried: Carried = []
    if names is None:
        carried += zip(known.values(), outputs, strict=True)
    else:
        for name in names:
            if name == PREDICTION_ID.name:
                carried.append((PREDICTION_ID, strings.text_array(ids)))
            else:
                carried.append((known[name], outputs[known[name].position]))
    if confident:
        carried += _confidence(model, predictions, outputs, rows)
    return carried, ids[0] if rows == 1 and ids else None


def _predictions(model: Model, outputs: Sequence[NDArray[Any]], rows: int) -> Predictions | None:
    """What was predicted; None where that cannot be told."""
    read = model.watch.predictions
    try:
        found = None if read is None else read(outputs)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found is not None and are_of(found, rows) else None


def _confidence(model: Model, predictions: Predictions | None, outputs: Sequence[NDArray[Any]], rows: int) -> Carried:
    try:
        if model.calibration is not None and (predictions is not None or not rows):
            return model.calibration.tensors(predictions, outputs)
    except (ValueError, TypeError, IndexError):
        pass
    handle = model.handle
    raise RequestError(
        Code.INTERNAL,
        f"model {quoted(handle.model)} version {quoted(handle.version)} gave no prediction as its bundle describes it",
    )
