"""Labelled units of a split: what a guard on outcomes may count. A keyed unit counts once a period, whatever its rows.

Which traffic was randomised how is known from the routes in force; it is kept by epoch, because labels come when the
epoch is long over. Predictions of epochs without a split are no units.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.monitor.outcomes.ledger import unit_key
from kedge.monitor.outcomes.tables import Units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kedge.monitor.outcomes.database import Database
    from kedge.monitor.outcomes.ledger import Ledger

HIGH: Final = 16
"""Key bits from here on choose the set, those below are its members."""


def rollout_name(model: str, salt: bytes) -> bytes:
    """8 bytes that name a randomisation. The salt is a secret and is kept as a digest alone."""
    return hashlib.sha256(model.encode() + b"\0" + salt).digest()[:8]


@dataclass(frozen=True)
class Split:
    """How an epoch randomised a model's traffic.

    Attributes:
        rollout: 8 bytes that name the randomisation: units of one rollout are the same through its epochs.
        sticky_for: seconds a key keeps its arm.
        shares: by name of the arm, such as ``canary``; they sum to 1.
    """

    rollout: bytes
    sticky_for: int
    shares: Mapping[str, float]

    @classmethod
    def of(cls, model: str, salt: bytes, sticky_for: int, shares: Mapping[str, float]) -> Split:
        """The split of a route."""
        return cls(rollout_name(model, salt), sticky_for, dict(shares))


class Splits:
    """The splits of every epoch. Thread-safe as its database is.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, dict[int, Split]] = {}

    def saw(self, bundle: str, epoch: int, split: Split) -> None:
        """Keep the split of an epoch of a bundle; the first one said stands."""
        if epoch not in self.of(bundle):
            self._database.set_split(bundle, epoch, (split.rollout, split.sticky_for, json.dumps(dict(split.shares))))
            self._known[bundle] = {**self._known[bundle], epoch: split}

    def of(self, bundle: str) -> Mapping[int, Split]:
        """Splits of a bundle by epoch."""
        if bundle not in self._known:
            self._known[bundle] = {
                epoch: Split(rollout, sticky, json.loads(shares))
                for epoch, (rollout, sticky, shares) in self._database.splits(bundle).items()
            }
        return self._known[bundle]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labels of one arm of a split.

    Attributes:
        seconds: (n,) when they were predicted.
        key_bits: (n,) of the sticky key, or of a request of several rows without one; 0 for a request of one row
            without a key, which is a unit by itself.
        wrong: (n,) the label differs from what was predicted.
    """

    seconds: NDArray[np.int64]
    key_bits: NDArray[np.int64]
    wrong: NDArray[np.bool_]


def count(ledger: Ledger, split: Split, labels: Labelled) -> Units:
    """Units that these labels are the first of, and of those with a wrong one; the ledger remembers keyed ones.

    Arms share the ledger's sets, so that units whose bits happen to be equal are lost to all arms alike.
    """
    keyed, wrong = labels.key_bits != 0, labels.wrong
    first, first_wrong = ~keyed, ~keyed & wrong
    places = np.stack([labels.seconds // split.sticky_for, labels.key_bits >> HIGH], axis=1)
    for place in np.unique(places[keyed], axis=0):
        rows = np.flatnonzero((places == place).all(axis=1) & keyed)
        for only_wrong, result in ((False, first), (True, first_wrong)):
            chosen = rows[wrong[rows]] if only_wrong else rows
            if len(chosen):
                key = unit_key(split.rollout, int(place[0]), int(place[1]), wrong=only_wrong)
                numbers = (labels.key_bits[chosen] & 0xFFFF).astype(np.uint16)
                result[chosen] = ledger.add(key, numbers, int(labels.seconds[chosen].max()))
    return Units(int(first.sum()), int(first_wrong.sum()), int((first & wrong).sum()))
