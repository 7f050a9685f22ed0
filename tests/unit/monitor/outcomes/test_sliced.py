"""Labels by slice: every feature adds up to the whole, in bounded room, and a slice is accused on evidence alone."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import pytest
from kedge_testing.outcomes import BUNDLE, NOW, World, measured, predictions, slices, target

from kedge.bundle.manifest import Metric
from kedge.monitor.outcomes.batch import Kind
from kedge.monitor.outcomes.counts import Counts
from kedge.monitor.outcomes.file import OutcomesError
from kedge.monitor.outcomes.judge import ALPHA, TOLERANCE, condemns
from kedge.monitor.outcomes.report import gather
from kedge.monitor.outcomes.slice_judge import judge_slices
from kedge.monitor.outcomes.sliced import compare
from kedge.monitor.outcomes.tables import STEPS
from kedge.monitor.verdict import Verdict
from kedge.stats import betting_confidence_sequence, clopper_pearson_upper

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.monitor.outcomes.sliced import SliceOutcomes

DAY = 86400
UA, B6, UNSEEN, MISSING = range(1, 5)
"""Ids of these carriers with a delay below 15; add 4 for more, 8 for none."""


def lines(world: World) -> dict[str, SliceOutcomes]:
    (arm,) = gather(world.database, world.targets[BUNDLE[:16]], world.now).arms
    return {line.name: line for line in arm.slices}


def test_every_features_slices_add_up_to_the_whole(world: World) -> None:
    known = world.aim(slices=slices())
    ids = np.arange(240) % 13  # 0 is a row in no slice
    random = np.random.default_rng(1)
    names = np.array(["no", "yes"])
    for part in np.array_split(random.permutation(240), 5):
        world.take(predictions(240, slice=ids).part(part), names[part % 2].tolist())
    world.now += DAY + 3600
    (arm,) = gather(world.database, known, world.now).arms
    assert [line.name for line in arm.slices] == list(known.slices.names)
    whole = (ids > 0).sum()
    for feature in ("carrier", "delay"):
        counts = [line.closed for line in arm.slices if line.feature == feature]
        assert sum(one.labelled for one in counts) == whole
    found = lines(world)
    mine = (ids - 1) % 4 == 1
    assert found["carrier=B6"].closed.labelled == (mine & (ids > 0)).sum()
    assert found["carrier=B6"].closed.right == (mine & (ids > 0) & (np.arange(240) % 2 == 1)).sum()
    assert found["delay=(missing)"].closed.labelled == (ids > 8).sum()


def test_ids_that_no_slice_has_are_left_out(world: World) -> None:
    """A prediction id of before there were slices, or of another scheme."""
    world.aim(slices=slices())
    assert world.take(predictions(3, slice=[0, 13, 65535]), ["yes"] * 3) == ["accepted"] * 3
    assert world.database.slices.cells(BUNDLE) == {}


def test_late_labels_and_young_cohorts_are_not_judged(world: World) -> None:
    world.aim(slices=slices())
    world.take(predictions(10, slice=UA), ["yes"] * 10)
    line = lines(world)["carrier=UA"]
    assert (line.closed_figures.labelled, line.open_figures.labelled) == (0, 10)
    world.now += DAY + 3600
    late = predictions(10, slice=UA, sequence=np.arange(100, 110))
    assert world.take(late, ["no"] * 10) == ["late"] * 10
    line = lines(world)["carrier=UA"]
    assert (line.closed_figures.labelled, line.closed_figures.accuracy) == (10, 1.0)


def test_what_cannot_be_written_counts_in_no_slice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.aim(slices=slices())

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(world.database, "add_statuses", fail)  # the last thing a turn writes
        with pytest.raises(OutcomesError, match="disk full"):
            world.take(predictions(5, slice=UA), ["yes"] * 5)
    assert world.database.slices.cells(BUNDLE) == {}
    assert world.take(predictions(5, slice=UA), ["yes"] * 5) == ["accepted"] * 5
    assert lines(world)["carrier=UA"].open_figures.labelled == 5


def test_closed_cohorts_are_added_up_at_once_and_rows_stay_bounded(world: World) -> None:
    known = world.aim(slices=slices())
    for hour in range(60):
        world.now = NOW + 3600 * hour
        opened = predictions(12, slice=np.arange(1, 13), seconds=world.now - 1, sequence=np.arange(12) + 12 * hour)
        world.take(opened, ["yes"] * 12)
        world.book.tend([known], {(BUNDLE, "live"): 24}, {(BUNDLE, "live"): {0: 6, 1: 18}})
    cells = world.database.slices.cells(BUNDLE)
    assert len(cells) <= 7 * 27
    assert sum(counts.labelled for key, counts in cells.items() if key.slice < 4) == 60 * 12
    found = lines(world)
    assert found["carrier=UA"].closed_figures.labelled > 0
    rows = [found["carrier=UA"].closed_figures.predicted, found["carrier=UA"].open_figures.predicted]
    assert sum(rows) == 60 * 6
    assert found["carrier=UA"].closed_figures.share == found["carrier=UA"].closed_figures.labelled / rows[0]
    assert found["delay=below 15"].closed_figures.share is None
    before = {name: line.closed for name, line in found.items()}
    world.database.close()
    world.open()
    assert {name: line.closed for name, line in lines(world).items()} == before


def test_a_file_of_before_there_were_slices_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as file:
        file.executescript(f"{STEPS[0]} PRAGMA user_version = 1;")
        file.execute("INSERT INTO statuses VALUES ('x', 'accepted', 3)")
    file.close()
    world = World(path)
    world.aim(slices=slices())
    assert world.database.statuses() == {("x", "accepted"): 3}
    world.take(predictions(5, slice=UA), ["yes"] * 5)
    assert lines(world)["carrier=UA"].open_figures.labelled == 5
    world.database.close()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,)
        file.execute("PRAGMA user_version = 3")
    file.close()
    with pytest.raises(OutcomesError, match="newer Kedge"):
        World(path)


def labelled(world: World, wrong: int, right: int, part: int, first: int) -> None:
    opened = predictions(wrong + right, slice=part, sequence=np.arange(first, first + wrong + right))
    world.take(opened, ["no"] * wrong + ["yes"] * right)


def test_a_slice_is_accused_by_name_and_never_takes_a_bundle_back(world: World) -> None:
    known = world.aim(slices=slices(), measured=measured(UA=0.9, B6=0.7, XX=0.5), risk=0.5)
    labelled(world, 400, 1600, UA, 0)  # 20 % wrong, 10 % at build
    labelled(world, 600, 1400, B6, 2000)  # 30 %, as at build
    labelled(world, 90, 10, UNSEEN, 4000)  # not measured at build
    world.now += DAY + 3600
    report = gather(world.database, known, world.now)
    found = {item.name: item for item in judge_slices(report)}
    assert {name: item.verdict for name, item in found.items()} == {
        "accuracy of carrier=UA": Verdict.CRITICAL,
        "accuracy of carrier=B6": Verdict.OK,
    }
    accused = found["accuracy of carrier=UA"]
    assert accused.reasons[0].startswith(
        "20.0 % of 2,000 labelled answers with carrier=UA are wrong; at build 10.0 % were, 10.7 % at most (2 slices"
    )
    assert not condemns(known, accused)


def test_alpha_is_divided_over_the_slices_that_are_judged(world: World) -> None:
    """As many wrong as one slice alone would be warned of, and of twelve together is not."""
    n = 1000
    risk = {count: float(clopper_pearson_upper(1000, 10**4, 1 - 0.025 / count)) for count in (1, 2)}

    def lower(wrong: int, count: int) -> float:
        return float(betting_confidence_sequence([0.0, 1.0], [n - wrong, wrong], 2 * ALPHA / count)[0])

    wrong = next(k for k in range(100, n) if lower(k, 1) > risk[1] + TOLERANCE)
    assert lower(wrong, 2) <= risk[2] + TOLERANCE
    known = world.aim(slices=slices(), measured=measured(UA=0.9))
    labelled(world, wrong, n - wrong, UA, 0)
    world.now += DAY + 3600
    (alone,) = judge_slices(gather(world.database, known, world.now))
    assert alone.verdict is Verdict.WARN
    known = world.aim(slices=slices(), measured=measured(UA=0.9, B6=0.9))
    both = judge_slices(gather(world.database, known, world.now))
    assert [item.verdict for item in both] == [Verdict.OK, Verdict.INSUFFICIENT]


def test_figures_stand_beside_those_of_the_build(world: World) -> None:
    known = world.aim(slices=slices(), measured=measured(UA=0.9, B6=0.7))
    labelled(world, 25, 75, UA, 0)
    world.now += DAY + 3600
    found = lines(world)
    accuracy, brier = compare(found["carrier=UA"], 2)
    assert (accuracy.name, accuracy.value, accuracy.n, accuracy.built) == (
        "accuracy", 0.75, 100, known.measured["carrier=UA"]["accuracy"],
    )  # fmt: skip
    assert accuracy.interval == pytest.approx((0.6534, 0.8312), abs=1e-4)  # R: binom.test(75, 100)
    assert brier.value == pytest.approx(0.75 * 0.25**2 + 0.25 * 0.75**2, abs=1e-4)
    assert brier.interval is not None
    assert brier.interval[0] < brier.value < brier.interval[1]
    assert brier.built is None
    (only,) = compare(found["carrier=B6"], 2)
    assert (only.value, only.interval, only.n) == (None, None, 0)
    assert set(found) == {"carrier=UA", "carrier=B6", "delay=below 15"}


def test_errors_of_values_by_slice_are_shown_and_not_judged(world: World) -> None:
    built = Metric(name="mae", value=0.5, low=0.4, high=0.6, n=50)
    known = world.aim(
        slices=slices(),
        classes=(),
        unit=2.0**-16,
        risk=None,
        measured={"carrier=UA": {"mae": built, "accuracy": built}},
    )
    errors = np.random.default_rng(2).normal(size=400)
    opened = predictions(400, kind=Kind.VALUE.value, value=errors, slice=np.where(np.arange(400) < 100, UA, B6))
    world.take(opened, [0.0] * 400)
    world.now += DAY + 3600
    (mae,) = compare(lines(world)["carrier=UA"], 0)
    assert mae.value == pytest.approx(abs(errors[:100]).mean(), abs=1e-4)
    half = 1.959964 * abs(errors[:100]).std() / 10
    assert mae.interval == pytest.approx((mae.value - half, mae.value + half), abs=1e-3)
    assert mae.built == built
    assert judge_slices(gather(world.database, known, world.now)) == ()


def test_without_slices_there_are_none(world: World) -> None:
    world.take(predictions(5, slice=3), ["yes"] * 5)
    (arm,) = gather(world.database, target(), world.now).arms
    assert arm.slices == ()
    assert Counts.empty() == sum(world.database.slices.cells(BUNDLE).values(), Counts.empty())


@pytest.mark.long
def test_no_slice_of_twenty_is_accused_by_chance() -> None:
    """20 slices no worse than the bound of the build, looked at 60 times each, in 100 worlds."""
    random = np.random.default_rng(5)
    line, looks, step = 0.2, 60, 100
    right, wrong = np.zeros((100, 20)), np.zeros((100, 20))
    accused = np.zeros(100, bool)
    for _ in range(looks):
        came = random.binomial(step, line + TOLERANCE, (100, 20))
        wrong, right = wrong + came, right + step - came
        lower, _ = betting_confidence_sequence([0.0, 1.0], np.stack([right, wrong], axis=-1), 2 * ALPHA / 20)
        accused |= (lower > line + TOLERANCE).any(axis=1)
    assert accused.sum() <= 2  # at most 0.1 of 100 is promised
