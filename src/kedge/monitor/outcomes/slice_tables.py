"""The tables of labels by slice.

Bounded for every bundle and arm: at most `kedge.bundle.slices.MAX_SLICES` rows for each cohort that is open (25, or
120 with labels that take a month), and as many for all that are closed, which are added up at once. Labels that come
late, and the epoch of the route, are kept for whole arms alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.monitor.outcomes.cohorts import FOLDED
from kedge.monitor.outcomes.counts import Counts
from kedge.monitor.outcomes.tables import SliceKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kedge.monitor.outcomes.file import File


class SliceTables:
    """Labels, and rows predicted, by slice. What writes is part of the transaction that `file` holds open.

    Args:
        file: that holds the tables.
    """

    def __init__(self, file: File) -> None:
        self._file = file

    def add(self, cells: Mapping[SliceKey, Counts]) -> None:
        """Add to cells."""
        for key, counts in cells.items():
            query = "SELECT counts FROM sliced WHERE bundle = ? AND arm = ? AND cohort = ? AND slice = ?"
            rows = self._file.all(query, key)
            total = counts + Counts.parse(bytes(rows[0][0])) if rows else counts
            self._file.put("INSERT OR REPLACE INTO sliced VALUES (?, ?, ?, ?, ?)", (*key, total.to_bytes()))

    def add_predicted(self, rows: Mapping[SliceKey, int]) -> None:
        """Add rows predicted."""
        self._file.put_many(
            "INSERT INTO sliced_predicted VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
            [(*key, count) for key, count in rows.items()],
        )

    def cells(self, bundle: str) -> dict[SliceKey, Counts]:
        """Every cell of a bundle."""
        with self._file.guarded():
            return {
                SliceKey(bundle, arm, cohort, number): Counts.parse(bytes(counts))
                for arm, cohort, number, counts in self._file.all(
                    "SELECT arm, cohort, slice, counts FROM sliced WHERE bundle = ?", (bundle,)
                )
            }

    def predicted(self, bundle: str) -> dict[SliceKey, int]:
        """Rows predicted for a bundle."""
        found = self._file.all("SELECT arm, cohort, slice, rows FROM sliced_predicted WHERE bundle = ?", (bundle,))
        return {SliceKey(bundle, arm, cohort, number): rows for arm, cohort, number, rows in found}

    def cohorts(self, bundle: str) -> list[int]:
        """Starts of the cohorts kept apart."""
        query = (
            "SELECT cohort FROM sliced WHERE bundle = ?1 AND cohort != ?2 "
            "UNION SELECT cohort FROM sliced_predicted WHERE bundle = ?1 AND cohort != ?2"
        )
        return [cohort for (cohort,) in self._file.all(query, (bundle, FOLDED))]

    def fold(self, bundle: str, cohorts: Iterable[int]) -> None:
        """Add up closed cohorts in one."""
        for cohort in cohorts:
            where = (bundle, cohort)
            query = "SELECT arm, slice, counts FROM sliced WHERE bundle = ? AND cohort = ?"
            for arm, number, counts in self._file.all(query, where):
                self.add({SliceKey(bundle, arm, FOLDED, number): Counts.parse(bytes(counts))})
            query = "SELECT arm, slice, rows FROM sliced_predicted WHERE bundle = ? AND cohort = ?"
            self.add_predicted(
                {SliceKey(bundle, arm, FOLDED, number): rows for arm, number, rows in self._file.all(query, where)}
            )
            for name in ("sliced", "sliced_predicted"):
                self._file.put(f"DELETE FROM {name} WHERE bundle = ? AND cohort = ?", where)  # noqa: S608
