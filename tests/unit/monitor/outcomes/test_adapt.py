"""Outcomes move the miss rate, and a label is held against the rate of its prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from kedge_testing.outcomes import BUNDLE, NOW, conformal, predictions

from kedge.bundle.manifest import Confidence
from kedge.monitor.outcomes.counts import Counts

if TYPE_CHECKING:
    from kedge_testing.outcomes import World

SCORES = np.linspace(0.001, 0.999, 999)


def test_misses_move_the_rate_as_single_updates_would(world: World) -> None:
    target = world.aim(confidence=Confidence(alpha=0.1, adaptive=True), distributions=conformal(SCORES))
    # p of class 0 is 0.25: score 0.75 is within the 90 % set {score <= 0.9}, 0.95 is not.
    unsure = predictions(10)
    unsure.steps[4:, 0] = 3277
    world.take(unsure, ["no"] * 10)
    assert world.book.alpha(target) == 0.1
    world.now += 61
    assert world.book.tend([target], {}) == [target]
    assert world.book.alpha(target) == pytest.approx(0.1 + 0.005 * (10 * 0.1 - 6))
    world.now += 61
    assert world.book.tend([target], {}) == [], "no labels, no step"


def test_the_rate_survives_a_restart_and_steps_that_were_not_made_yet(world: World) -> None:
    target = world.aim(confidence=Confidence(alpha=0.1, adaptive=True), distributions=conformal(SCORES))
    world.take(predictions(10), ["no"] * 10)
    world.database.close()
    world.open()
    world.now += 61
    assert world.book.tend([target], {}) == [target]
    assert world.book.alpha(target) == pytest.approx(0.105)
    world.database.close()
    world.open()
    assert world.book.alpha(target) == pytest.approx(0.105)


def test_a_label_is_held_against_the_rate_of_its_time(world: World) -> None:
    target = world.aim(confidence=Confidence(alpha=0.1, adaptive=True), distributions=conformal(SCORES))
    world.take(predictions(1000), ["no"] * 1000)
    world.now += 61
    world.book.tend([target], {})
    assert world.book.alpha(target) == pytest.approx(0.6)
    early, late = predictions(1, sequence=2000), predictions(1, sequence=2001, seconds=NOW + 62)
    world.take(early, ["no"])
    world.take(late, ["no"])
    total = sum(world.database.cells(BUNDLE).values(), Counts.empty())
    assert (total.intervals, total.covered) == (1002, 1001), "score 0.75: within 0.9, above 0.4"


def test_long_run_coverage_is_the_one_asked_for_though_the_model_got_worse(world: World) -> None:
    target = world.aim(confidence=Confidence(alpha=0.2, adaptive=True), distributions=conformal(SCORES))
    random, missed = np.random.default_rng(23), []
    for step in range(150):
        opened = predictions(20, sequence=np.arange(20) + 20 * step, seconds=world.now)
        # Scores were uniform at calibration and are crowded at the top now.
        scores = random.beta(5, 1, 20)
        opened.steps[:, 0] = np.rint((1 - scores) * 65535)
        before = sum(world.database.cells(BUNDLE).values(), Counts.empty())
        world.take(opened, ["no"] * 20)
        after = sum(world.database.cells(BUNDLE).values(), Counts.empty())
        missed.append((after.intervals - before.intervals) - (after.covered - before.covered))
        world.now += 61
        world.book.tend([target], {})
    assert sum(missed[:2]) / 40 > 0.4
    assert sum(missed[50:]) / 2000 == pytest.approx(0.2, abs=0.02)


def test_a_rate_that_nothing_moves_stays(world: World) -> None:
    target = world.aim(distributions=conformal(SCORES))
    world.take(predictions(10), ["no"] * 10)
    world.now += 61
    assert world.book.tend([target], {}) == []
    assert world.database.adapted(BUNDLE) == []
