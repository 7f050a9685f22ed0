"""Counts of labelled predictions against numpy on the predictions themselves."""

from __future__ import annotations

import numpy as np
import pytest

from kedge.build import evaluate
from kedge.monitor.outcomes.counts import MAX_ERROR, STEP, Counts, of_classes, of_values
from kedge.monitor.outcomes.coverage import held_classes, held_values
from kedge.monitor.outcomes.figures import Figures

RANDOM = np.random.default_rng(17)
NONE = np.full(1000, -1)


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_figures_of_classes_are_those_of_the_build(classes: int) -> None:
    p = RANDOM.dirichlet(np.ones(classes), 1000)
    truth = RANDOM.integers(0, classes, 1000)
    chosen = p.argmax(axis=1)
    steps = np.rint(p * STEP).astype(np.int64)
    halves = [
        of_classes(truth[part], chosen[part], steps[part], NONE[part]) for part in (slice(0, 300), slice(300, 1000))
    ]
    figures = Figures.of(halves[0] + halves[1], 0, 1.0)
    built = evaluate.classification(truth, chosen, p)
    assert figures.accuracy == (truth == chosen).mean() == built["accuracy"][0]
    assert figures.brier == pytest.approx(built["brier"][0], abs=1e-4)
    assert figures.log_loss == pytest.approx(built["log_loss"][0], rel=1e-3)
    confusion = (halves[0] + halves[1]).confusion
    assert confusion.sum() == 1000
    assert confusion[1, 0] == ((truth == 1) & (chosen == 0)).sum()


def test_probabilities_that_are_true_are_calibrated_and_others_are_not() -> None:
    p = RANDOM.uniform(0, 1, 20_000)
    steps = np.rint(np.stack([1 - p, p], axis=1) * STEP).astype(np.int64)
    truth = (RANDOM.random(20_000) < p).astype(np.int64)
    chosen = (p >= 0.5).astype(np.int64)
    held = np.full(20_000, -1)
    good = Figures.of(of_classes(truth, chosen, steps, held), 40_000, 1.0)
    assert good.calibration_p is not None
    assert good.calibration_p > 0.001
    assert good.ece_corrected is not None
    assert good.ece_corrected < 0.01
    assert good.share == 0.5
    assert good.accuracy is not None
    assert good.bounds == (good.accuracy / 2, good.accuracy / 2 + 0.5)
    bad = Figures.of(of_classes(1 - truth, chosen, steps, held), 0, 1.0)
    assert bad.ece == pytest.approx(0.5, abs=0.02)
    assert bad.calibration_p == pytest.approx(0.0, abs=1e-12)
    assert bad.share is bad.bounds is None


def test_without_every_probability_there_is_no_loss() -> None:
    counts = of_classes(np.array([0, 12]), np.array([11, 12]), np.zeros((2, 0), np.int64), np.array([-1, -1]))
    assert (counts.labelled, counts.right, counts.scored) == (2, 1, 0)
    assert counts.confusion[8, 8] == 1
    assert counts.confusion[0, 8] == 1


def test_errors_of_values_are_numpys_to_within_a_unit() -> None:
    truth, predicted = RANDOM.normal(0, 10, (2, 1000))
    unit = 2.0**-8
    figures = Figures.of(of_values(truth, predicted, unit, NONE), 0, unit)
    errors = predicted - truth
    assert figures.mae == pytest.approx(np.abs(errors).mean(), abs=unit)
    assert figures.rmse == pytest.approx(np.sqrt((errors**2).mean()), abs=unit)
    assert figures.bias == pytest.approx(errors.mean(), abs=unit)
    assert figures.clipped == 0
    assert figures.accuracy is None


def test_errors_past_all_bounds_are_clipped_and_said() -> None:
    counts = of_values(np.zeros(3), np.array([1e300, -1e300, 0.0]), 1.0, np.full(3, -1))
    assert counts.clipped == 2
    assert counts.errors == (0, 2 * MAX_ERROR, 2 * MAX_ERROR**2)


def test_nothing_says_nothing() -> None:
    figures = Figures.of(Counts.empty(), 0, 1.0)
    assert {value for name, value in vars(figures).items() if name not in ("labelled", "predicted")} <= {None, 0}


def test_counts_survive_bytes_and_damage_is_refused() -> None:
    counts = of_values(np.zeros(3), np.ones(3), 0.5, np.ones(3))
    assert Counts.parse(counts.to_bytes()) == counts
    with pytest.raises(ValueError, match="damaged"):
        Counts.parse(counts.to_bytes()[:-9])


def test_sets_hold_what_passes_the_threshold_and_always_the_chosen_class() -> None:
    steps = np.zeros((6, 8), np.int64)
    steps[:, :3] = np.rint(np.array([0.2, 0.3, 0.5]) * STEP)
    truth, chosen = np.array([0, 1, 2, 2, 5, 0]), np.full(6, 2)
    thresholds = np.array([0.7, 0.7, 0.1, 0.7, 0.9, np.nan])
    held = held_classes(truth, chosen, steps, np.full(6, 3), thresholds)
    assert held.tolist() == [0, 1, 1, 1, -1, -1]


def test_intervals_are_those_of_the_id_or_of_the_threshold() -> None:
    nan = np.nan
    truth, value = np.array([1.0, 3.0, 1.5, 2.5, 0.0]), np.ones(5)
    lower, upper = np.array([0, 0, nan, nan, -np.inf]), np.array([2, 2, nan, nan, np.inf])
    thresholds = np.array([nan, nan, 1.0, 1.0, nan])
    assert held_values(truth, value, lower, upper, thresholds).tolist() == [1, 0, 1, 0, 1]
    assert held_values(truth[:1], value[:1], lower[2:3], upper[2:3], thresholds[:1]).tolist() == [-1]
