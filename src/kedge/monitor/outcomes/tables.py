"""The tables of the file of outcomes, and the keys and values of their rows."""

from __future__ import annotations

from typing import Final, NamedTuple

_LABELS: Final = """
CREATE TABLE remembered (        -- sets of what was counted; see `kedge.monitor.outcomes.ledger` for keys
    key BLOB PRIMARY KEY,
    newest INTEGER NOT NULL,     -- seconds since 1970 of the youngest prediction in it
    bits BLOB NOT NULL           -- as `kedge.monitor.outcomes.bits` writes it
) STRICT, WITHOUT ROWID;
CREATE INDEX remembered_by_age ON remembered (newest);
CREATE TABLE cells (
    bundle TEXT NOT NULL,        -- bundle id, 64 hex digits
    arm TEXT NOT NULL,           -- such as "live"
    epoch INTEGER NOT NULL,      -- of the route when it was predicted; 0 for cohorts added up
    cohort INTEGER NOT NULL,     -- its start, seconds since 1970; 0: all closed long ago
    late INTEGER NOT NULL,       -- 1: labels that came after the cohort was closed
    counts BLOB NOT NULL,        -- as `kedge.monitor.outcomes.counts` writes it
    PRIMARY KEY (bundle, arm, epoch, cohort, late)
) STRICT, WITHOUT ROWID;
CREATE TABLE predicted (         -- rows predicted, labelled or not
    bundle TEXT NOT NULL,
    arm TEXT NOT NULL,
    cohort INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (bundle, arm, cohort)
) STRICT, WITHOUT ROWID;
CREATE TABLE statuses (          -- labels that came, by what became of them
    bundle TEXT NOT NULL,        -- empty where the bundle is not known
    status TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (bundle, status)
) STRICT, WITHOUT ROWID;
CREATE TABLE splits (            -- epochs of routes with more than one arm
    bundle TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    rollout BLOB NOT NULL,       -- 8 bytes that name the randomisation
    sticky_for INTEGER NOT NULL, -- seconds a key keeps its arm
    shares TEXT NOT NULL,        -- JSON: share by arm
    PRIMARY KEY (bundle, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE units (             -- labelled units of a split
    bundle TEXT NOT NULL,
    arm TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cohort INTEGER NOT NULL,
    units INTEGER NOT NULL,      -- with a label
    wrong INTEGER NOT NULL,      -- with a wrong one
    first_wrong INTEGER NOT NULL,-- whose first label was wrong
    PRIMARY KEY (bundle, arm, epoch, cohort)
) STRICT, WITHOUT ROWID;
CREATE TABLE adapted (           -- miss rates in force from a moment on, where outcomes move them
    bundle TEXT NOT NULL,
    since INTEGER NOT NULL,      -- seconds since 1970
    alpha REAL NOT NULL,
    missed INTEGER NOT NULL,     -- labels outside their set or interval that came while it was in force
    labels INTEGER NOT NULL,     -- all labels that did
    PRIMARY KEY (bundle, since)
) STRICT, WITHOUT ROWID;
"""
_SLICES: Final = """
CREATE TABLE sliced (            -- labels that were on time, once for every feature that slices
    bundle TEXT NOT NULL,
    arm TEXT NOT NULL,
    cohort INTEGER NOT NULL,     -- its start, seconds since 1970; 0: all that are closed
    slice INTEGER NOT NULL,      -- number of the slice among the bundle's; see `kedge.bundle.slices`
    counts BLOB NOT NULL,        -- as `kedge.monitor.outcomes.counts` writes it
    PRIMARY KEY (bundle, arm, cohort, slice)
) STRICT, WITHOUT ROWID;
CREATE TABLE sliced_predicted (  -- rows predicted, labelled or not, as the kernel's counts tell them
    bundle TEXT NOT NULL,
    arm TEXT NOT NULL,
    cohort INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (bundle, arm, cohort, slice)
) STRICT, WITHOUT ROWID;
"""
STEPS: Final = (_LABELS, _SLICES)
"""What makes a file of each version out of the one before; the first out of an empty one."""


class CellKey(NamedTuple):
    """Whose labels: `cohort` is its start in seconds since 1970; `late` ones came after it was closed."""

    bundle: str
    arm: str
    epoch: int
    cohort: int
    late: bool


class SliceKey(NamedTuple):
    """Whose labels: `cohort` is its start in seconds since 1970, `slice` a number of `kedge.bundle.slices`."""

    bundle: str
    arm: str
    cohort: int
    slice: int


class Units(NamedTuple):
    """Labelled units of an arm in an epoch.

    Attributes:
        units: with at least one label.
        wrong: with at least one wrong one.
        first_wrong: whose first label to come was wrong; at most `units`.
    """

    units: int = 0
    wrong: int = 0
    first_wrong: int = 0

    def __add__(self, other: tuple[int, ...]) -> Units:  # type: ignore[override]
        return Units(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Rate(NamedTuple):
    """A miss rate in force.

    Attributes:
        since: from when on, seconds since 1970.
        alpha: the rate; adaptive ones may leave [0, 1].
        missed: labels outside their set or interval that came since then.
        labels: all that did.
    """

    since: int
    alpha: float
    missed: int = 0
    labels: int = 0
