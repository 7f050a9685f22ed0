"""What arms are compared by: units, not requests or rows, and each of them once."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, eventually, only, request
from kedge_testing.trials import SALT, answered, column, evidence, gather, root, split

from kedge.bundle.manifest import Execution, Serving
from kedge.errors import PlaneError
from kedge.kernel.contract import BATCH_SIZE_BUCKETS, MISSING, OVERFLOW
from kedge.plane import cells, limits
from kedge.plane.contract import Arm, LoadOptions, RouteTable
from kedge.plane.evidence import KINDS, Evidence
from kedge.plane.siphash import siphash24
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.plane.contract import Handle

GOOD, HIGH, WRONG = 0.25, 4.0, -1.0
"""Inputs of `root` for a probability of 0.5, of 2, and none at all."""
BOTH = (Arm.CANARY, Arm.CONTROL)


def pair(served: Served, share: float = 0.5, **fields: Any) -> tuple[Handle, Handle]:
    """Two versions of `root`, the second as canary."""
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(split(one, two, share, **fields))
    return one, two


def ask(*values: float, key: str | None = None, version: str = "") -> pb.ModelInferRequest:
    message = request("root", column(*values), version=version)
    if key is not None:
        message.parameters["kedge_key"].string_param = key
    return message


def both(served: Served) -> Evidence:
    return evidence(served, Arm.CANARY) + evidence(served, Arm.CONTROL)


def events(found: Evidence) -> dict[str, tuple[int, int]]:
    """First events and first requests that were one, by kind, where there are any."""
    pairs = {kind: (found.first_events(kind), found.request_events(kind)) for kind in KINDS}
    return {kind: counts for kind, counts in pairs.items() if any(counts)}


def arm_of(key: str, share: float) -> Arm:
    period = (int(time.time()) // 10**9).to_bytes(8, "little")
    return Arm.CANARY if siphash24(SALT, period + key.encode()) < int(share * 2.0**64) else Arm.CONTROL


def test_without_a_key_every_request_is_a_unit_whatever_its_rows(listen: Callable[..., Served]) -> None:
    served = listen()
    pair(served, 0.25)
    caller = Caller(served.address)
    arms: Counter[str] = Counter()
    for _ in range(4):
        for call in [caller.future(ask(*[GOOD] * (1 + i % 3))) for i in range(100)]:
            arms[pb.ModelInferResponse.FromString(call.result()).parameters["kedge_arm"].string_param] += 1
    eventually(lambda: answered(served) == 400)
    assert set(arms) == {"canary", "control"}
    for arm in BOTH:
        found = evidence(served, arm)
        assert found.units == arms[arm.name.lower()]
        assert found.first_scores[2] == found.units  # 0.5 is in the bin [0.5, 0.75)
        assert found.first_scores.sum() == found.units
        assert events(found) == {}


def test_a_key_is_one_unit_however_often_it_asks(listen: Callable[..., Served]) -> None:
    served = listen()
    pair(served)
    caller = Caller(served.address)
    keys = [f"user-{number}" for number in range(50)]
    for call in [caller.future(ask(GOOD, key=key)) for _ in range(8) for key in keys]:
        call.result()
    eventually(lambda: answered(served) == 400)
    arms = Counter(arm_of(key, 0.5) for key in keys)
    for arm in BOTH:
        assert evidence(served, arm).units == arms[arm]
        assert evidence(served, arm).first_scores.sum() == arms[arm]


def test_an_empty_key_is_none(listen: Callable[..., Served]) -> None:
    served = listen()
    pair(served)
    caller = Caller(served.address)
    for _ in range(20):
        caller.infer(ask(GOOD, key=""))
        caller.raw("ModelInfer", ask(GOOD).SerializeToString(), metadata=(("x-kedge-key", ""),))
    eventually(lambda: answered(served) == 40)
    assert both(served).units == 40
    assert all(evidence(served, arm).units for arm in BOTH)


def test_a_key_stays_one_unit_as_its_rollout_goes_on_and_not_in_the_next(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = pair(served)
    caller = Caller(served.address)
    keys = [f"user-{number}" for number in range(20)]

    def ask_all(total: int) -> None:
        for key in keys:
            caller.infer(ask(GOOD, key=key))
        eventually(lambda: answered(served) == total)

    ask_all(20)
    served.publish(split(one, two, 0.9, epoch=2))
    ask_all(40)
    assert both(served).units == 20
    served.publish(split(one, two, 0.9, epoch=3, salt=bytes(reversed(SALT))))
    ask_all(60)
    assert both(served).units == 40


def test_a_key_is_another_unit_in_the_next_period(listen: Callable[..., Served]) -> None:
    served = listen()
    pair(served, sticky_for=1)
    caller = Caller(served.address)
    caller.infer(ask(GOOD, key="user"))
    second = int(time.time())
    # the clock a plane reads may be some milliseconds behind this one
    eventually(lambda: time.time() > second + 1.1)
    caller.infer(ask(GOOD, key="user"))
    eventually(lambda: answered(served) == 2)
    assert both(served).units == 2


def test_only_what_was_drawn_counts(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2))
    caller = Caller(served.address)
    served.publish(only(one))
    caller.infer(ask(GOOD))
    served.publish(split(one, two, 0.5, epoch=2))
    caller.infer(ask(WRONG, version="1"))
    caller.infer(ask(GOOD, version="2"))
    eventually(lambda: answered(served) == 3)
    assert all(Evidence.parse(cell.evidence) == Evidence.empty() for cell in _cells(served))


def _cells(served: Served) -> list[cells.Cell]:
    return list(cells.decode(served.plane.snapshot()).values())


def test_one_bad_row_makes_a_request_invalid_and_many_do_not_make_it_more(listen: Callable[..., Served]) -> None:
    served = listen()
    pair(served, 1.0)
    caller = Caller(served.address)
    for values in ([GOOD, GOOD], [GOOD, WRONG, GOOD], [HIGH, WRONG, WRONG], [float("nan")]):
        caller.infer(ask(*values))
    eventually(lambda: answered(served) == 4)
    found = evidence(served, Arm.CANARY)
    assert found.units == 4
    assert events(found) == {"invalid": (3, 3)}
    assert found.first_scores[2] == 2  # 0.5
    assert found.first_scores[OVERFLOW] == 1  # 2.0
    assert found.first_scores[MISSING] == 1  # NaN stands for missing
    assert found.first_scores.sum() == 4


def test_a_unit_has_its_first_event_once_and_its_first_request_whatever_comes_later(
    listen: Callable[..., Served],
) -> None:
    served = listen()
    pair(served, 1.0)
    caller = Caller(served.address)
    for key, values in {"later": (GOOD, WRONG, WRONG), "first": (WRONG, GOOD, WRONG), "never": (GOOD, GOOD)}.items():
        for value in values:
            caller.infer(ask(value, key=key))
    eventually(lambda: answered(served) == 8)
    found = evidence(served, Arm.CANARY)
    assert found.units == 3
    assert events(found) == {"invalid": (2, 1)}
    assert (found.first_scores[2], found.first_scores[MISSING]) == (2, 1)


def test_refusals_and_timeouts_are_events_of_their_own(listen: Callable[..., Served]) -> None:
    served = listen()
    pair(served, 1.0)
    caller = Caller(served.address)
    assert caller.refusal(request("root"))[0] is grpc.StatusCode.INVALID_ARGUMENT
    late = ask(GOOD)
    late.parameters["timeout"].int64_param = 1
    assert caller.refusal(late)[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    keyed = request("root")
    keyed.parameters["kedge_key"].string_param = "user"
    for _ in range(3):
        caller.refusal(keyed)
    caller.infer(ask(GOOD, key="user"))
    eventually(lambda: answered(served) == 6)
    found = evidence(served, Arm.CANARY)
    assert found.units == 3
    assert events(found) == {"refusals": (2, 2), "timeouts": (1, 1)}
    assert found.first_scores.sum() == 0  # the one that was answered was no first request


def test_what_the_model_fails_on_is_an_error(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(gather(1)), served.load(gather(2))
    served.publish(split(one, two, 1.0))
    caller = Caller(served.address)
    good, bad = (request("gather", ("i", "INT64", np.array([[i]], np.int64))) for i in (0, 99))
    caller.infer(good)
    for _ in range(2):
        assert caller.refusal(bad)[0] is grpc.StatusCode.INTERNAL
    eventually(lambda: answered(served) == 3)
    found = evidence(served, Arm.CANARY)
    assert found.units == 3
    assert events(found) == {"errors": (2, 2)}
    assert found.first_scores.tolist() == [1] + [0] * 31  # the value 0


def test_a_request_that_finds_the_queue_full_is_an_error_of_its_bundle(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = _slow(served)
    served.publish(split(one, two, 1.0))
    caller = Caller(served.address)
    running = [caller.future(_busy(200)) for _ in range(8)]
    codes = Counter(grpc.StatusCode.OK if call.exception() is None else call.code() for call in running)
    eventually(lambda: answered(served) == 8)
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    refused = codes[grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert evidence(served, Arm.CANARY).units == 8
    assert events(evidence(served, Arm.CANARY)) == {"errors": (refused, refused)}


def _slow(served: Served) -> list[Handle]:
    """Two versions of a model that takes as long as it is asked to, with a queue of two."""
    serving = Serving(execution=Execution(mode="pool"), batching=Serving().batching.model_copy(update={"max_queue": 2}))
    return [
        served.load(bundles.Recipe(models.slow(), "slow", version=version, batchable=False, serving=serving))
        for version in ("1", "2")
    ]


def _busy(times: int) -> pb.ModelInferRequest:
    return request("slow", ("times", "INT64", np.array([times], np.int64)))


def test_a_request_whose_client_went_away_counts_as_nothing(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = _slow(served)
    served.publish(split(one, two, 1.0))
    caller = Caller(served.address)
    running = caller.future(_busy(3000))
    waiting = caller.future(_busy(1))
    caller.sent()  # so that it waits in the queue; where it was answered, nothing is shown, nor wrong
    waiting.cancel()
    running.result()
    caller.infer(_busy(1))
    eventually(lambda: 2 <= evidence(served, Arm.CANARY).units == answered(served, slice(1)))
    assert events(evidence(served, Arm.CANARY)) == {}


def test_a_first_request_that_was_given_up_does_not_stand_for_its_unit(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = _slow(served)
    served.publish(split(one, two, 1.0))
    caller = Caller(served.address)

    def keyed(times: int) -> pb.ModelInferRequest:
        message = _busy(times)
        message.parameters["kedge_key"].string_param = "user"
        return message

    running = caller.future(_busy(3000))
    waiting = caller.future(keyed(1))
    caller.sent()  # as above: so that it waits in the queue
    waiting.cancel()
    running.result()
    caller.infer(keyed(1))
    eventually(lambda: answered(served, slice(1)) >= 2)
    assert evidence(served, Arm.CANARY).units == 2


@pytest.mark.parametrize(("bound", "slow"), [(1, True), (0, False), (10**15, False), (None, False)])
def test_slow_is_what_ran_longer_than_the_route_allows(
    listen: Callable[..., Served], bound: int | None, slow: bool
) -> None:
    served = listen()
    pair(served, 0.5, slow_ns=() if bound is None else (bound,) * BATCH_SIZE_BUCKETS)
    caller = Caller(served.address)
    for rows in (1, 5, 1):
        caller.infer(ask(*[GOOD] * rows))
    caller.infer(ask(GOOD, key="user"))
    caller.infer(ask(GOOD, key="user"))
    eventually(lambda: answered(served) == 5)
    found = both(served)
    assert found.units == 4
    assert found.judged == (4 if bound else 0)
    assert events(found) == ({"slow": (4, 4)} if slow else {})


def test_the_bound_is_that_of_the_size_of_the_batch(listen: Callable[..., Served]) -> None:
    served = listen()
    bounds = [0] * BATCH_SIZE_BUCKETS
    bounds[3] = 1  # 5 to 8 rows
    pair(served, 1.0, slow_ns=tuple(bounds))
    caller = Caller(served.address)
    for rows in (1, 2, 4, 5, 8, 9):
        caller.infer(ask(*[GOOD] * rows))
    eventually(lambda: answered(served) == 6)
    assert events(evidence(served, Arm.CANARY)) == {"slow": (2, 2)}
    assert (evidence(served, Arm.CANARY).judged, evidence(served, Arm.CANARY).ran) == (2, 6)


def test_only_a_first_request_that_ran_is_judged(listen: Callable[..., Served]) -> None:
    served = listen()
    bounds = [0] * BATCH_SIZE_BUCKETS
    bounds[0] = 10**15
    pair(served, 1.0, slow_ns=tuple(bounds))
    caller = Caller(served.address)
    for key, sizes in {"small": (1, 3, 1), "large": (3, 1)}.items():
        for rows in sizes:
            caller.infer(ask(*[GOOD] * rows, key=key))
    caller.refusal(request("root"))
    eventually(lambda: answered(served) == 6)
    found = evidence(served, Arm.CANARY)
    assert (found.units, found.ran, found.judged) == (3, 2, 1)


def test_epochs_before_the_newest_are_added_up_with_their_evidence(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = pair(served)
    caller = Caller(served.address)
    epochs = 60
    for epoch in range(1, epochs + 1):
        served.publish(split(one, two, 1.0, epoch=epoch + 1))
        caller.infer(ask(GOOD))
        eventually(lambda epoch=epoch: answered(served) == epoch)  # type: ignore[misc]
        assert evidence(served, Arm.CANARY, epoch + 1).units == 1
    served.publish(split(one, two, 1.0, epoch=epochs + 2))
    taken = served.snapshot()
    kept = cells.decode(taken)
    assert len(kept) <= limits.CELLS
    (size,) = {len(cell.counts) + len(cell.evidence) for cell in kept.values()}
    assert len(taken) <= limits.CELLS * (size + 128)
    assert evidence(served, Arm.CANARY, cells.FOLDED).units >= epochs - 1
    assert evidence(served, Arm.CANARY).units == answered(served) == epochs


def test_an_epoch_in_force_stays_apart_while_other_routes_change(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = pair(served, 1.0)
    other = served.load(bundles.Recipe(models.add(), "add"))
    caller = Caller(served.address)
    for change in range(1, 12):
        caller.infer(ask(GOOD))
        eventually(lambda change=change: answered(served) == change)  # type: ignore[misc]
        served.publish(split(one, two, 1.0), only(other, epoch=change))
        assert evidence(served, Arm.CANARY, 1).units == change


def test_what_a_forgotten_bundle_counted_is_gone_once_it_is_retired(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = pair(served, 1.0)
    caller = Caller(served.address)
    caller.infer(ask(GOOD))
    caller.infer(ask(GOOD, version=one.version))
    eventually(lambda: answered(served) == 2)
    served.publish(only(one, epoch=2))
    served.plane.forget(two.bundle)
    assert {bundle for bundle, *_ in cells.decode(served.snapshot())} == {one.bundle, two.bundle}
    served.plane.retire(two, 10.0)
    assert {bundle for bundle, *_ in cells.decode(served.snapshot())} == {one.bundle}
    # It comes again, and counts from nothing.
    again = served.plane.load(served.bundle(two.bundle).directory, LoadOptions())
    served.publish(only(again, epoch=3))
    caller.infer(ask(GOOD))
    eventually(lambda: answered(served) == 2)
    served.publish(only(one, epoch=4))
    served.plane.retire(again, 10.0)
    served.plane.forget(two.bundle)
    assert answered(served) == 1


def test_suspects_are_finite_rows_without_a_finite_prediction(listen: Callable[..., Served]) -> None:
    served = listen()
    one, _ = pair(served, 0.0)
    caller = Caller(served.address)
    caller.infer(ask(GOOD, -1.0, float("nan"), HIGH, float("-inf"), -2.0))
    caller.infer(ask(-3.0, version="1"))
    rows: list[Any] = []
    eventually(lambda: (rows.extend(served.plane.suspects(one)), len(rows) == 3)[1])
    assert [row["x"].tolist() for row in rows] == [[[-1.0]], [[-2.0]], [[-3.0]]]
    assert not np.isfinite(served.plane.run(one, rows[0])["probabilities"]).any()
    caller.infer(ask(*[-4.0] * 100))
    eventually(lambda: answered(served) == 3)
    assert len(served.plane.suspects(one)) == limits.SUSPECTS
    assert served.plane.suspects(one) == (), "whoever takes them makes room"
    caller.infer(ask(-5.0, version="1"))
    eventually(lambda: len(served.plane.suspects(one)) == 1)


def test_a_route_that_cannot_be_compared_by_is_refused(listen: Callable[..., Served]) -> None:
    served = listen()
    one, two = served.load(root(1)), served.load(root(2))
    for wrong in ((1,), (1,) * (BATCH_SIZE_BUCKETS + 1), (*(0,) * (BATCH_SIZE_BUCKETS - 1), -1)):
        with pytest.raises(PlaneError, match="slow_ns"):
            served.plane.publish(RouteTable((split(one, two, 0.5, slow_ns=wrong),)))
