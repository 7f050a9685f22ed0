"""Slicer: which slice of the traffic each row is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedge.dtypes import widened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle


class Slicer:
    """Tells which slice every row of a request is in; see `kedge.bundle.slices`.

    Args:
        bundle: whose schema names the slices.
    """

    def __init__(self, bundle: Bundle) -> None:
        names = [spec.name for spec in bundle.manifest.inputs]
        self._features = tuple(
            (
                names.index(item.feature.source.tensor),
                item.feature.source.column,
                item.feature.dtype == "BF16",
                item.stride,
                item.reader(),
            )
            for item in bundle.slices().features
        )

    def ids(self, arrays: Sequence[NDArray[Any]], rows: int) -> list[int] | None:
        """Ids of the rows of these inputs, in the model's order; None, standing for zeros, where there are none."""
        if not self._features or not rows:
            return None
        ids = [1] * rows
        for position, column, bf16, stride, read in self._features:
            array = arrays[position]
            if array.size % rows or (array.shape[0] if array.ndim else 1) != rows or array.size // rows <= column:
                return None
            values = array.reshape(rows, -1)[:, column]
            for row, value in enumerate((widened(values) if bf16 else values).tolist()):
                ids[row] += stride * read(value)
        return ids
