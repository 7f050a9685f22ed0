"""Rows of a table as the tensors a client would send, and the vocabularies that the reference gives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from kedge.build import tables
from kedge.build.graph import describe
from kedge.dtypes import DTYPES
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.build.features import Placed
    from kedge.build.tables import Data
    from kedge.bundle.manifest import Feature, TensorSpec

MAX_CATEGORIES: Final = 10_000
"""Known categories kept by name; rarer ones would count as unseen, so a feature with more is refused."""


def tensors(inputs: Sequence[TensorSpec], features: Sequence[Placed], data: Data) -> dict[str, NDArray[Any]]:
    """Every input by name for the rows of `data`: numpy arrays [N, ...] of the input's dtype, text as ``str`` objects.

    Raises:
        SpecError: a column is missing, of the wrong type, or empty where the input has no value for missing.
    """
    result: dict[str, NDArray[Any]] = {}
    for tensor in inputs:
        own = [item for item in features if item.feature.source.tensor == tensor.name]
        if own[0].feature.kind == "summary":
            result[tensor.name] = _lists(tensor, own[0].data, data)
            continue
        array = np.empty((data.table.num_rows, math.prod(tensor.shape[1:])), dtype=DTYPES[tensor.dtype].numpy)
        for item in own:
            array[:, item.feature.source.column] = values(tensor, item, data)
        result[tensor.name] = array if len(tensor.shape) == 2 else array.reshape(-1)
    return result


def values(tensor: TensorSpec, item: Placed, data: Data) -> NDArray[Any]:
    """One feature [N] in its input's dtype, with the feature's own value for missing. Raises `SpecError`."""
    feature = item.feature
    column = tables.column(data, item.data, f"feature '{feature.name}'")
    where = f"feature '{feature.name}' of data file '{data.uri}'"
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count and feature.missing.kind == "none":
        raise SpecError(
            f"{where} has {column.null_count} empty values, but input {describe(tensor)} has none for missing; "
            f"say which value stands for it: features.{feature.name}.missing"
        )
    if tensor.dtype == "BYTES":
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise SpecError(f"{where} is {column.type}, but input {describe(tensor)} takes text")
        text = column.fill_null(feature.missing.value or "") if column.null_count else column
        return np.array(text.to_pylist(), dtype=np.object_)
    return _numbers(tensor, feature, column, where)


def _numbers(tensor: TensorSpec, feature: Feature, column: pa.ChunkedArray, where: str) -> NDArray[Any]:
    target = DTYPES[tensor.dtype].numpy
    try:
        if target.kind == "f":
            wide = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
            if feature.missing.kind == "sentinel":
                wide = np.where(column.is_null().to_numpy(), feature.missing.value, wide)
            with np.errstate(over="ignore"):
                cast: NDArray[Any] = wide.astype(target)
            return cast
        filled = column
        if column.null_count:
            filled = column.cast(pa.int64()).fill_null(feature.missing.value)
        narrow: NDArray[Any] = filled.cast(pa.from_numpy_dtype(target)).to_numpy()
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:160]
        raise SpecError(f"{where} does not fit input {describe(tensor)}: {reason}") from error
    return narrow.astype(target)


def _lists(tensor: TensorSpec, name: str, data: Data) -> NDArray[Any]:
    column = tables.column(data, name, f"input {describe(tensor)}").combine_chunks()
    width = math.prod(tensor.shape[1:])
    where = f"column '{name}' of data file '{data.uri}'"
    if column.null_count:
        raise SpecError(
            f"{where} has {column.null_count} empty lists; input {describe(tensor)} takes {width} numbers a row"
        )
    flat = column.flatten()
    lengths = column.value_lengths() if not pa.types.is_fixed_size_list(column.type) else None
    sizes = {column.type.list_size} if lengths is None else set(lengths.unique().to_pylist())
    if sizes != {width}:
        raise SpecError(
            f"{where} has lists of {', '.join(map(str, sorted(sizes)[:4]))} numbers, {describe(tensor)} takes {width}"
        )
    try:
        numbers = flat.cast(pa.from_numpy_dtype(DTYPES[tensor.dtype].numpy), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowException, ValueError) as error:
        raise SpecError(f"{where} does not fit input {describe(tensor)}: {error}") from error
    return np.ascontiguousarray(numbers, DTYPES[tensor.dtype].numpy).reshape(-1, *tensor.shape[1:])


def with_vocabulary(feature: Feature, array: NDArray[Any]) -> Feature:
    """A categorical feature with the categories of the reference, most frequent first; others are returned as they are.

    Args:
        feature: its vocabulary is kept where the spec gave one.
        array: [N] its values in the reference.

    Raises:
        SpecError: numbers that are not whole, no category at all, or too many.
    """
    if feature.kind != "categorical" or feature.vocabulary:
        return feature
    known: list[Any]
    if array.dtype == object:
        found, counts = np.unique(array.astype(str), return_counts=True)
        known = found.tolist()
    else:
        present = array[~np.isnan(array)] if array.dtype.kind == "f" else array
        if array.dtype.kind == "f" and not np.array_equal(present, np.rint(present)):
            raise SpecError(f"feature '{feature.name}': categories sent as {feature.dtype} must be whole numbers")
        found, counts = np.unique(present.astype(np.int64), return_counts=True)
        known = [int(value) for value in found]
    pairs = sorted(zip((-counts).tolist(), known, strict=True))
    vocabulary = tuple(value for _, value in pairs if value != feature.missing.value)
    if not vocabulary:
        raise SpecError(f"feature '{feature.name}': the reference has no category; say its vocabulary, or leave it out")
    if len(vocabulary) > MAX_CATEGORIES:
        raise SpecError(
            f"feature '{feature.name}' has {len(vocabulary)} categories in the reference, at most {MAX_CATEGORIES} are "
            f"kept; group them in the data, or say the known ones: features.{feature.name}.vocabulary"
        )
    return feature.model_copy(update={"vocabulary": vocabulary})
