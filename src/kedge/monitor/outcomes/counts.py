"""What labelled predictions add up to, in integers, so that cohorts, panes and replicas merge exactly in any order.

Probabilities are summed in the steps of 1 / 65535 in which prediction ids hold them, losses and variances in units of
2^-32, errors of values in units of `kedge.monitor.outcomes.target.Target.unit`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES: Final = 9
"""Of the confusion table; class 8 and above share the last."""
BINS: Final = 20
"""Reliability bins of the top probability, of equal width."""
LOSS_UNIT: Final = 2.0**32
STEP: Final = 65535
"""A probability in a token is u / 65535."""
MAX_ERROR: Final = 1 << 20
"""Units at which an error of a value is clipped, and counted as such, so that sums of squares cannot overflow."""

_LABELLED: Final = 0
_RIGHT: Final = 1
_CONFUSION: Final = slice(2, 2 + CLASSES**2)
_SCORED: Final = _CONFUSION.stop
_BRIER: Final = _SCORED + 1
_LOG_LOSS: Final = _SCORED + 2
_RELIABILITY: Final = slice(_LOG_LOSS + 1, _LOG_LOSS + 1 + 4 * BINS)
_VALUES: Final = _RELIABILITY.stop
_ERROR: Final = _VALUES + 1
_ABSOLUTE: Final = _VALUES + 2
_SQUARED: Final = _VALUES + 3
_CLIPPED: Final = _VALUES + 4
_INTERVALS: Final = _VALUES + 5
_COVERED: Final = _VALUES + 6
WORDS: Final = _VALUES + 7

_LOSSES: Final = np.rint(-np.log(np.maximum(np.arange(STEP + 1), 0.5) / STEP) * LOSS_UNIT).astype(np.int64)
"""[65536] -ln(u / 65535) in units of 2^-32; u = 0 counts as half a step."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Sums over labelled predictions.

    Attributes:
        words: [WORDS] int64.
    """

    words: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Counts:
        """Nothing counted."""
        return cls(np.zeros(WORDS, np.int64))

    @classmethod
    def parse(cls, data: bytes) -> Counts:
        """Read `to_bytes` back. Raises `ValueError` where the bytes are damaged."""
        try:
            words = np.frombuffer(zlib.decompress(data), "<i8").astype(np.int64)
        except zlib.error as error:
            raise ValueError("counts of outcomes are damaged") from error
        if words.shape != (WORDS,):
            raise ValueError(f"counts of outcomes have {len(words)} words, expected {WORDS}")
        return cls(words)

    def to_bytes(self) -> bytes:
        """Little-endian int64 words, compressed: most are zero."""
        return zlib.compress(self.words.astype("<i8").tobytes(), 1)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.words + other.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and np.array_equal(self.words, other.words)

    __hash__ = None  # type: ignore[assignment]

    @property
    def labelled(self) -> int:
        """Predictions whose label was counted."""
        return int(self.words[_LABELLED])

    @property
    def right(self) -> int:
        """Of those, the ones whose predicted class was the label."""
        return int(self.words[_RIGHT])

    @property
    def confusion(self) -> NDArray[np.int64]:
        """[9, 9] by label, then predicted class; the last is class 8 and above."""
        return self.words[_CONFUSION].reshape(CLASSES, CLASSES)

    @property
    def scored(self) -> int:
        """Those whose token held the probability of every class."""
        return int(self.words[_SCORED])

    @property
    def brier(self) -> float:
        """Sum of Brier scores of those."""
        return float(self.words[_BRIER]) / LOSS_UNIT

    @property
    def log_loss(self) -> float:
        """Sum of -ln p of the label, of those; a probability of 0 counts as half a step."""
        return float(self.words[_LOG_LOSS]) / LOSS_UNIT

    @property
    def reliability(self) -> NDArray[np.float64]:
        """[4, 20] n, sum p, sum y and sum p (1 - p) of the top probability by bin, of those."""
        table = self.words[_RELIABILITY].reshape(4, BINS).astype(np.float64)
        table[1] /= STEP
        table[3] /= LOSS_UNIT
        return table

    @property
    def values(self) -> int:
        """Predicted values whose label was counted."""
        return int(self.words[_VALUES])

    @property
    def errors(self) -> tuple[int, int, int]:
        """Sums of error (predicted - label), |error| and error^2, in units and squared units of the target."""
        return int(self.words[_ERROR]), int(self.words[_ABSOLUTE]), int(self.words[_SQUARED])

    @property
    def clipped(self) -> int:
        """Values whose error was above `MAX_ERROR` units and was counted as that."""
        return int(self.words[_CLIPPED])

    @property
    def intervals(self) -> int:
        """Predictions whose set or interval is known."""
        return int(self.words[_INTERVALS])

    @property
    def covered(self) -> int:
        """Of those, the ones whose set or interval held the label."""
        return int(self.words[_COVERED])


def of_classes(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], steps: NDArray[np.int64], held: NDArray[np.int64]
) -> Counts:
    """Counts of labelled classes.

    Args:
        truth: (n,) class ids of the labels.
        predicted: (n,) class ids.
        steps: (n, C) probabilities in steps of 1 / 65535; C = 0 where tokens do not hold all classes.
        held: (n,) 1 where the conformal set held the label, 0 where not, -1 where there is no set.
    """
    words = np.zeros(WORDS, np.int64)
    right = truth == predicted
    words[_LABELLED], words[_RIGHT] = len(truth), right.sum()
    cells = np.minimum(truth, CLASSES - 1) * CLASSES + np.minimum(predicted, CLASSES - 1)
    words[_CONFUSION] = np.bincount(cells, minlength=CLASSES**2)
    _cover(words, held)
    if not steps.shape[1] or not len(truth):
        return Counts(words)
    rows = np.arange(len(truth))
    p, own = steps / STEP, steps[rows, truth]
    # Two classes: of the second one's probability; more: summed over classes, as at build.
    brier = (p[:, 1] - truth) ** 2 if p.shape[1] == 2 else (p**2).sum(axis=1) - 2 * p[rows, truth] + 1
    words[_SCORED] = len(truth)
    words[_BRIER] = np.rint(brier * LOSS_UNIT).astype(np.int64).sum()
    words[_LOG_LOSS] = _LOSSES[own].sum()
    top = steps.max(axis=1)
    # The chosen class may tie with another after rounding; then it is the top one.
    chosen = np.where(steps[rows, np.minimum(predicted, p.shape[1] - 1)] == top, predicted, steps.argmax(axis=1))
    bins = np.minimum(top * BINS // STEP, BINS - 1)
    spread = np.rint(top / STEP * (1 - top / STEP) * LOSS_UNIT).astype(np.int64)
    table = np.zeros((4, BINS), np.int64)
    for row, amounts in zip(table, (np.ones_like(top), top, (chosen == truth).astype(np.int64), spread), strict=True):
        np.add.at(row, bins, amounts)
    words[_RELIABILITY] = table.ravel()
    return Counts(words)


def of_values(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], unit: float, held: NDArray[np.int64]
) -> Counts:
    """Counts of labelled values.

    Args:
        truth: (n,) finite labels.
        predicted: (n,) finite values.
        unit: what one unit of error is.
        held: as in `of_classes`, for intervals.
    """
    words = np.zeros(WORDS, np.int64)
    errors = (predicted - truth) / unit
    clipped = np.abs(errors) > MAX_ERROR
    whole = np.rint(np.clip(errors, -MAX_ERROR, MAX_ERROR)).astype(np.int64)
    words[_LABELLED] = words[_VALUES] = len(truth)
    words[_ERROR], words[_ABSOLUTE], words[_SQUARED] = whole.sum(), np.abs(whole).sum(), (whole * whole).sum()
    words[_CLIPPED] = clipped.sum()
    _cover(words, held)
    return Counts(words)


def _cover(words: NDArray[np.int64], held: NDArray[np.int64]) -> None:
    words[_INTERVALS], words[_COVERED] = (held >= 0).sum(), (held == 1).sum()
