"""Evidence of a rollout is that of its own stretches: none is lost when shares change, and none comes from before."""

from __future__ import annotations

import json

import numpy as np
import pytest
from kedge_testing.rollouts import evidence

from kedge.audit.record import SYSTEM
from kedge.kernel.contract import BATCH_SIZE_BUCKETS, LATENCY_BUCKETS
from kedge.kernel.latency import latency_bucket
from kedge.plane.cells import FOLDED, Cell, CellKey
from kedge.plane.contract import Arm
from kedge.rollout import book
from kedge.rollout.book import Rollout
from kedge.rollout.frozen import ENOUGH, Frozen, coverage, thresholds
from kedge.rollout.gathering import Gathering
from kedge.rollout.guard_slow import slow
from kedge.rollout.moves import with_lines
from kedge.rollout.plan import Plan
from kedge.rollout.reading import Baseline, Judged

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
    gathering.look(cells((NEW, Arm.CANARY, FOLDED, 5), (NEW, Arm.CANARY, 9, 10)))
    gathering.begin(0, 0.05, 12)
    gathering.look(cells((NEW, Arm.CANARY, FOLDED, 17), (NEW, Arm.CANARY, 12, 100)))
    assert units(gathering) == [(0, 0.05, 117, 0)]


@pytest.mark.parametrize("looked", [True, False], ids=["looked at meanwhile", "not looked at"])
def test_what_was_drawn_at_a_share_that_was_taken_back_condemns_nobody(*, looked: bool) -> None:
    """A disk takes half a minute to fail: a quarter of the traffic was drawn for the canary, then 5 % again."""
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.05, 7)
    gathering.look(cells((NEW, Arm.CANARY, 7, 5), (OLD, Arm.CONTROL, 7, 95)))
    if looked:
        gathering.look(cells((NEW, Arm.CANARY, 7, 5), (OLD, Arm.CONTROL, 7, 95), (NEW, Arm.CANARY, 8, 700)))
    gathering.again(9)
    folded = (NEW, Arm.CANARY, FOLDED, 755), (OLD, Arm.CONTROL, FOLDED, 2345)
    gathering.look(cells(*folded, (NEW, Arm.CANARY, 9, 10), (OLD, Arm.CONTROL, 9, 190)))
    assert units(gathering) == [(0, 0.05, 15, 285)]
    gathering.begin(1, 0.25, 10)
    after = (NEW, Arm.CANARY, FOLDED, 766), (OLD, Arm.CONTROL, FOLDED, 2536)
    gathering.look(cells(*after, (NEW, Arm.CANARY, 10, 1), (OLD, Arm.CONTROL, 10, 3)))
    assert units(gathering) == [(0, 0.05, 16, 286), (1, 0.25, 1, 3)]


def test_changes_that_are_taken_back_again_and_again_take_no_room() -> None:
    """On a full disk what the evidence asks for is tried each second, for as long as it is full."""
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.05, 2)
    for second in range(1000):
        gathering.look(cells((NEW, Arm.CANARY, FOLDED, 3 * second), (NEW, Arm.CANARY, 2 * second + 2, 3)))
        gathering.again(2 * second + 4)
    assert units(gathering) == [(0, 0.05, 3000, 0)]
    assert len(gathering._over) + len(gathering._open) < 5


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


def test_slow_is_above_the_99_per_cent_quantile_of_each_size() -> None:
    runs = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), dtype=np.int64)
    runs[0, latency_bucket(50_000)] = 99_000
    runs[0, latency_bucket(900_000)] = 1000
    runs[3, latency_bucket(80_000)] = ENOUGH - 1
    found = thresholds(runs)
    assert 50_000 < found[0] < 51_000
    assert found[1:] == (0,) * (BATCH_SIZE_BUCKETS - 1), "a size that is hardly seen has no line"
    runs[3, latency_bucket(80_000)] += 1
    later = thresholds(runs)
    assert later[0] == found[0]
    assert 80_000 < later[3] < 81_000


def judged(arm: str, epoch: int, units: int, slow: int, of: int) -> tuple[CellKey, Cell]:
    key = (NEW, Arm.CANARY, epoch) if arm == "canary" else (OLD, Arm.CONTROL, epoch)
    return key, Cell(b"", evidence(units, {"slow": slow}, judged=of).to_bytes())


