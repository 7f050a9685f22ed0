"""What labels say: closed cohorts are judged, young ones shown, late ones apart; and whose problem it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from kedge_testing.outcomes import BUNDLE, NOW, conformal, predictions, target

from kedge.monitor.outcomes.judge import condemns, judge
from kedge.monitor.outcomes.report import SplitUnits, gather, split_units
from kedge.monitor.outcomes.tables import Units
from kedge.monitor.outcomes.units import Split, rollout_name
from kedge.monitor.verdict import Cause, Verdict

if TYPE_CHECKING:
    from kedge_testing.outcomes import World

DAY = 86400


def labelled(world: World, wrong: int, right: int, *, first: int = 0, seconds: float = NOW - 1) -> None:
    count = wrong + right
    opened = predictions(count, sequence=np.arange(first, first + count), seconds=seconds)
    assert set(world.take(opened, ["no"] * wrong + ["yes"] * right)) == {"accepted"}


def test_young_cohorts_are_shown_and_closed_ones_judged(world: World) -> None:
    known = target()
    world.book.tend([known], {(BUNDLE, "live"): 2000})
    labelled(world, 100, 900)
    (arm,) = gather(world.database, known, world.now).arms
    assert (arm.closed_figures.labelled, arm.open_figures.labelled) == (0, 1000)
    assert arm.open_figures.accuracy == 0.9
    assert [item.verdict for item in judge(gather(world.database, known, world.now))] == [Verdict.INSUFFICIENT]
    world.now += DAY + 3600
    report = gather(world.database, known, world.now)
    (arm,) = report.arms
    assert (arm.closed_figures.labelled, arm.open_figures.labelled) == (1000, 0)
    assert arm.closed_figures.share == 0.5
    assert arm.closed_figures.bounds == (0.45, 0.95)
    (cohort,) = arm.cohorts
    assert (cohort.closed, cohort.end - cohort.start, cohort.start % 3600) == (True, 3600, 0)
    assert report.statuses == {"accepted": 1000}


def test_late_labels_are_apart(world: World) -> None:
    known = target()
    labelled(world, 0, 100)
    world.now += DAY + 3600
    world.take(predictions(50, sequence=np.arange(1000, 1050)), ["no"] * 50)
    (arm,) = gather(world.database, known, world.now).arms
    assert (arm.closed_figures.labelled, arm.closed_figures.accuracy) == (100, 1.0)
    assert (arm.late_figures.labelled, arm.late_figures.accuracy) == (50, 0.0)


@pytest.mark.parametrize(
    ("wrong", "verdict"), [(300, Verdict.OK), (345, Verdict.OK), (450, Verdict.CRITICAL), (370, Verdict.WARN)]
)
def test_accuracy_is_held_against_what_was_measured_at_build(world: World, wrong: int, verdict: Verdict) -> None:
    """At build at most 30 % were wrong; up to 32 % is let pass."""
    for part in range(5):
        labelled(world, wrong, 1000 - wrong, first=1000 * part)
    world.now += DAY + 3600
    (found,) = judge(gather(world.database, target(), world.now))
    assert (found.name, found.verdict, found.rows) == ("accuracy", verdict, 5000)
    assert found.effect == wrong / 1000
    assert found.cause is (Cause.MODEL if verdict.problem else Cause.NONE)
    if verdict.problem:
        assert f"{wrong / 10:.1f} % of 5,000 labelled answers are wrong" in found.reasons[0]


def test_coverage_is_held_against_its_floor(world: World) -> None:
    known = world.aim(distributions=conformal(np.linspace(0.001, 0.7, 2000)), risk=None)
    labelled(world, 300, 700)
    world.now += DAY + 3600
    (found,) = judge(gather(world.database, known, world.now))
    assert (found.name, found.verdict) == ("coverage", Verdict.CRITICAL)
    assert "70.0 % of 1,000 sets held the label; 87." in found.reasons[0]


def test_what_labels_do_not_say_is_said(world: World) -> None:
    known = world.aim(selective=True)
    world.book.tend([known], {(BUNDLE, "live"): 10_000})
    labelled(world, 900, 100)
    world.now += DAY + 3600
    (found,) = judge(gather(world.database, known, world.now))
    assert found.reasons[1] == "labels came for 10.0 % of the predictions"
    assert "nothing is said of the others" in found.reasons[2]
    assert found.verdict is Verdict.CRITICAL
    assert not condemns(known, found), "labels that come for wrong answers alone take no bundle back"
    assert condemns(target(), found)


def test_a_false_alarm_is_rarer_than_promised() -> None:
    """The share of wrong answers is exactly what is let pass, looked at 20 times: at most 0.1 % alarm."""
    from kedge.monitor.outcomes.judge import ALPHA
    from kedge.stats import betting_confidence_sequence

    random = np.random.default_rng(3)
    wrong = random.binomial(250, 0.32, (300, 20)).cumsum(axis=1)
    n = np.broadcast_to(250 * np.arange(1, 21), wrong.shape)
    lower = np.asarray(betting_confidence_sequence([0.0, 1.0], np.stack([n - wrong, wrong], axis=-1), 2 * ALPHA)[0])
    assert (lower > 0.32).any(axis=1).sum() <= 3, "the 99.9 % quantile of Binomial(300, 0.001)"


def test_units_of_a_split_by_share_once_their_cohorts_are_closed(world: World) -> None:
    other = "cd" * 32
    world.targets[other[:16]] = target(bundle=other, version="2.0.0")
    for epoch, share in ((3, 0.05), (4, 0.25)):
        split = Split.of("flights", b"salt", 3600, {"canary": share, "control": 1 - share})
        world.splits.saw(BUNDLE, epoch, split)
        world.splits.saw(other, epoch, split)
    world.splits.saw(BUNDLE, 9, Split.of("flights", b"another", 3600, {"canary": 0.5, "control": 0.5}))
    for prefix, arm, wrong, first in ((BUNDLE, 1, 10, 0), (other, 2, 4, 1000)):
        opened = predictions(
            20, bundle=int(prefix[:16], 16), arm=arm, epoch=[3] * 10 + [4] * 10, sequence=np.arange(first, first + 20)
        )
        world.take(opened, ["no"] * wrong + ["yes"] * (20 - wrong))
    sides = world.targets[other[:16]], world.targets[BUNDLE[:16]]

    def units() -> tuple[SplitUnits, ...]:
        rollout = rollout_name("flights", b"salt")
        return split_units(world.database, world.splits, *sides, rollout=rollout, now=world.now)

    assert units() == (SplitUnits(0.05, Units(), Units()), SplitUnits(0.25, Units(), Units()))
    world.now += DAY + 3600
    assert units() == (
        SplitUnits(0.05, Units(10, 4, 4), Units(10, 10, 10)),
        SplitUnits(0.25, Units(10, 0, 0), Units(10, 0, 0)),
    )
