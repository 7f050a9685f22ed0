"""How many rows were predicted, in all and by slice, from what the plane counts: what labels are a share of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.bundle import slice_slots
from kedge.plane.contract import Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from kedge.kernel.snapshot import Counts
    from kedge.monitor.outcomes.target import Target
    from kedge.monitor.panes import Key

SHADOW: Final = Arm.SHADOW.name.lower()


class Predicted:
    """Rows since the last look whose rows were kept. Used by one thread.

    Args:
        target: what is known of a bundle; None for one whose labels are not collected.
    """

    def __init__(self, target: Callable[[str], Target | None]) -> None:
        self._target = target
        self._rows: dict[Key, int] = {}
        self._slices: dict[Key, NDArray[np.int64]] = {}
        self._seen: tuple[dict[Key, int], dict[Key, NDArray[np.int64]]] = ({}, {})

    def grown(
        self, totals: Mapping[Key, Counts]
    ) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], dict[int, int]]]:
        """Rows by bundle and arm, and the same by number of the slice; those of shadows, which answer nobody, aside.

        The next call gives them again unless `kept` comes between.

        Args:
            totals: everything counted since the server started.
        """
        rows: dict[tuple[str, str], int] = {}
        slices: dict[tuple[str, str], dict[int, int]] = {}
        seen_rows, seen_slices = self._seen = {}, {}
        for key, counts in totals.items():
            if key.arm == SHADOW:
                continue
            before = self._rows.get(key, 0)
            seen_rows[key] = counts.rows
            # A plane that was begun anew counts from nothing.
            rows[key.bundle, key.arm] = counts.rows - before if counts.rows >= before else counts.rows
            target = self._target(key.bundle)
            if target is not None and target.slices.features:
                now = by_slice(target, counts)
                grown = now - self._slices.get(key, 0)
                seen_slices[key] = now
                chosen = now if (grown < 0).any() else grown
                slices[key.bundle, key.arm] = {int(number): int(chosen[number]) for number in np.flatnonzero(chosen)}
        return rows, slices

    def kept(self) -> None:
        """What `grown` gave is on disk."""
        rows, slices = self._seen
        self._rows.update(rows)
        self._slices.update(slices)


def by_slice(target: Target, counts: Counts) -> NDArray[np.int64]:
    """[slices] rows in each slice of a bundle; 0 for those of a feature whose rows cannot be told."""
    watched = {feature.name: index for index, feature in enumerate(counts.layout.features)}
    parts = []
    for item in target.slices.features:
        index = watched.get(item.feature.name)
        found = None
        if index is not None:
            found = slice_slots.rows(item, counts.layout.features[index], counts.features[index].slots)
        parts.append(np.zeros(len(item.values), np.int64) if found is None else found)
    return np.concatenate(parts)
