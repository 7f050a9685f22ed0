"""Evidence of a rollout is that of its own stretches: none is lost when shares change, and none comes from before."""

from __future__ import annotations

import numpy as np
from kedge_testing.rollouts import evidence

from kedge.kernel.contract import BATCH_SIZE_BUCKETS, LATENCY_BUCKETS
from kedge.kernel.latency import latency_bucket
from kedge.plane.cells import FOLDED, Cell, CellKey
from kedge.plane.contract import Arm
from kedge.rollout.frozen import ENOUGH, thresholds
from kedge.rollout.gathering import Gathering

NEW, OLD = "aa" * 32, "bb" * 32


def cells(*counted: tuple[str, Arm, int, int]) -> dict[CellKey, Cell]:
    """Units by bundle, arm and epoch."""
    return {(bundle, arm, epoch): Cell(b"", evidence(units).to_bytes()) for bundle, arm, epoch, units in counted}


def units(gathering: Gathering) -> list[tuple[int, float, int, int]]:
    return [(step.index, step.share, step.canary.units, step.control.units) for step in gathering.steps()]


def test_a_stretch_is_read_from_its_own_epoch() -> None:
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.05, 7)
    gathering.look(cells((NEW, Arm.CANARY, 7, 5), (OLD, Arm.CONTROL, 7, 95), (OLD, Arm.LIVE, FOLDED, 1000)))
    assert units(gathering) == [(0, 0.05, 5, 95)]


def test_what_is_answered_after_the_share_has_changed_counts_where_it_was_drawn() -> None:
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.05, 7)
    before = (NEW, Arm.CANARY, FOLDED, 40), (OLD, Arm.CONTROL, FOLDED, 400)
    gathering.look(cells(*before, (NEW, Arm.CANARY, 7, 5), (OLD, Arm.CONTROL, 7, 95)))
    gathering.begin(1, 0.25, 8)
    # Two requests drawn under epoch 7 are answered now, and the plane has folded that epoch.
    gathering.look(cells((NEW, Arm.CANARY, FOLDED, 47), (OLD, Arm.CONTROL, FOLDED, 496), (NEW, Arm.CANARY, 8, 3)))
    assert units(gathering) == [(0, 0.05, 7, 96), (1, 0.25, 3, 0)]


def test_stretches_of_one_step_are_added_up() -> None:
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.05, 7)
    gathering.look(cells((NEW, Arm.CANARY, 7, 5)))
    gathering.again(9)
    gathering.look(cells((NEW, Arm.CANARY, FOLDED, 6), (NEW, Arm.CANARY, 9, 10)))
    gathering.begin(0, 0.05, 12)
    gathering.look(cells((NEW, Arm.CANARY, FOLDED, 17), (NEW, Arm.CANARY, 12, 100)))
    assert units(gathering) == [(0, 0.05, 117, 0)]


def test_what_was_kept_over_a_restart_stays() -> None:
    first = Gathering(NEW, OLD)
    first.begin(0, 0.05, 7)
    first.look(cells((NEW, Arm.CANARY, 7, 5)))
    again = Gathering(NEW, OLD, first.steps())
    again.begin(0, 0.05, 8)
    again.look(cells((NEW, Arm.CANARY, 8, 2)))
    assert units(again) == [(0, 0.05, 7, 0)]


def test_a_shadow_stands_apart() -> None:
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.0, 3)
    gathering.look({(NEW, Arm.SHADOW, 3): Cell(b"", evidence(agreement={(0, 0): 9, (1, 0): 1}).to_bytes())})
    shadow = gathering.shadow()
    assert shadow is not None
    assert (shadow.compared, shadow.disagreed, gathering.steps()) == (10, 1, ())


def test_slow_is_above_the_99_per_cent_quantile_of_each_size_and_stays_what_it_was() -> None:
    runs = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), dtype=np.int64)
    runs[0, latency_bucket(50_000)] = 99_000
    runs[0, latency_bucket(900_000)] = 1000
    runs[3, latency_bucket(80_000)] = ENOUGH - 1
    found = thresholds(runs)
    assert 50_000 < found[0] < 51_000
    assert found[1:] == (0,) * (BATCH_SIZE_BUCKETS - 1), "a size that is hardly seen has no line"
    runs[0, latency_bucket(900_000)] = 50_000
    runs[3, latency_bucket(80_000)] += 1
    later = thresholds(runs, found)
    assert later[0] == found[0]
    assert 80_000 < later[3] < 81_000
