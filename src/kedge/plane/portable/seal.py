"""Seal: the prediction ids of answers."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kedge.dtypes import DTYPES
from kedge.errors import PlaneError
from kedge.plane.portable.sealer import RowSealer, row_sealer
from kedge.plane.portable.signature import Tensor
from kedge.plane.siphash import KEY_BYTES
from kedge.plane.token import BUNDLE_BYTES, KEY_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from kedge.plane.contract import Tokens
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.predictions import Predictions
    from kedge.plane.portable.route import Target
    from kedge.plane.portable.units import Keyed

PREDICTION_ID: Final = Tensor("kedge.prediction_id", DTYPES["BYTES"], (-1,), -1, "")
_KEY_MASK: Final = (1 << KEY_BITS) - 1
_UNKNOWN: Final = (None, None, False)
_MAX_SEALERS: Final = 256
"""Bundles and epochs whose sealers are kept; more are in use only while many models change at a time."""


class Sealing:
    """Seals what is answered; touched by the serving thread alone, which is this plane's one shard.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: Tokens | None = None
        self._sealers: dict[tuple[str, int], RowSealer] = {}
        self._sequence = 0

    def use(self, tokens: Tokens) -> None:
        """Seal with these from now on."""
        self._tokens = tokens
        self._sealers.clear()

    @property
    def on(self) -> bool:
        """There is a key."""
        return self._tokens is not None

    def why_not(self, model: Model) -> str:
        """Why this model's answers carry no prediction ids; empty where they do."""
        if self._tokens is None:
            return "this server seals no predictions"
        return "" if model.bundle.serving.outcomes else "its bundle collects no outcomes"

    def seal(
        self,
        target: Target,
        unit: Keyed | None,
        predictions: Predictions | None,
        outputs: Sequence[NDArray[Any]],
        rows: int,
        *,
        slices: Sequence[int] | None,
    ) -> list[str]:
        """Ids of the rows of one answer.

        Args:
            target: who answered.
            unit: its sticky key, where it has one.
            predictions: of the rows; None where they cannot be told.
            outputs: of the rows, all of the model's.
            rows: how many.
            slices: ids, one a row; None for 0.
        """
        first, self._sequence = self._sequence, self._sequence + rows
        seconds = int(self._clock()) & 0xFFFFFFFF
        key_bits = 0 if unit is None else unit.place & _KEY_MASK
        if unit is None and rows > 1:
            # The rows of a request are one unit of a split: without a key they share bits of their own.
            key_bits = random.getrandbits(KEY_BITS) | 1
        classes, scores, _ = predictions or _UNKNOWN
        lower, upper = _bounds(target.model, scores, outputs) if classes is None else (None, None)
        return self._sealer(target).seal(
            first, seconds, target.arm, key_bits, rows, slices, classes, scores, lower, upper
        )

    def _sealer(self, target: Target) -> RowSealer:
        origin = target.model.handle.bundle, target.epoch
        sealer = self._sealers.get(origin)
        if sealer is None:
            assert self._tokens is not None  # noqa: S101  `on` was asked
            if len(self._sealers) >= _MAX_SEALERS:
                self._sealers.clear()
            prefix = bytes.fromhex(origin[0])[:BUNDLE_BYTES]
            sealer = self._sealers[origin] = row_sealer(self._tokens.key, prefix, target.epoch, self._tokens.boot)
        return sealer


def check(tokens: Tokens) -> None:
    """Refuse a key that cannot seal. Raises `PlaneError`."""
    if not 0 <= tokens.key.id <= 0xFF or len(tokens.key.secret) != KEY_BYTES or not 0 <= tokens.boot < 1 << 64:
        raise PlaneError("a token key has an id in [0, 255] and a secret of 16 bytes, and a boot is 64 bits")


def _bounds(
    model: Model, values: NDArray[Any] | None, outputs: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """The interval of each predicted value; None where there are none."""
    if values is not None and model.calibration is not None:
        with suppress(ValueError, TypeError, IndexError):  # bounds that are not what the bundle says are none
            lower, upper = model.calibration.intervals(values, outputs)
            if len(lower) == len(upper) == len(values):
                return lower, upper
    return None, None
