"""Seal: the prediction ids of answers."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kedge.dtypes import DTYPES
from kedge.errors import PlaneError
from kedge.plane.portable.signature import Tensor
from kedge.plane.siphash import KEY_BYTES
from kedge.plane.token import BUNDLE_BYTES, KEY_BITS, MAX_PROBABILITIES, Label, Predicted, Sealer, Value, quantized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kedge.plane.contract import Tokens
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.predictions import Predictions
    from kedge.plane.portable.route import Target
    from kedge.plane.portable.units import Keyed

PREDICTION_ID: Final = Tensor("kedge.prediction_id", DTYPES["BYTES"], (-1,), -1, "")
_KEY_MASK: Final = (1 << KEY_BITS) - 1
_MAX_LABEL: Final = 0xFFFF
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
        self._sealers: dict[tuple[str, int], Sealer] = {}
        self._sequence = itertools.count()

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

    def seal(self, target: Target, unit: Keyed | None, predicted: Sequence[Predicted]) -> list[str]:
        """Ids of these predictions of one answer.

        Args:
            target: who answered.
            unit: its sticky key, where it has one.
            predicted: one a row.
        """
        sealer = self._sealer(target)
        seconds = int(self._clock())
        key_bits = 0 if unit is None else unit.place & _KEY_MASK
        if unit is None and len(predicted) > 1:
            # The rows of a request are one unit of a split: without a key they share bits of their own.
            key_bits = random.getrandbits(KEY_BITS) | 1
        return [
            sealer.seal(next(self._sequence), seconds, slice_id=0, arm=target.arm, key_bits=key_bits, predicted=one)
            for one in predicted
        ]

    def _sealer(self, target: Target) -> Sealer:
        origin = target.model.handle.bundle, target.epoch
        sealer = self._sealers.get(origin)
        if sealer is None:
            assert self._tokens is not None  # noqa: S101  `on` was asked
            if len(self._sealers) >= _MAX_SEALERS:
                self._sealers.clear()
            prefix = bytes.fromhex(origin[0])[:BUNDLE_BYTES]
            sealer = self._sealers[origin] = Sealer(self._tokens.key, prefix, target.epoch, self._tokens.boot)
        return sealer


def check(tokens: Tokens) -> None:
    """Refuse a key that cannot seal. Raises `PlaneError`."""
    if not 0 <= tokens.key.id <= 0xFF or len(tokens.key.secret) != KEY_BYTES or not 0 <= tokens.boot < 1 << 64:
        raise PlaneError("a token key has an id in [0, 255] and a secret of 16 bytes, and a boot is 64 bits")


def predicted_rows(
    model: Model, predictions: Predictions | None, outputs: Sequence[NDArray[Any]], rows: int
) -> list[Predicted]:
    """What ids keep of each row: the class and its first probabilities, or the value and its interval.

    Args:
        model: who predicted.
        predictions: of the rows; None where they cannot be told.
        outputs: of the rows, all of the model's.
        rows: how many.
    """
    if predictions is None:
        return [None] * rows
    classes, scores, _ = predictions
    if classes is not None:
        kept = [[]] * rows if scores is None else scores[:, :MAX_PROBABILITIES].tolist()
        return [
            Label(label if 0 <= label <= _MAX_LABEL else _MAX_LABEL, tuple(map(quantized, probabilities)))
            for label, probabilities in zip(classes.tolist(), kept, strict=True)
        ]
    if scores is None:
        return [None] * rows
    values = scores.tolist()
    if model.calibration is not None:
        with suppress(ValueError, TypeError, IndexError):  # bounds that are not what the bundle says are none
            lower, upper = model.calibration.intervals(scores, outputs)
            return list(map(Value, values, lower.tolist(), upper.tolist()))
    return [Value(value) for value in values]
