"""A shadow is asked what another one was asked, is compared with it, and nobody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, eventually, only, outputs, request
from kedge_testing.trials import answered, column, evidence, gather, root, score, split

from kedge.bundle.manifest import Distributions, Execution, Prediction, Serving
from kedge.errors import PlaneError
from kedge.kernel.snapshot import Counts
from kedge.plane import cells
from kedge.plane.contract import Arm, ArmRoute, Handle, Route, RouteTable, Shadow
from kedge.plane.evidence import AGREEMENT_CLASSES, DIFFERENCE_BINS, Evidence
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable


def beside(live: Handle, shadow: Handle, epoch: int = 1, sample: float = 1.0, **fields: Any) -> Route:
    """A route that one bundle answers while another is compared with it."""
    return Route(live.model, epoch, (ArmRoute(live, Arm.LIVE, 1.0),), shadow=Shadow(shadow, sample), **fields)


def settled(served: Served, offered: int) -> Evidence:
    """The shadow's evidence, once so many requests were offered and every one of them is accounted for."""

    def done() -> bool:
        found = evidence(served, Arm.SHADOW)
        return found.offered == offered == found.compared + found.dropped + found.failed

    eventually(done)
    return evidence(served, Arm.SHADOW)


def test_pairs_are_what_was_offered_and_what_was_not_dropped(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    values = [0.0, 0.25, 0.5625, 1.0] * 25  # probabilities 0, 0.5, 0.75 and 1 of class 1
    for call in [caller.future(request("root", column(value, 0.0))) for value in values]:
        call.result()
    found = settled(served, 100)
    assert (found.dropped, found.failed) == (0, 0)
    assert found.compared == 100
    assert found.disagreed == 0
    assert found.agreement.sum() == 100
    # 0.5 ties, and a tie is class 0
    assert (found.agreement[0, 0], found.agreement[1, 1]) == (50, 50)
    assert found.differences.tolist() == [100] + [0] * (DIFFERENCE_BINS - 1)
    assert found.live_ns > 0
    assert found.shadow_ns > 0
    assert found.units == 0
    assert evidence(served, Arm.LIVE) == Evidence.empty()


def test_what_two_models_say_differently_is_counted_exactly(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2, models.root(flipped=True)))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    # class 1 has probability p of one, 1 - p of the other
    for p, times in ((0.0, 3), (0.25, 2), (0.5, 1), (0.75, 4), (1.0, 5)):
        for _ in range(times):
            caller.infer(request("root", column(p * p)))
    found = settled(served, 15)
    assert found.compared == 15
    assert found.disagreed == 14
    expected = np.zeros((AGREEMENT_CLASSES, AGREEMENT_CLASSES), np.int64)
    expected[0, 1], expected[0, 0], expected[1, 0] = 5, 1, 9
    assert found.agreement.tolist() == expected.tolist()
    differences = dict(enumerate(found.differences.tolist()))
    assert {at: count for at, count in differences.items() if count} == {0: 1, 32: 6, 63: 8}


def many_classes(version: int, shift: int) -> bundles.Recipe:
    """x [N, 12] to itself plus an offset: the class is the largest, moved on by `shift`."""
    names = tuple(f"c{index}" for index in range(12))
    return bundles.Recipe(
        models.rotated(12, shift),
        "many",
        version=str(version),
        distributions=Distributions(rows=32, features=(), classes=(1,) * 13, scores=tuple(map(score, names))),
        serving=Serving(prediction=Prediction(output="y", kind="probabilities", classes=names)),
    )


