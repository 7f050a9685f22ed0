"""What every function on counts needs: checked float64 arrays and proportions that exist when nothing was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


def counts(values: ArrayLike, name: str = "counts") -> Floats:
    """Return `values` as float64 of at least one axis.

    Raises:
        ValueError: a count is negative or NaN.
    """
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.size and not array.min() >= 0:
        raise ValueError(f"{name} must be counts: at least 0 and not NaN")
    return array


def pair(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    """Return two count arrays broadcast to one shape (..., cells); no cells at all become one empty cell.

    Raises:
        ValueError: a count is negative or NaN, or the last axes differ.
    """
    r, c = counts(reference, "reference"), counts(current, "current")
    if r.shape[-1] != c.shape[-1]:
        raise ValueError(f"reference has {r.shape[-1]} cells and current {c.shape[-1]}; both must have the same")
    if r.shape[-1] == 0:
        r, c = np.zeros((*r.shape[:-1], 1)), np.zeros((*c.shape[:-1], 1))
    if r.shape != c.shape:
        r, c = np.broadcast_arrays(r, c)
    return r, c


def proportions(array: Floats, total: Floats) -> Floats:
    """Return `array` (..., cells) over `total` (...); 0 where the total is 0."""
    divisor = total[..., None]
    return np.divide(array, divisor, out=np.zeros_like(array), where=divisor > 0)


def unwrap(array: Floats) -> Floats:
    """Return a float64 scalar in place of an array without axes, so one feature in gives one number out."""
    return array[()]


def level(alpha: float, name: str = "alpha") -> float:
    """Return `alpha` when it lies strictly between 0 and 1.

    Raises:
        ValueError: it does not.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {alpha}")
    return float(alpha)
