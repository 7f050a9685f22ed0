"""The file of outcomes: which labels were taken and what they add up to, changed together or not at all."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from kedge.errors import Code, KedgeError
from kedge.monitor.outcomes.cohorts import FOLDED
from kedge.monitor.outcomes.counts import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SCHEMA_VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE remembered (        -- sets of what was counted; see `kedge.monitor.outcomes.ledger` for keys
    key BLOB PRIMARY KEY,
    newest INTEGER NOT NULL,     -- seconds since 1970 of the youngest prediction in it
    bits BLOB NOT NULL           -- as `kedge.monitor.outcomes.bits` writes it
) STRICT, WITHOUT ROWID;
CREATE INDEX remembered_by_age ON remembered (newest);
CREATE TABLE cells (
    bundle TEXT NOT NULL,        -- bundle id, 64 hex digits
    arm TEXT NOT NULL,           -- such as "live"
    epoch INTEGER NOT NULL,      -- of the route when it was predicted
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


class OutcomesError(KedgeError):
    """Outcomes cannot be read or written."""

    code = Code.UNAVAILABLE


class CellKey(NamedTuple):
    """Whose labels: `cohort` is its start in seconds since 1970; `late` ones came after it was closed."""

    bundle: str
    arm: str
    epoch: int
    cohort: int
    late: bool


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


class Database:
    """The tables. Thread-safe; every method is one transaction, or part of the one that `transaction` holds open.

    Args:
        path: of the SQLite file; made if missing.

    Raises:
        OutcomesError: it cannot be used, or was written by a newer Kedge.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
        except sqlite3.Error as error:
            raise OutcomesError(f"cannot use '{path}' for outcomes: {error}") from error
        if version > SCHEMA_VERSION:
            self._connection.close()
            raise OutcomesError(
                f"'{path}' was written by a newer Kedge (schema {version}, this one knows {SCHEMA_VERSION})"
            )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written together when it ends, or not at all where it raises."""
        with self._lock, self._words():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise OutcomesError(f"outcomes in '{self._path}': {error}; free space or repair, then report again") from (
                error
            )

    def _all(self, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        with self._lock, self._words():
            return self._connection.execute(query, parameters).fetchall()

    def remembered(self, key: bytes) -> tuple[bytes, int] | None:
        """A set and the time of its youngest prediction."""
        with self._lock, self._words():
            query = "SELECT bits, newest FROM remembered WHERE key = ?"
            row = self._connection.execute(query, (key,)).fetchone()
        return None if row is None else (bytes(row[0]), int(row[1]))

    def remember(self, key: bytes, bits: bytes, newest: int) -> None:
        """Replace a set."""
        self._connection.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)", (key, newest, bits))

    def add_cell(self, key: CellKey, counts: Counts) -> None:
        """Add to a cell."""
        where = (key.bundle, key.arm, key.epoch, key.cohort, int(key.late))
        row = self._connection.execute(
            "SELECT counts FROM cells WHERE bundle = ? AND arm = ? AND epoch = ? AND cohort = ? AND late = ?", where
        ).fetchone()
        total = counts if row is None else counts + Counts.parse(bytes(row[0]))
        self._connection.execute("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?)", (*where, total.to_bytes()))

    def cells(self, bundle: str) -> dict[CellKey, Counts]:
        """Every cell of a bundle."""
        with self._lock, self._words():
            query = "SELECT arm, epoch, cohort, late, counts FROM cells WHERE bundle = ?"
            return {
                CellKey(bundle, arm, epoch, cohort, bool(late)): Counts.parse(bytes(counts))
                for arm, epoch, cohort, late, counts in self._connection.execute(query, (bundle,))
            }

    def bundles(self) -> list[str]:
        """Ids of the bundles that have labels."""
        return [bundle for (bundle,) in self._all("SELECT DISTINCT bundle FROM cells ORDER BY bundle")]  # type: ignore[misc]

    def add_predicted(self, rows: Mapping[tuple[str, str, int], int]) -> None:
        """Add rows predicted, by bundle, arm and start of cohort."""
        self._connection.executemany(
            "INSERT INTO predicted VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
            [(*key, count) for key, count in rows.items()],
        )

    def predicted(self, bundle: str) -> dict[tuple[str, int], int]:
        """Rows predicted, by arm and start of cohort."""
        rows = self._all("SELECT arm, cohort, rows FROM predicted WHERE bundle = ?", (bundle,))
        return {(arm, cohort): count for arm, cohort, count in rows}  # type: ignore[misc]

    def add_statuses(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add labels that came, by bundle and status."""
        self._connection.executemany(
            "INSERT INTO statuses VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(*key, count) for key, count in counts.items()],
        )

    def statuses(self) -> dict[tuple[str, str], int]:
        """Labels that ever came, by bundle (empty where not known) and status."""
        rows = self._all("SELECT bundle, status, count FROM statuses")
        return {(bundle, status): count for bundle, status, count in rows}  # type: ignore[misc]

    def set_split(self, bundle: str, epoch: int, split: tuple[bytes, int, str]) -> None:
        """Keep how traffic was split in an epoch: the rollout, how long keys are sticky, and the shares as JSON."""
        with self.transaction():
            self._connection.execute("INSERT OR IGNORE INTO splits VALUES (?, ?, ?, ?, ?)", (bundle, epoch, *split))

    def splits(self, bundle: str) -> dict[int, tuple[bytes, int, str]]:
        """Splits by epoch, as they were set."""
        rows = self._all("SELECT epoch, rollout, sticky_for, shares FROM splits WHERE bundle = ?", (bundle,))
        return {epoch: (bytes(rollout), sticky, shares) for epoch, rollout, sticky, shares in rows}  # type: ignore[misc,call-overload]

    def add_units(self, units: Mapping[tuple[str, str, int, int], Units]) -> None:
        """Add labelled units, by bundle, arm, epoch and start of cohort."""
        self._connection.executemany(
            "INSERT INTO units VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET units = units + excluded.units, "
            "wrong = wrong + excluded.wrong, first_wrong = first_wrong + excluded.first_wrong",
            [(*key, *count) for key, count in units.items()],
        )

    def units(self, bundle: str) -> dict[tuple[str, int, int], Units]:
        """Labelled units by arm, epoch and start of cohort."""
        rows = self._all("SELECT arm, epoch, cohort, units, wrong, first_wrong FROM units WHERE bundle = ?", (bundle,))
        return {(arm, epoch, cohort): Units(*counts) for arm, epoch, cohort, *counts in rows}  # type: ignore[misc,arg-type]

    def adapt(self, bundle: str, rate: Rate) -> None:
        """Keep a miss rate and what came of it."""
        self._connection.execute("INSERT OR REPLACE INTO adapted VALUES (?, ?, ?, ?, ?)", (bundle, *rate))

    def adapted(self, bundle: str) -> list[Rate]:
        """Miss rates in order of time."""
        query = "SELECT since, alpha, missed, labels FROM adapted WHERE bundle = ? ORDER BY since"
        return [Rate(*row) for row in self._all(query, (bundle,))]  # type: ignore[arg-type]

    def cohorts(self, bundle: str) -> list[int]:
        """Starts of the cohorts kept apart, in order of time."""
        query = (
            "SELECT cohort FROM cells WHERE bundle = ?1 AND cohort != ?2 "
            "UNION SELECT cohort FROM predicted WHERE bundle = ?1 AND cohort != ?2 ORDER BY cohort"
        )
        return [cohort for (cohort,) in self._all(query, (bundle, FOLDED))]  # type: ignore[misc]

    def fold(self, bundle: str, cohorts: Iterable[int]) -> None:
        """Add up closed cohorts in one."""
        for cohort in cohorts:
            where = (bundle, cohort)
            query = "SELECT arm, epoch, late, counts FROM cells WHERE bundle = ? AND cohort = ?"
            for arm, epoch, late, counts in self._connection.execute(query, where).fetchall():
                self.add_cell(CellKey(bundle, arm, epoch, FOLDED, bool(late)), Counts.parse(bytes(counts)))
            query = "SELECT arm, rows FROM predicted WHERE bundle = ? AND cohort = ?"
            self.add_predicted(
                {(bundle, arm, FOLDED): rows for arm, rows in self._connection.execute(query, where).fetchall()}
            )
            query = "SELECT arm, epoch, units, wrong, first_wrong FROM units WHERE bundle = ? AND cohort = ?"
            units = {
                (bundle, arm, epoch, FOLDED): Units(*counts)
                for arm, epoch, *counts in self._connection.execute(query, where).fetchall()
            }
            self.add_units(units)
            for name in ("cells", "predicted", "units"):
                self._connection.execute(f"DELETE FROM {name} WHERE bundle = ? AND cohort = ?", where)  # noqa: S608

    def forget_before(self, seconds: int) -> None:
        """Drop what only concerns predictions made before a moment: their ids are refused by their age."""
        self._connection.execute("DELETE FROM remembered WHERE newest < ?", (seconds,))
        # The rate in force at that moment began before it.
        self._connection.execute(
            "DELETE FROM adapted WHERE since < (SELECT max(since) FROM adapted AS later "
            "WHERE later.bundle = adapted.bundle AND later.since <= ?)",
            (seconds,),
        )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
