"""Prediction ids as they look when opened, and books to take labels of them into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.bundle.manifest import (
    Confidence,
    Conformal,
    Distributions,
    Feature,
    Metric,
    Schema,
    Slicing,
    Source,
)
from kedge.bundle.slices import Slices
from kedge.monitor.outcomes.batch import Kind, Opened, Seal
from kedge.monitor.outcomes.book import Book
from kedge.monitor.outcomes.database import Database
from kedge.monitor.outcomes.target import Target
from kedge.monitor.outcomes.units import Splits

if TYPE_CHECKING:
    from pathlib import Path

BUNDLE = "ab" * 32
PREFIX = int(BUNDLE[:16], 16)
NOW = 1_800_001_800.0
ARMS = ("live", "control", "canary", "shadow", "pinned")


def predictions(size: int, /, **given: Any) -> Opened:
    """Ids of predictions of one shard, one second old, of class 1 of two with probability 0.75; or as given."""
    steps = np.zeros((size, 8), np.int64)
    steps[:, 0], steps[:, 1] = 16384, 49151
    fields: dict[str, Any] = {
        "seal": np.full(size, Seal.GOOD.value, np.uint8),
        "bundle": np.full(size, PREFIX, np.uint64),
        "arm": np.zeros(size, np.uint8),
        "epoch": np.ones(size, np.int64),
        "boot": np.full(size, 2**63 + 5, np.uint64),
        "shard": np.zeros(size, np.uint16),
        "sequence": np.arange(size, dtype=np.int64),
        "seconds": np.full(size, int(NOW) - 1, np.int64),
        "slice": np.zeros(size, np.int64),
        "key_bits": np.zeros(size, np.int64),
        "kind": np.full(size, Kind.CLASS.value, np.uint8),
        "value": np.zeros(size),
        "lower": np.full(size, np.nan),
        "upper": np.full(size, np.nan),
        "label": np.ones(size, np.int64),
        "count": np.full(size, 2, np.int64),
        "steps": steps,
    }
    for name, values in given.items():
        fields[name] = np.broadcast_to(np.asarray(values, fields[name].dtype), fields[name].shape).copy()
    return Opened(**fields)


def conformal(scores: Any, score: str = "lac") -> Distributions:
    """A reference that holds these calibration scores, one bin each."""
    ordered = np.sort(np.asarray(scores, np.float64))
    edges = (float(ordered[0]), *map(float, ordered))
    return Distributions(
        rows=len(ordered),
        features=(),
        conformal=Conformal(score=score, edges=edges, counts=(1,) * len(ordered), n=len(ordered)),
    )


def slices() -> Slices:
    """By carrier: UA, B6, unseen, missing; and by delay: below 15, 15 and above, missing. Ids are 1 to 12."""
    carrier = Feature(
        name="carrier", dtype="BYTES", source=Source(tensor="carrier"), kind="categorical", vocabulary=("UA", "B6")
    )
    delay = Feature(name="delay", dtype="FP32", source=Source(tensor="delay"), kind="numeric")
    return Slices.of(Schema(features=(carrier, delay), slices=("carrier", Slicing(feature="delay", edges=(15,)))))


def measured(**accuracy: float) -> dict[str, dict[str, Metric]]:
    """Figures at build of 10,000 rows each, by carrier."""
    return {
        f"carrier={name}": {
            "accuracy": Metric(name="accuracy", value=value, low=value - 0.01, high=value + 0.01, n=10**4)
        }
        for name, value in accuracy.items()
    }


def target(**given: Any) -> Target:
    """A bundle of two classes, `no` and `yes`, whose labels take a day."""
    fields: dict[str, Any] = {
        "bundle": BUNDLE,
        "model": "flights",
        "version": "1.0.0",
        "classes": ("no", "yes"),
        "unit": 1.0,
        "maturity": 86400,
        "selective": False,
        "confidence": Confidence(),
        "distributions": None,
        "risk": 0.3,
        "evaluated": {},
        "slices": Slices(),
        "measured": {},
    }
    return Target(**{**fields, **given})


@dataclass
class World:
    """A book over a file, and what it is told."""

    path: Path
    now: float = NOW
    targets: dict[str, Target] = field(default_factory=lambda: {BUNDLE[:16]: target()})

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """As after a restart."""
        self.database = Database(self.path)
        self.splits = Splits(self.database)
        self.book = Book(self.database, self.targets.get, self.splits, ARMS, lambda: self.now)

    def take(self, opened: Opened, labels: Any) -> list[str]:
        return [status.value for status in self.book.take(opened, labels)]

    def aim(self, **given: Any) -> Target:
        """Make the bundle another one."""
        self.targets[BUNDLE[:16]] = target(**given)
        return self.targets[BUNDLE[:16]]