def test_classes_beyond_the_table_share_its_last_place(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(many_classes(1, 0)), served.load(many_classes(2, 1))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    for label in range(12):
        caller.infer(request("many", ("x", "FP32", np.eye(12, dtype=np.float32)[[label]])))
    found = settled(served, 12)
    assert found.disagreed == 12
    expected = np.zeros((AGREEMENT_CLASSES, AGREEMENT_CLASSES), np.int64)
    for label in range(12):
        expected[min(label, 8), min((label + 1) % 12, 8)] += 1
    assert found.agreement.tolist() == expected.tolist()
    # the score is that of class 0: it differs where either names class 0
    assert {at: count for at, count in enumerate(found.differences.tolist()) if count} == {0: 10, 63: 2}


def value_recipe(version: int, amount: float) -> bundles.Recipe:
    return bundles.Recipe(
        models.plus(amount),
        "plus",
        version=str(version),
        distributions=Distributions(rows=32, features=(), scores=(score("y", (0.0, 1.0, 4.0)),)),
        serving=Serving(prediction=Prediction(output="y", kind="value")),
    )


def test_values_differ_in_spans_of_the_reference(listen: Callable[..., Served]) -> None:
    served = listen()
    live, near, far = (served.load(value_recipe(*pair)) for pair in ((1, 0.0), (2, 1.0), (3, 4.0)))
    caller = Caller(served.address)
    served.publish(beside(live, near))
    for value in (0.0, 2.0, float("nan")):
        caller.infer(request("plus", ("x", "FP32", np.array([[value]], np.float32))))
    found = settled(served, 3)
    assert found.disagreed == 0
    assert found.agreement.sum() == 0
    assert {at: count for at, count in enumerate(found.differences.tolist()) if count} == {16: 2, 63: 1}
    served.publish(beside(live, far, epoch=2))
    caller.infer(request("plus", ("x", "FP32", np.zeros((1, 1), np.float32))))
    assert settled(served, 4).differences[63] == 2


def test_a_shadow_is_counted_as_any_other_and_answers_nobody(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2, models.root(flipped=True)))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    answer = caller.infer(request("root", column(0.0625, 0.5625)))
    assert outputs(answer)["probabilities"].tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert (answer.model_version, answer.parameters["kedge_arm"].string_param) == ("1", "live")
    assert caller.refusal(request("root", column(0.0), version="2"))[0] in (
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNAVAILABLE,
    )
    settled(served, 1)
    found = cells.decode(served.plane.snapshot())
    layout = served.bundle(two.bundle).layout()
    shadow = Counts.parse(found[two.bundle, Arm.SHADOW, 1].counts, layout)
    live = Counts.parse(found[one.bundle, Arm.LIVE, 1].counts, layout)
    assert shadow.classes.tolist() == [1, 1, 0]
    assert live.classes.tolist() == [1, 1, 0]
    assert shadow.status[0] == 1
    assert shadow.latency_run.sum() == 1


