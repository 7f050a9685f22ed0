"""The threshold of a bundle's sets and intervals, from the scores its calibration left."""

from __future__ import annotations

import math

import pytest

from kedge.bundle.conformal import threshold
from kedge.bundle.manifest import Conformal, Distributions


def calibrated(n: int = 9) -> Distributions:
    scores = Conformal(score="lac", edges=(0.0, 0.1, 0.2, 0.4), counts=(5, 3, 1), n=n)
    return Distributions(rows=n, features=(), conformal=scores)


def test_no_calibration_gives_no_threshold() -> None:
    assert threshold(None, 0.1) is None
    assert threshold(Distributions(rows=10, features=()), 0.1) is None


@pytest.mark.parametrize(("alpha", "edge"), [(0.1, 0.4), (0.2, 0.2), (0.5, 0.1)])
def test_it_is_the_upper_edge_of_the_bin_of_the_kth_score(alpha: float, edge: float) -> None:
    assert threshold(calibrated(), alpha) == edge


def test_too_few_scores_or_ones_in_no_bin_cover_everything() -> None:
    assert threshold(calibrated(), 0.05) == math.inf
    assert threshold(calibrated(n=12), 0.1) == math.inf


def test_adaptive_rates_may_leave_the_unit_interval() -> None:
    assert threshold(calibrated(), -0.01) == math.inf
    assert threshold(calibrated(), 1.01) == -math.inf
