"""Whether every record stands where it says: which one is missing, doubled or out of order."""

from __future__ import annotations

from typing import Any, Final

from kedge.audit.findings import Finding, Kind

MOST: Final = 10_000
"""Misplaced records that are kept apart; beyond it the exact kind of disorder is no longer told."""


class Places:
    """Compares each record's position, row number and own sequence number."""

    def __init__(self) -> None:
        self._gap = 0
        self._missing: list[str] = []
        self._at: set[int] = set()
        self._say: set[int] = set()
        self._first: tuple[int, int] | None = None
        self._known = -1

    def add(self, position: int, row: Any, sequence: int | None) -> bool:
        """Note one record, in the order of rows. False if it does not stand where it should.

        Args:
            position: records read before.
            row: number under which it is stored.
            sequence: number it states, or None if it states none.
        """
        expected = position + self._gap
        if row != expected:
            if isinstance(row, int) and row > expected:
                self._missing.append(
                    f"record {expected} is missing" if row == expected + 1 else
                    f"records {expected} to {row - 1} are missing"
                )  # fmt: skip
                self._gap += row - expected
                expected = row
            else:
                self._missing.append(f"a record is stored under {row!r} where {expected} was due")
        if sequence is not None and sequence != expected and len(self._at) < MOST:
            self._first = self._first or (expected, sequence)
            self._at.add(expected)
            self._say.add(sequence)
        return self._gap == 0 and sequence in {None, position}

    def findings(self) -> list[Finding]:
        """What the numbers come to."""
        found = [Finding(Kind.RECORD_MISSING, text) for text in self._missing[:10]]
        if self._first is None:
            return found
        at, say = self._first
        lost = sorted(self._at - self._say)
        if not lost:
            which = ", ".join(map(str, sorted(self._at)[:8]))
            found.append(Finding(Kind.RECORDS_REORDERED, f"records {which} changed places: record {say} is at {at}"))
        elif self._say - self._at:
            found.append(
                Finding(Kind.RECORD_MISSING, f"record {lost[0]} is missing: in its place is one that says it is {say}")
            )
        else:
            found.append(Finding(Kind.RECORDS_REORDERED, f"a record that says it is {say} stands at {at}"))
        return found