def test_only_what_live_or_control_answered_is_offered(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two, three = served.load(root(1)), served.load(root(2)), served.load(root(3))
    caller = Caller(served.address)
    served.publish(split(one, two, 1.0, shadow=Shadow(three)))
    for _ in range(3):
        caller.infer(request("root", column(0.25)))
    caller.infer(request("root", column(0.25), version="1"))
    caller.refusal(request("root"))
    eventually(lambda: answered(served) == 5)
    served.publish(split(one, two, 0.0, epoch=2, shadow=Shadow(three)))
    for _ in range(4):
        caller.infer(request("root", column(0.25)))
    assert settled(served, 4).compared == 4
    assert evidence(served, Arm.SHADOW, 1).offered == 0
    assert evidence(served, Arm.CANARY).units == 4  # the refusal was drawn too


def test_a_sample_is_a_share_of_the_requests(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(beside(one, two, sample=0.25))
    caller = Caller(served.address)
    for _ in range(4):
        for call in [caller.future(request("root", column(0.25))) for _ in range(200)]:
            call.result()
    eventually(lambda: answered(served) == 800)
    found = evidence(served, Arm.SHADOW)
    assert 130 < found.offered < 270  # 200 expected; five standard deviations are 61
    settled(served, found.offered)


def test_what_the_shadow_fails_on_is_its_own_failure(listen: Callable[..., Served]) -> None:
    served = listen()
    one = served.load(bundles.Recipe(models.doubled(), "gather"))
    two = served.load(gather(2))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    numbers = [0, 99, 3, 7, -100, 1]
    for call in [caller.future(request("gather", ("i", "INT64", np.array([[i]], np.int64)))) for i in numbers]:
        call.result()
    found = settled(served, 6)
    assert (found.compared, found.failed) == (4, 2)
    # who answers says nothing of a prediction, so there is nothing to compare but time
    assert found.agreement.sum() == found.differences.sum() == 0


def test_a_shadow_that_takes_other_inputs_fails_and_harms_nobody(listen: Callable[..., Served]) -> None:
    served = listen()
    one = served.load(root(1))
    two = served.load(bundles.Recipe(models.add(), "root", version="2"))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    for _ in range(3):
        caller.infer(request("root", column(0.25)))
    found = settled(served, 3)
    assert (found.failed, found.compared) == (3, 0)


def test_a_shadow_that_yields_what_is_not_finite_is_suspect(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1, models.root(flipped=True))), served.load(root(2))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    caller.infer(request("root", column(0.25, -1.0, float("nan"))))
    settled(served, 1)
    assert [row["x"].tolist() for row in served.plane.suspects(two)] == [[[-1.0]]]


def test_a_shadow_that_cannot_keep_up_drops_and_delays_nobody(listen: Callable[..., Served]) -> None:
    served = listen()
    pooled = Serving(execution=Execution(mode="pool"))
    one = served.load(bundles.Recipe(models.quick(), "slow", version="1", batchable=False))
    two = served.load(bundles.Recipe(models.slow(), "slow", version="2", batchable=False, serving=pooled))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    busy = request("slow", ("times", "INT64", np.array([60], np.int64)))  # about 50 ms of the shadow's time
    for _ in range(5):
        for call in [caller.future(busy) for _ in range(300)]:
            call.result()
    eventually(lambda: evidence(served, Arm.SHADOW).offered == 1500)
    found = evidence(served, Arm.SHADOW)
    assert found.dropped > 0
    assert found.compared + found.dropped + found.failed < 1500  # it is far behind, and all were answered


def test_what_a_shadow_ran_is_nothing_it_answered(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    for _ in range(5):
        caller.infer(request("root", column(0.25)))
    settled(served, 5)
    served.publish(only(two, epoch=2))
    caller.infer(request("root", column(0.25)))
    eventually(lambda: answered(served) == 6)
    asked = pb.ModelStatisticsRequest(name="root", version="2")
    (found,) = caller.call("ModelStatistics", asked, pb.ModelStatisticsResponse).model_stats
    assert found.inference_stats.success.count == 1


def test_a_shadow_goes_when_its_route_does(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    for _ in range(10):
        caller.infer(request("root", column(0.25)))
    with pytest.raises(PlaneError, match="still in the route table"):
        served.plane.retire(two, 1.0)
    served.publish(only(one, epoch=2))
    caller.infer(request("root", column(0.25)))
    served.plane.retire(two, 10.0)
    found = evidence(served, Arm.SHADOW)
    assert found.offered == 10 == found.compared + found.dropped


def test_a_shadow_asked_for_by_name_is_not_ready_yet(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(beside(one, two))
    caller = Caller(served.address)
    assert caller.refusal(request("root", column(0.5), version="2"))[0] is grpc.StatusCode.UNAVAILABLE


def test_a_route_whose_shadow_cannot_be_one_is_refused(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two, other = served.load(root(1)), served.load(root(2)), served.load(gather(1))
    gone = served.load(root(3))
    served.plane.retire(gone, 1.0)
    for route in (
        beside(one, one),
        beside(one, gone),
        beside(one, other),
        *(beside(one, two, sample=sample) for sample in (0.0, -0.5, 1.5, float("nan"))),
    ):
        with pytest.raises(PlaneError):
            served.plane.publish(RouteTable((route,)))
