"""How sure a model is: sets and intervals, exactly as the statistics of its calibration say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, outputs, request

from kedge.bundle.manifest import Confidence, Conformal, Distributions, Prediction, Serving
from kedge.errors import PlaneError
from kedge.plane.contract import TokenKey, Tokens
from kedge.plane.token import unseal
from kedge.stats.conformal import conformal_histogram, conformal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kedge.proto import inference as pb

ALPHA = 0.2
CLASSES = ("a", "b", "c", "d")
KEY = TokenKey(7, bytes(range(16, 32)))


def calibrated(kind: str, scores: NDArray[np.float64]) -> tuple[Conformal, float]:
    """Calibration from these scores, and its threshold at `ALPHA`."""
    edges, counts, n = conformal_histogram(scores, 64)
    conformal = Conformal(
        score=kind,
        edges=tuple(edges.tolist()),
        counts=tuple(counts.astype(int).tolist()),
        n=n,  # type: ignore[arg-type]
    )
    return conformal, float(conformal_quantile(edges, counts, ALPHA, n))


def recipe(
    name: str, prediction: Prediction, conformal: Conformal | None, *, wide: int = 0, adaptive: bool = False
) -> bundles.Recipe:
    """The model `spread`, or with `wide` columns one that answers what it is asked."""
    return bundles.Recipe(
        models.rotated(wide, 0) if wide else models.spread(),
        name,
        distributions=Distributions(rows=32, features=(), conformal=conformal),
        serving=Serving(prediction=prediction, confidence=Confidence(alpha=ALPHA, adaptive=adaptive)),
    )


def classifier(conformal: Conformal | None, name: str = "classifier") -> bundles.Recipe:
    return recipe(name, Prediction(output="y", kind="probabilities", classes=CLASSES), conformal, wide=4)


def probabilities(rows: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).dirichlet([0.6] * 4, rows).astype(np.float32)


def sure(message: pb.ModelInferRequest) -> pb.ModelInferRequest:
    message.parameters["kedge_confidence"].bool_param = True
    return message


def sets(p: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """What the definition says: every class whose score is within the threshold, else the likeliest."""
    members = 1.0 - p.astype(np.float64) <= threshold
    members[~members.any(axis=1), p[~members.any(axis=1)].argmax(axis=1)] = True
    return members


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_sets_are_those_of_the_calibration(listen: Callable[..., Served], form: str) -> None:
    served = listen()
    conformal, threshold = calibrated("lac", np.random.default_rng(1).beta(2, 2, 500))
    served.serve(classifier(conformal))
    p = probabilities(40)
    found = outputs(Caller(served.address).infer(sure(request("classifier", ("x", "FP32", p), form=form))))
    assert list(found) == ["y", "kedge.confidence", "kedge.set"]
    assert found["kedge.set"].dtype == np.bool_
    assert found["kedge.confidence"].dtype == np.float64
    assert found["kedge.set"].tolist() == sets(p, threshold).tolist()
    assert found["kedge.confidence"].tolist() == p.max(axis=1).astype(np.float64).tolist()
    assert found["kedge.set"].sum(axis=1).min() == 1
    assert (found["kedge.set"].sum(axis=1) > 1).any()


def test_a_set_that_would_be_empty_has_the_likeliest_class(listen: Callable[..., Served]) -> None:
    served = listen()
    conformal, threshold = calibrated("lac", np.linspace(0.0, 0.1, 100))
    served.serve(classifier(conformal))
    p = np.array([[0.3, 0.4, 0.2, 0.1], [0.0, 0.0, 0.99, 0.01]], np.float32)
    assert threshold < 0.2
    found = outputs(Caller(served.address).infer(sure(request("classifier", ("x", "FP32", p)))))
    assert found["kedge.set"].tolist() == [[False, True, False, False], [False, False, True, False]]


def test_with_too_few_scores_everything_is_possible(listen: Callable[..., Served]) -> None:
    served = listen()
    conformal, threshold = calibrated("lac", np.array([0.1, 0.2]))
    assert threshold == math.inf
    served.serve(classifier(conformal))
    found = outputs(Caller(served.address).infer(sure(request("classifier", ("x", "FP32", probabilities(3))))))
    assert found["kedge.set"].all()


def test_logits_are_judged_by_their_probabilities(listen: Callable[..., Served]) -> None:
    served = listen()
    conformal, _ = calibrated("lac", np.linspace(0.0, 1.0, 101))
    served.serve(recipe("logits", Prediction(output="y", kind="logits", classes=CLASSES), conformal, wide=4))
    x = np.array([[0.0, 0.0, 0.0, math.log(997.0)]], np.float32)
    found = outputs(Caller(served.address).infer(sure(request("logits", ("x", "FP32", x)))))
    np.testing.assert_allclose(found["kedge.confidence"], [0.997], rtol=1e-6)
    assert found["kedge.set"].tolist() == [[False, False, False, True]]


X = np.array([[0.0], [1.5], [-4.0]], np.float32)
"""Inputs of `spread`: y is x, sigma |x|, low x - 1, high x + 2."""


def intervals(kind: str, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y = X[:, 0].astype(np.float64)
    if kind == "quantile":
        return y - 1 - threshold, y + 2 + threshold
    half = threshold * (np.abs(y) if kind == "scaled" else np.ones(3))
    return y - half, y + half


def regression(kind: str, conformal: Conformal) -> bundles.Recipe:
    beside: dict[str, Any] = {}
    if kind == "scaled":
        beside = {"sigma_output": "sigma"}
    elif kind == "quantile":
        beside = {"lower_output": "low", "upper_output": "high"}
    return recipe(kind, Prediction(output="y", kind="value", **beside), conformal)


@pytest.mark.parametrize("kind", ["absolute", "scaled", "quantile"])
def test_intervals_are_those_of_the_calibration(listen: Callable[..., Served], kind: str) -> None:
    served = listen(tokens=Tokens(KEY, 1))
    conformal, threshold = calibrated(kind, np.random.default_rng(2).exponential(1.0, 300))
    (handle,) = served.serve(regression(kind, conformal))
    caller = Caller(served.address)
    lower, upper = intervals(kind, threshold)
    found = outputs(caller.infer(sure(request(kind, ("x", "FP32", X)))))
    assert list(found) == ["y", "sigma", "low", "high", "kedge.confidence", "kedge.lower", "kedge.upper"]
    assert found["kedge.confidence"].tolist() == [1 - ALPHA] * 3
    assert found["kedge.lower"].tolist() == lower.tolist()
    assert found["kedge.upper"].tolist() == upper.tolist()
    # the token has it whether it was asked for or not
    text = caller.infer(request(kind, ("x", "FP32", X[1:2]))).parameters["kedge_prediction_id"].string_param
    (row,) = unseal([text], [KEY])
    assert (row["value"], row["lower"], row["upper"]) == (1.5, lower[1], upper[1])
    served.plane.confide(handle, 0.25)
    lower, upper = intervals(kind, 0.25)
    found = outputs(caller.infer(sure(request(kind, ("x", "FP32", X)))))
    assert (found["kedge.lower"].tolist(), found["kedge.upper"].tolist()) == (lower.tolist(), upper.tolist())


def test_an_interval_that_would_be_empty_is_a_point(listen: Callable[..., Served]) -> None:
    served = listen()
    handles = served.serve(
        *(regression(kind, calibrated(kind, np.arange(50.0))[0]) for kind in ("absolute", "quantile"))
    )
    caller = Caller(served.address)
    for handle, middle in zip(handles, (X[:, 0], X[:, 0] + 0.5), strict=True):
        served.plane.confide(handle, -7.0)
        found = outputs(caller.infer(sure(request(handle.model, ("x", "FP32", X)))))
        assert found["kedge.lower"].tolist() == found["kedge.upper"].tolist() == middle.tolist()


def test_another_threshold_takes_the_place_of_the_calibrations(listen: Callable[..., Served]) -> None:
    served = listen()
    conformal, _ = calibrated("lac", np.linspace(0.0, 1.0, 50))
    (handle,) = served.serve(classifier(conformal))
    caller = Caller(served.address)
    p = probabilities(20)
    for threshold in (0.35, 0.9, math.inf, -math.inf):
        served.plane.confide(handle, threshold)
        found = outputs(caller.infer(sure(request("classifier", ("x", "FP32", p)))))
        assert found["kedge.set"].tolist() == sets(p, threshold).tolist()


def test_what_is_no_number_is_in_no_set_and_likeliest_only_where_it_comes_first(listen: Callable[..., Served]) -> None:
    served = listen()
    (handle,) = served.serve(classifier(calibrated("lac", np.linspace(0.0, 1.0, 50))[0]))
    served.plane.confide(handle, math.inf)
    p = np.array([[0.1, math.nan, 0.5, 0.4], [math.nan, 0.2, 0.7, 0.1]], np.float32)
    caller = Caller(served.address)
    found = outputs(caller.infer(sure(request("classifier", ("x", "FP32", p)))))
    assert found["kedge.set"].tolist() == [[True, False, True, True], [False, True, True, True]]
    np.testing.assert_array_equal(found["kedge.confidence"], [0.5, math.nan])
    served.plane.confide(handle, -math.inf)
    found = outputs(caller.infer(sure(request("classifier", ("x", "FP32", p)))))
    assert found["kedge.set"].tolist() == [[False, False, True, False], [True, False, False, False]]


def test_no_rows_have_no_sets(listen: Callable[..., Served]) -> None:
    served = listen()
    served.serve(classifier(calibrated("lac", np.linspace(0.0, 1.0, 50))[0]))
    found = outputs(Caller(served.address).infer(sure(request("classifier", ("x", "FP32", probabilities(0))))))
    assert (found["kedge.confidence"].shape, found["kedge.set"].shape) == ((0,), (0, 4))


def test_it_is_added_to_the_outputs_asked_for(listen: Callable[..., Served]) -> None:
    served = listen()
    served.serve(regression("absolute", calibrated("absolute", np.arange(50.0))[0]))
    message = request("absolute", ("x", "FP32", X))
    message.outputs.add(name="low")
    assert list(outputs(Caller(served.address).infer(sure(message)))) == [
        "low",
        "kedge.confidence",
        "kedge.lower",
        "kedge.upper",
    ]
    message.parameters["kedge_confidence"].bool_param = False
    assert list(outputs(Caller(served.address).infer(message))) == ["low"]


def test_a_bundle_that_cannot_say_says_so(listen: Callable[..., Served]) -> None:
    served = listen()
    (uncalibrated, _) = served.serve(classifier(None, "uncalibrated"), bundles.Recipe(models.plus(1), "unsaid"))
    caller = Caller(served.address)
    code, text = caller.refusal(sure(request("uncalibrated", ("x", "FP32", probabilities(1)))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "calibration" in text
    assert "'uncalibrated'" in text
    code, text = caller.refusal(sure(request("unsaid", ("x", "FP32", np.zeros((1, 1), np.float32)))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "kedge_confidence" in text
    with pytest.raises(PlaneError, match="calibration"):
        served.plane.confide(uncalibrated, 0.5)


def test_scores_of_half_precision_are_refused(listen: Callable[..., Served]) -> None:
    served = listen()
    conformal, _ = calibrated("lac", np.linspace(0.0, 1.0, 50))
    model = models.mixed()
    prediction = Prediction(output="half", kind="probabilities", classes=CLASSES[:2])
    served.serve(
        bundles.Recipe(
            model,
            "half",
            distributions=Distributions(rows=32, features=(), conformal=conformal),
            serving=Serving(prediction=prediction),
        )
    )
    code, text = Caller(served.address).refusal(sure(request("half", ("x", "FP32", np.full((1, 2), 0.5, np.float32)))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "FP32" in text


def test_a_threshold_is_a_number_of_a_loaded_bundle(listen: Callable[..., Served]) -> None:
    served = listen()
    handle = served.load(classifier(calibrated("lac", np.linspace(0.0, 1.0, 50))[0]))
    with pytest.raises(PlaneError, match="NaN"):
        served.plane.confide(handle, math.nan)
    served.plane.retire(handle, 1.0)
    with pytest.raises(PlaneError, match="retired"):
        served.plane.confide(handle, 0.5)
