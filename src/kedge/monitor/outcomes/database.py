"""The file of outcomes: which labels were taken and what they add up to, changed together or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.monitor.outcomes.cohorts import FOLDED
from kedge.monitor.outcomes.counts import Counts
from kedge.monitor.outcomes.file import File
from kedge.monitor.outcomes.slice_tables import SliceTables
from kedge.monitor.outcomes.tables import CellKey, Rate, Units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Database(File):
    """The tables of a file of outcomes; thread-safe.

    Args:
        path: of the SQLite file; made if missing, and brought up to date if an older Kedge wrote it.

    Attributes:
        slices: the tables by slice.

    Raises:
        OutcomesError: it cannot be used, or was written by a newer Kedge.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.slices = SliceTables(self)

    def remembered(self, key: bytes) -> tuple[bytes, int] | None:
        """A set and the time of its youngest prediction."""
        with self._lock, self.guarded():
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
        with self._lock, self.guarded():
            query = "SELECT arm, epoch, cohort, late, counts FROM cells WHERE bundle = ?"
            return {
                CellKey(bundle, arm, epoch, cohort, bool(late)): Counts.parse(bytes(counts))
                for arm, epoch, cohort, late, counts in self._connection.execute(query, (bundle,))
            }

    def bundles(self) -> list[str]:
        """Ids of the bundles that have labels."""
        return [bundle for (bundle,) in self.all("SELECT DISTINCT bundle FROM cells ORDER BY bundle")]

    def add_predicted(self, rows: Mapping[tuple[str, str, int], int]) -> None:
        """Add rows predicted, by bundle, arm and start of cohort."""
        self._connection.executemany(
            "INSERT INTO predicted VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
            [(*key, count) for key, count in rows.items()],
        )

    def predicted(self, bundle: str) -> dict[tuple[str, int], int]:
        """Rows predicted, by arm and start of cohort."""
        rows = self.all("SELECT arm, cohort, rows FROM predicted WHERE bundle = ?", (bundle,))
        return {(arm, cohort): count for arm, cohort, count in rows}

    def add_statuses(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add labels that came, by bundle and status."""
        self._connection.executemany(
            "INSERT INTO statuses VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(*key, count) for key, count in counts.items()],
        )

    def statuses(self) -> dict[tuple[str, str], int]:
        """Labels that ever came, by bundle (empty where not known) and status."""
        rows = self.all("SELECT bundle, status, count FROM statuses")
        return {(bundle, status): count for bundle, status, count in rows}

    def set_split(self, bundle: str, epoch: int, split: tuple[bytes, int, str]) -> None:
        """Keep how traffic was split in an epoch: the rollout, how long keys are sticky, and the shares as JSON."""
        with self.transaction():
            self._connection.execute("INSERT OR IGNORE INTO splits VALUES (?, ?, ?, ?, ?)", (bundle, epoch, *split))

    def splits(self, bundle: str) -> dict[int, tuple[bytes, int, str]]:
        """Splits by epoch, as they were set."""
        rows = self.all("SELECT epoch, rollout, sticky_for, shares FROM splits WHERE bundle = ?", (bundle,))
        return {epoch: (bytes(rollout), sticky, shares) for epoch, rollout, sticky, shares in rows}

    def add_units(self, units: Mapping[tuple[str, str, int, int], Units]) -> None:
        """Add labelled units, by bundle, arm, epoch and start of cohort."""
        self._connection.executemany(
            "INSERT INTO units VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET units = units + excluded.units, "
            "wrong = wrong + excluded.wrong, first_wrong = first_wrong + excluded.first_wrong",
            [(*key, *count) for key, count in units.items()],
        )

    def units(self, bundle: str) -> dict[tuple[str, int, int], Units]:
        """Labelled units by arm, epoch and start of cohort."""
        rows = self.all("SELECT arm, epoch, cohort, units, wrong, first_wrong FROM units WHERE bundle = ?", (bundle,))
        return {(arm, epoch, cohort): Units(*counts) for arm, epoch, cohort, *counts in rows}

    def adapt(self, bundle: str, rate: Rate) -> None:
        """Keep a miss rate and what came of it."""
        self._connection.execute("INSERT OR REPLACE INTO adapted VALUES (?, ?, ?, ?, ?)", (bundle, *rate))

    def adapted(self, bundle: str) -> list[Rate]:
        """Miss rates in order of time."""
        query = "SELECT since, alpha, missed, labels FROM adapted WHERE bundle = ? ORDER BY since"
        return [Rate(*row) for row in self.all(query, (bundle,))]

    def cohorts(self, bundle: str) -> list[int]:
        """Starts of the cohorts kept apart, in order of time."""
        query = (
            "SELECT cohort FROM cells WHERE bundle = ?1 AND cohort != ?2 "
            "UNION SELECT cohort FROM predicted WHERE bundle = ?1 AND cohort != ?2 ORDER BY cohort"
        )
        return [cohort for (cohort,) in self.all(query, (bundle, FOLDED))]

    def fold(self, bundle: str, cohorts: Iterable[int]) -> None:
        """Add up closed cohorts in one: labels of all epochs as epoch 0, units by epoch, which names their split."""
        for cohort in cohorts:
            where = (bundle, cohort)
            query = "SELECT arm, late, counts FROM cells WHERE bundle = ? AND cohort = ?"
            for arm, late, counts in self._connection.execute(query, where).fetchall():
                self.add_cell(CellKey(bundle, arm, 0, FOLDED, bool(late)), Counts.parse(bytes(counts)))
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
