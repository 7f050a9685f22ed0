"""What comes in: labels beside what was predicted, as it was sealed in the prediction ids; and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Status(Enum):
    """What became of a label.

    ACCEPTED: counted. LATE: counted apart, since its cohort was closed. DUPLICATE: a label for this prediction was
    taken before. EXPIRED: older than the horizon, or sealed with a key that is gone. FORGED: not an id of this service.
    UNKNOWN_BUNDLE: the bundle is not in the store, or collects no outcomes. INVALID: the label is none of the classes,
    not a finite number, or there is nothing to compare it with.
    """

    ACCEPTED = "accepted"
    LATE = "late"
    DUPLICATE = "duplicate"
    EXPIRED = "expired"
    FORGED = "forged"
    UNKNOWN_BUNDLE = "unknown_bundle"
    INVALID = "invalid"


class Seal(Enum):
    """How the id of a prediction was found when it was opened."""

    GOOD = 0
    FORGED = 1
    KEY_GONE = 2


class Kind(Enum):
    """What was predicted."""

    NOTHING = 0
    VALUE = 1
    CLASS = 2


@dataclass(frozen=True, eq=False)
class Opened:
    """Prediction ids, opened: n entries each. Rows whose seal is not GOOD hold anything.

    Attributes:
        seal: `Seal` values.
        bundle: first 8 bytes of the bundle id, as a big-endian number.
        arm: number of the arm.
        epoch: low 32 bits of the route's epoch.
        boot, shard, sequence: together unique.
        seconds: when it was predicted, since 1970.
        slice: id of its slices; 0 for none.
        key_bits: low 20 bits of the hash of the sticky key; without one 0, or bits that the rows of one request share.
        kind: `Kind` values.
        value, lower, upper: of VALUE; NaN bounds where there was no interval.
        label: predicted class id, of CLASS.
        count: how many probabilities there are.
        steps: [n, 8] probabilities in steps of 1 / 65535.
    """

    seal: NDArray[np.uint8]
    bundle: NDArray[np.uint64]
    arm: NDArray[np.uint8]
    epoch: NDArray[np.int64]
    boot: NDArray[np.uint64]
    shard: NDArray[np.uint16]
    sequence: NDArray[np.int64]
    seconds: NDArray[np.int64]
    slice: NDArray[np.int64]
    key_bits: NDArray[np.int64]
    kind: NDArray[np.uint8]
    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    label: NDArray[np.int64]
    count: NDArray[np.int64]
    steps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.seal)

    def part(self, rows: NDArray[np.int64]) -> Opened:
        """Some of the entries."""
        return Opened(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class ClassIndex:
    """A label given by the position of its class."""

    index: int


Label = str | float | ClassIndex | None
"""Name of a class, a number, the position of a class; None where the client sent none."""


def truths(labels: Sequence[Label], classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Class ids of labels, -1 for one that is none. A number is the class of that name, such as ``1`` or ``0.5``."""
    table = {name: index for index, name in enumerate(classes)}

    def place(label: Label) -> int:
        if isinstance(label, ClassIndex):
            return label.index if label.index < len(classes) else -1
        if isinstance(label, float):
            return table.get(str(int(label)) if label.is_integer() else str(label), -1)
        return -1 if label is None else table.get(label, -1)

    return np.array([place(label) for label in labels], np.int64)


def numbers(labels: Sequence[Label]) -> NDArray[np.float64]:
    """Labels as values; NaN for one that is none."""
    return np.array([label if isinstance(label, float) else np.nan for label in labels], np.float64)
