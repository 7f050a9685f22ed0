"""Sealer: ids of an answer's rows, and the hash of sticky keys, by the compiled extension where this build has it.

The one place where that is chosen; `IN_USE` says which. Both seal equal bytes, in Python at ten times the CPU.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from kedge.plane import siphash
from kedge.plane.token import MAX_PROBABILITIES, Label, Predicted, Sealer, Value, quantized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from kedge.plane.contract import TokenKey

_MAX_LABEL: Final = 0xFFFF


class RowSealer(Protocol):
    """Seals the predictions of one bundle, epoch and start."""

    def seal(  # noqa: PLR0917  a call for every answer, by position because names cost
        self,
        sequence: int,
        seconds: int,
        arm: int,
        key_bits: int,
        rows: int,
        slices: Sequence[int] | None,
        classes: NDArray[np.int64] | None,
        scores: NDArray[Any] | None,
        lower: NDArray[np.float64] | None,
        upper: NDArray[np.float64] | None,
    ) -> list[str]:
        """Ids of the rows of one answer.

        Args:
            sequence: of the first row; the others follow.
            seconds: since 1970, 32 bits.
            arm: `kedge.plane.contract.Arm`.
            key_bits: low 20 bits of the sticky key's hash.
            rows: how many.
            slices: [N] ids; None for 0.
            classes: [N] predicted ones, of which at most 65535 is kept, or None.
            scores: [N, C] probabilities beside classes; without classes [N] values; or None.
            lower: [N] bounds of values, or None.
            upper: the same.

        Raises:
            ValueError: a column has another number of rows.
        """
        ...


class PythonSealer:
    """`RowSealer` in Python."""

    def __init__(self, key: TokenKey, bundle: bytes, epoch: int, boot: int) -> None:
        self._sealer = Sealer(key, bundle, epoch, boot)

    def seal(  # noqa: PLR0917  as above
        self,
        sequence: int,
        seconds: int,
        arm: int,
        key_bits: int,
        rows: int,
        slices: Sequence[int] | None,
        classes: NDArray[np.int64] | None,
        scores: NDArray[Any] | None,
        lower: NDArray[np.float64] | None,
        upper: NDArray[np.float64] | None,
    ) -> list[str]:
        """See `RowSealer.seal`."""
        parts = [0] * rows if slices is None else slices
        predicted = _predicted(rows, classes, scores, lower, upper)
        return [
            self._sealer.seal(sequence + row, seconds, slice_id=part, arm=arm, key_bits=key_bits, predicted=one)
            for row, part, one in zip(range(rows), parts, predicted, strict=True)
        ]


def _predicted(
    rows: int,
    classes: NDArray[np.int64] | None,
    scores: NDArray[Any] | None,
    lower: NDArray[np.float64] | None,
    upper: NDArray[np.float64] | None,
) -> Sequence[Predicted]:
    """What ids keep of each row: the class and its first probabilities, or the value and its interval."""
    if classes is not None:
        kept = [[]] * rows if scores is None else scores[:, :MAX_PROBABILITIES].tolist()
        return [
            Label(label if 0 <= label <= _MAX_LABEL else _MAX_LABEL, tuple(map(quantized, probabilities)))
            for label, probabilities in zip(classes.tolist(), kept, strict=True)
        ]
    if scores is None:
        return [None] * rows
    none = [math.nan] * rows
    lows, highs = (none if bound is None else bound.tolist() for bound in (lower, upper))
    return [Value(*each) for each in zip(scores.tolist(), lows, highs, strict=True)]


def _python() -> tuple[Callable[[TokenKey, bytes, int, int], RowSealer], Callable[[bytes, bytes], int]]:
    return PythonSealer, siphash.siphash24


def _native() -> tuple[Callable[[TokenKey, bytes, int, int], RowSealer], Callable[[bytes, bytes], int]]:
    # importing it starts nothing, and loads no second runtime
    from kedge import _dataplane  # noqa: PLC0415  a build may be without it

    def make(key: TokenKey, bundle: bytes, epoch: int, boot: int) -> RowSealer:
        return _dataplane.RowSealer(key.id, key.secret, bundle, epoch & 0xFFFFFFFF, boot, 0)

    return make, _dataplane.siphash24


IN_USE: Literal["native", "python"]
row_sealer: Callable[[TokenKey, bytes, int, int], RowSealer]
"""Makes a sealer: key, first 8 bytes of the bundle id, epoch, boot; of shard 0, this plane's only one."""
siphash24: Callable[[bytes, bytes], int]
"""SipHash-2-4: key of 16 bytes, message."""
try:
    (row_sealer, siphash24), IN_USE = _native(), "native"
except ImportError:
    (row_sealer, siphash24), IN_USE = _python(), "python"