def test_slow_units_are_expected_look_by_look() -> None:
    """At the second look the control runs in sizes without a line, and all is slow: that says nothing of the canary."""
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.1, 7, (5,))
    gathering.look(dict([judged("canary", 7, 100, 2, 100), judged("control", 7, 900, 18, 900)]))
    (step,) = gathering.steps()
    assert (step.judged, step.covered) == ((Judged(100, 2, 900, 18, 2.0),), (100, 100))
    gathering.look(dict([judged("canary", 7, 200, 12, 200), judged("control", 7, 1800, 18, 900)]))
    (step,) = gathering.steps()
    assert (step.judged, step.covered) == ((Judged(200, 12, 900, 18, 12.0),), (200, 200))
    gathering.look(dict([judged("canary", 7, 200, 12, 200), judged("control", 7, 1800, 18, 900)]))
    assert gathering.steps()[0].judged[0].expected == 12.0, "a look in which nothing came adds nothing"


def test_what_is_covered_counts_from_the_lines_in_force() -> None:
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.1, 7, (0,))
    gathering.look(dict([judged("canary", 7, 100, 0, 0), judged("control", 7, 900, 0, 0)]))
    gathering.begin(0, 0.1, 8, (5,))
    before = [judged("canary", FOLDED, 110, 0, 0), judged("control", FOLDED, 900, 0, 0)]
    gathering.look(dict([*before, judged("canary", 8, 50, 1, 40), judged("control", 8, 300, 3, 300)]))
    (step,) = gathering.steps()
    assert (step.canary.units, step.canary.judged, step.covered) == (160, 40, (50, 40))
    gathering.again(9)
    before = [judged("canary", FOLDED, 160, 1, 40), judged("control", FOLDED, 1200, 3, 300)]
    gathering.look(dict([*before, judged("canary", 9, 5, 0, 5), judged("control", 9, 10, 0, 10)]))
    (step,) = gathering.steps()
    assert step.covered == (55, 45), "the same lines under another epoch"
    assert book._evidence(json.loads(json.dumps(book._step(step)))) == step
    again = Gathering(NEW, OLD, (step,))
    assert again.steps() == (step,), "kept over a restart"
    again.begin(0, 0.1, 20, (5,))
    again.look(dict([judged("canary", 20, 7, 1, 7), judged("control", 20, 63, 0, 63)]))
    (later,) = again.steps()
    assert later.covered == (7, 7)
    assert later.judged == (*step.judged, Judged(7, 1, 63, 0, 0.1))


def test_lines_stay_unless_others_cover_more_of_both_arms() -> None:
    runs = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), dtype=np.int64)
    runs[0, 700] = runs[4, 700] = 1000
    assert coverage((), runs) == 0.0
    assert coverage(tuple(int(size == 4) for size in range(BATCH_SIZE_BUCKETS)), runs) == pytest.approx(16 / 17)
    other = np.zeros_like(runs)
    assert coverage((1,) + (0,) * (BATCH_SIZE_BUCKETS - 1), runs, other) == pytest.approx(1 / 17)
    other[0, 700] = 50
    assert coverage((1,) + (0,) * (BATCH_SIZE_BUCKETS - 1), runs, other) == pytest.approx(0.5 + 0.5 / 17)


def test_units_are_added_up_under_the_lines_they_were_judged_by() -> None:
    """With lines for larger batches one slow run strikes more units than before, but those of before stay as judged."""
    gathering = Gathering(NEW, OLD)
    gathering.begin(0, 0.1, 7, (5,), 2)
    gathering.look(dict([judged("canary", 7, 100, 2, 10), judged("control", 7, 900, 18, 900)]))
    gathering.begin(0, 0.1, 8, (5, 6), 16)
    before = [judged("canary", FOLDED, 100, 2, 10), judged("control", FOLDED, 900, 18, 900)]
    gathering.look(dict([*before, judged("canary", 8, 50, 1, 50), judged("control", 8, 450, 9, 450)]))
    (step,) = gathering.steps()
    assert step.judged == (Judged(10, 2, 900, 18, 20 * 10 / 910, 2), Judged(50, 1, 450, 9, 1.0, 16))
    numbers = slow(Plan.default(), [step], Baseline({"slow": 0.01})).numbers
    assert (numbers["stages"], numbers["0.together"], numbers["1.together"]) == (2, 2, 16)


def test_lines_for_larger_batches_bring_how_many_units_one_run_strikes() -> None:
    known = Baseline({"slow": 0.01}, together={"slow": 2})
    rollout = Rollout(
        number=1, bundle=NEW, control=OLD, plan=Plan.default(), salt=b"", started=0.0, step_started=0.0, by=SYSTEM,
        baseline=known,
    )  # fmt: skip
    for struck, kept in ((16, 16), (1, 2)):
        found = Frozen((5, 6), 1.0, 0.5, Baseline({"slow": 0.01}, together={"slow": struck}))
        assert with_lines(rollout, found).baseline.together == {"slow": kept}
