"""Metrics against scikit-learn, intervals against their own definition by simulation or another formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from kedge.build import calibrate, evaluate, intervals
from kedge.build.spec import GateSpec
from kedge.errors import SpecError

RNG = np.random.default_rng(7)
N = 600
TRUTH = RNG.integers(0, 2, N)
P1 = np.clip(0.3 + 0.3 * TRUTH + 0.25 * RNG.normal(size=N), 0.01, 0.99).round(2)
P = np.stack([1 - P1, P1], axis=1)
CHOSEN = P.argmax(axis=1)


def test_classification_metrics_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with kedge[demo]")
    found = evaluate.classification(TRUTH, CHOSEN, P)
    expected = {
        "accuracy": metrics.accuracy_score(TRUTH, CHOSEN),
        "balanced_accuracy": metrics.balanced_accuracy_score(TRUTH, CHOSEN),
        "log_loss": metrics.log_loss(TRUTH, P),
        "brier": metrics.brier_score_loss(TRUTH, P1),
        "auc": metrics.roc_auc_score(TRUTH, P1),
    }
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12), name


def test_several_classes_have_a_brier_score_over_all_of_them_and_no_auc() -> None:
    truth = RNG.integers(0, 3, 50)
    p = RNG.dirichlet([1, 1, 1], 50)
    found = evaluate.classification(truth, p.argmax(axis=1), p)
    assert found["brier"][0] == pytest.approx(((p - np.eye(3)[truth]) ** 2).sum(axis=1).mean())
    assert "auc" not in found


def test_labels_alone_have_the_two_accuracies() -> None:
    assert set(evaluate.classification(TRUTH, CHOSEN, None)) == {"accuracy", "balanced_accuracy"}


def test_regression_metrics_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with kedge[demo]")
    truth = RNG.normal(size=N)
    predicted = truth + RNG.normal(size=N) + 0.2
    found = evaluate.regression(truth, predicted)
    assert found["mae"][0] == pytest.approx(metrics.mean_absolute_error(truth, predicted))
    assert found["rmse"][0] == pytest.approx(metrics.root_mean_squared_error(truth, predicted))
    assert found["r2"][0] == pytest.approx(metrics.r2_score(truth, predicted))
    assert found["bias"][0] == pytest.approx((predicted - truth).mean())
    for name, (value, low, high) in found.items():
        assert low is not None, name
        assert high is not None, name
        assert low < value < high, name
    assert "r2" not in evaluate.regression(np.ones(5), np.zeros(5))


def test_wilson_is_scipys_wilson() -> None:
    for hits, n in ((0, 10), (3, 10), (10, 10), (450, 600)):
        expected = binomtest(hits, n).proportion_ci(method="wilson")
        assert intervals.wilson(hits, n) == pytest.approx((hits / n, expected.low, expected.high), abs=1e-12)


def test_delong_covers_the_true_area() -> None:
    rng = np.random.default_rng(3)
    truth = 0.7602  # P(X > Y) for X ~ N(1, 1), Y ~ N(0, 1): Phi(1 / sqrt(2)) = 0.76025
    inside = 0
    for _ in range(400):
        y = rng.random(300) < 0.3
        area = intervals.auc(rng.normal(size=300) + y, y)
        assert area is not None
        _, low, high = area
        assert low is not None
        assert high is not None
        inside += low <= truth <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_auc_needs_both_classes() -> None:
    assert intervals.auc(np.array([0.1, 0.2]), np.array([True, True])) is None


def test_a_bootstrap_is_the_same_every_time() -> None:
    values = RNG.normal(size=100)
    once, again = (intervals.bootstrap(lambda rows: float(values[rows].mean()), 100) for _ in range(2))
    assert once == again


def test_gates_judge_the_value_and_a_metric_that_was_not_measured_is_refused() -> None:
    figures = {"auc": (0.7, 0.6, 0.8)}
    wanted = [GateSpec(metric="auc", op=">=", bound=0.7), GateSpec(metric="auc", op="<=", bound=0.69)]
    assert [gate.passed for gate in evaluate.gates(wanted, figures).gates] == [True, False]
    with pytest.raises(SpecError, match=r"gates\[0\]: no metric 'f1' was measured; there are auc"):
        evaluate.gates([GateSpec(metric="f1", op=">=", bound=0)], figures)


def test_reliability_bins_hold_equal_shares_and_add_up() -> None:
    p = RNG.dirichlet([2, 3], 4000)
    truth = (RNG.random(4000) < p[:, 1]).astype(np.int64)
    found = calibrate.reliability(p, truth)
    assert len(found.edges) == 19
    assert sum(found.n) == 4000
    assert max(found.n) - min(found.n) <= 2
    assert sum(found.sum_p) == pytest.approx(p.max(axis=1).sum())
    assert sum(found.sum_y) == (p.argmax(axis=1) == truth).sum()
    assert sum(found.sum_p) / 4000 == pytest.approx(sum(found.sum_y) / 4000, abs=0.03)
