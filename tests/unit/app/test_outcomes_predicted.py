"""How much was predicted is told once, however often it could not be kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kedge.app_outcomes_predicted import Predicted
from kedge.kernel import state as places
from kedge.kernel.contract import Layout
from kedge.kernel.snapshot import Counts
from kedge.monitor.panes import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLE = "ab" * 32


def totals(rows: int) -> Mapping[Key, Counts]:
    nothing = Counts.zero(Layout(()))
    words = nothing.words.copy()
    words[places.ROWS] = rows
    return {Key(BUNDLE, "live"): replace(nothing, words=words)}


def test_rows_that_a_full_disk_did_not_take_are_told_again() -> None:
    predicted = Predicted(lambda _: None)
    live = (BUNDLE, "live")
    assert predicted.grown(totals(100)) == ({live: 100}, {})
    assert predicted.grown(totals(130)) == ({live: 130}, {}), "the disk was full"
    predicted.kept()
    assert predicted.grown(totals(131)) == ({live: 1}, {})
    predicted.kept()
    assert predicted.grown(totals(7)) == ({live: 7}, {}), "a plane begun anew"
