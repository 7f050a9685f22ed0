"""What is promised of sets and intervals holds: simulated, for every kind of score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kedge.build import calibrate
from kedge.bundle import conformal
from kedge.bundle.manifest import Conformal, Distributions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROUNDS, CALIBRATION, FRESH, ALPHA = 150, 400, 400, 0.1
Draw = tuple[Conformal, "Callable[[float], NDArray[np.bool_]]"]


def spread_of(kind: str, sigma: NDArray[Any]) -> NDArray[Any] | None:
    """What a model might say of its error, deliberately off by a factor."""
    if kind == "absolute":
        return None
    return 3 * sigma if kind == "scaled" else np.stack([-sigma, sigma], axis=1)


def regression(kind: str, rng: np.random.Generator) -> Draw:
    """Heavy-tailed errors that grow with x; the prediction is always 0."""
    sigma = (0.2 + rng.random(CALIBRATION + FRESH)).astype(np.float32)
    truth = rng.standard_t(3, len(sigma)) * sigma
    spread, zero = spread_of(kind, sigma), np.zeros(len(sigma), np.float32)
    known = calibrate.conformal_values(
        zero[:CALIBRATION], None if spread is None else spread[:CALIBRATION], truth[:CALIBRATION]
    )
    assert known.score == kind

    def covered(limit: float) -> NDArray[np.bool_]:
        fresh = None if spread is None else spread[CALIBRATION:]
        lower, upper = conformal.intervals(known.score, zero[CALIBRATION:], fresh, limit)
        inside: NDArray[np.bool_] = (truth[CALIBRATION:] >= lower) & (truth[CALIBRATION:] <= upper)
        return inside

    return known, covered


def classification(rng: np.random.Generator) -> Draw:
    """Three classes whose probabilities the model overstates."""
    logits = rng.normal(size=(CALIBRATION + FRESH, 3))
    truth = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    raised = np.exp(2.5 * logits)
    said = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    known = calibrate.conformal_classes(said[:CALIBRATION], truth[:CALIBRATION])

    def covered(limit: float) -> NDArray[np.bool_]:
        return np.asarray(conformal.sets(said[CALIBRATION:], limit)[np.arange(FRESH), truth[CALIBRATION:]])

    return known, covered


@pytest.mark.parametrize("kind", ["lac", "absolute", "scaled", "quantile"])
def test_new_rows_are_covered_as_promised(kind: str) -> None:
    rng = np.random.default_rng(5)
    coverage = []
    for _ in range(ROUNDS):
        known, covered = classification(rng) if kind == "lac" else regression(kind, rng)
        limit = conformal.threshold(Distributions(rows=CALIBRATION, features=(), conformal=known), ALPHA)
        assert limit is not None
        coverage.append(covered(limit).mean())
    # A round's coverage is Beta about its expectation, and is seen through FRESH rows.
    error = math.sqrt(ALPHA * (1 - ALPHA) * (1 / CALIBRATION + 1 / FRESH) / ROUNDS)
    assert 1 - ALPHA - 3 * error < np.mean(coverage)
    if kind != "lac":  # a set may hold more: an empty one gets the top class
        assert np.mean(coverage) < 1 - ALPHA + 2 / CALIBRATION + 3 * error


def test_a_model_that_knows_where_it_errs_has_intervals_as_wide_as_its_error() -> None:
    rng = np.random.default_rng(6)
    sigma = np.where(np.arange(4000) % 2 == 0, 0.1, 10.0)
    truth = rng.normal(size=4000) * sigma
    known = calibrate.conformal_values(np.zeros(4000), sigma, truth)
    limit = conformal.threshold(Distributions(rows=4000, features=(), conformal=known), ALPHA)
    assert limit is not None
    lower, upper = conformal.intervals("scaled", np.zeros(2), sigma[:2], limit)
    assert upper - lower == pytest.approx(2 * 1.645 * sigma[:2], rel=0.1)


def test_empty_sets_and_intervals_get_what_is_likeliest() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [math.nan, 0.1, 0.9], [0.1, math.nan, 0.9]])
    expected = [[False, True, False], [True, False, False], [False, False, True]]
    assert conformal.sets(probabilities, -math.inf).tolist() == expected
    assert conformal.sets(probabilities[:1], math.inf).all()
    one = np.array([4.0])
    assert np.equal(conformal.intervals("absolute", one, None, -math.inf), [[4.0], [4.0]]).all()
    assert np.equal(conformal.intervals("scaled", one, one, -1.0), [[4.0], [4.0]]).all()
    assert np.equal(conformal.intervals("scaled", one, 0 * one, math.inf), [[-math.inf], [math.inf]]).all()
    assert np.equal(conformal.intervals("quantile", one, np.array([[2.0, 8.0]]), -4.0), [[5.0], [5.0]]).all()
