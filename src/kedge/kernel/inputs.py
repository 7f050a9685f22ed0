"""Checking arrays against a layout, once for the kernels written in Python. The C++ kernel has the same rules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.errors import KernelError
from kedge.kernel.contract import CategoricalFeature, Layout, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STRINGS = "OSU"


def open_tensors(layout: Layout, tensors: Sequence[NDArray[Any]]) -> tuple[int, list[NDArray[Any]]]:
    """Check tensors and give each as [N, columns]; string tensors become object arrays of bytes.

    Returns:
        N and one array a tensor, views wherever numpy allows.

    Raises:
        KernelError: a count, shape or dtype does not fit the layout.
    """
    if len(tensors) != len(layout.tensors):
        raise KernelError(f"got {len(tensors)} tensors; the layout has {len(layout.tensors)}")
    columns = [_open(tensor, array) for tensor, array in zip(layout.tensors, tensors, strict=True)]
    rows = columns[0].shape[0] if columns else 0
    for tensor, array in zip(layout.tensors, columns, strict=True):
        if array.shape[0] != rows:
            raise KernelError(f"tensor '{tensor.name}' has {array.shape[0]} rows, the first one {rows}")
    for feature in layout.features:
        if columns[feature.tensor].dtype == object and not isinstance(feature, CategoricalFeature):
            raise KernelError(f"feature '{feature.name}' is numeric; its tensor holds strings")
    return rows, columns


def _open(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(array, np.ndarray):
        raise KernelError(f"tensor '{tensor.name}' is a {type(array).__name__}, not a numpy array")
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf" + _STRINGS or (kind == "f" and size > 8):
        raise KernelError(f"tensor '{tensor.name}' has dtype {array.dtype}, which is not counted")
    if tensor.summary and kind in _STRINGS:
        raise KernelError(f"tensor '{tensor.name}' is a summary; it cannot hold strings")
    view = _two_dimensional(tensor, array)
    return encode_strings(tensor.name, view) if kind in _STRINGS else view


def _two_dimensional(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim >= 1:
        rest = array.shape[1:]
        if (array.ndim <= 2 or tensor.summary) and math.prod(rest) == tensor.columns:
            return array.reshape(array.shape[0], tensor.columns)
    raise KernelError(
        f"tensor '{tensor.name}' has shape {list(array.shape)}; the layout asks for [N, {tensor.columns}]"
    )


def encode_strings(name: str, array: NDArray[Any]) -> NDArray[np.object_]:
    """Every element as UTF-8 bytes; numpy's own 'S' and 'U' lose trailing NULs, as everywhere in numpy."""
    encoded = np.empty(array.shape, dtype=object)
    flat = encoded.reshape(-1)
    try:
        for index, value in enumerate(array.ravel().tolist()):
            if not isinstance(value, bytes | str):
                raise KernelError(f"tensor '{name}' holds a {type(value).__name__}; strings are bytes or str")
            flat[index] = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise KernelError(f"tensor '{name}' holds a str that is not valid Unicode") from None
    return encoded


def open_predictions(
    layout: Layout, classes: NDArray[Any] | None, scores: NDArray[Any] | None, *, probabilities: bool
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Check predictions; give class ids as [N] and scores as [N, C].

    Raises:
        KernelError: a shape or dtype does not fit the layout.
    """
    if classes is not None:
        if not isinstance(classes, np.ndarray) or classes.dtype.kind not in "iu":
            raise KernelError("class ids must be a numpy array of integers")
        if classes.ndim not in {1, 2} or math.prod(classes.shape[1:]) != 1:
            raise KernelError(f"class ids have shape {list(classes.shape)}; [N] is asked for")
        if not layout.classes:
            raise KernelError("class ids given; the layout has no classes")
        classes = classes.reshape(-1)
    if scores is not None:
        if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f" or scores.dtype.itemsize > 8:
            raise KernelError("scores must be a numpy array of float16, float32 or float64")
        width = max(1, layout.classes)
        if scores.ndim not in {1, 2} or math.prod(scores.shape[1:]) != width:
            raise KernelError(f"scores have shape {list(scores.shape)}; [N, {width}] is asked for")
        scores = scores.reshape(scores.shape[0], width)
        if classes is not None and scores.shape[0] != classes.shape[0]:
            raise KernelError(f"{classes.shape[0]} class ids, {scores.shape[0]} rows of scores")
    if probabilities and (scores is None or not layout.classes):
        raise KernelError("probabilities need scores and a layout with classes")
    return classes, scores
