"""Rollouts under real requests: what the evaluator and the watch do by themselves."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
from kedge_testing import flights
from kedge_testing.house import ANN, POISON, QUICK, House, native, portable
from kedge_testing.serving import eventually

from kedge.bundle.store import Store
from kedge.client import Client
from kedge.errors import PlaneError
from kedge.plane import limits
from kedge.plane.contract import Arm
from kedge.plane.select import available
from kedge.rollout import evaluating, faults, manager
from kedge.rollout.evaluating import LINES_SECONDS
from kedge.rollout.recompute import recompute
from kedge.rollout.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.bundle.contents import Bundle
    from kedge.plane.contract import Handle
    from kedge.rollout.reading import Baseline, Reading

    Ask = Callable[..., list[str]]


BOTH = pytest.mark.parametrize(
    "house",
    [
        portable,
        pytest.param(
            native,
            marks=pytest.mark.skipif("native" not in available(), reason="the native plane is not in this build"),
        ),
    ],
    indirect=True,
    ids=["portable", "native"],
)


@pytest.fixture
def ask(house: House) -> Iterator[Ask]:
    """Send requests of one row; returns the versions that answered."""
    with Client(house.plane.start("127.0.0.1:0")) as client:

        def send(count: int, distance: float = 500.0, temp: float = 40.0) -> list[str]:
            row = {
                "temp": np.array([[temp]], np.float32),
                "distance": np.array([[distance]], np.float32),
                "carrier": np.array([["UA"]], object),
            }
            return [client.infer("flights", row).model_version for _ in range(count)]

        yield send


def state_of(house: House, version: str) -> State:
    return house.rollouts.bundles()[house.bundles[version]].state


def test_a_canary_that_does_well_becomes_live_by_itself(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    assert set(ask(60)) == {"1.0.0", "2.0.0"}
    house.rollouts.tick()
    state = house.status()
    assert state.rollout is not None
    assert sum(state.rollout.units) == 60
    assert min(state.rollout.units) > 0
    assert "waits for 0s of 10s" in state.rollout.decision
    seen = []
    for _ in range(2):
        house.now += 11
        house.rollouts.tick()
        seen.append(state_of(house, "2.0.0"))
    assert seen == [State.BAKING, State.LIVE]
    assert set(ask(10)) == {"2.0.0"}
    assert str(house.status().last_good) == "flights 1.0.0"
    record = next(r for r in house.records() if r.next_state == "BAKING")
    assert record.actor.name == "kedge"
    assert {reading["guard"] for reading in record.details["readings"]} >= {"errors", "invalid", "sample_ratio"}
    assert house.verify().ok


@BOTH
def test_a_canary_that_does_harm_is_rolled_back_with_the_numbers_to_recompute_it(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    house.deploy("brittle", plan=QUICK)
    ask(80, distance=POISON)
    house.rollouts.tick()
    assert state_of(house, "brittle") is State.QUARANTINED
    assert set(ask(10)) == {"1.0.0"}
    decided = next(r for r in house.records() if r.action == "rollout.rollback_decided")
    assert decided.verdict is not None
    assert (decided.verdict.test, decided.verdict.decision) == ("invalid", "harm")
    numbers = next(r["numbers"] for r in decided.details["readings"] if r["guard"] == "invalid")
    proof = recompute(numbers)
    assert proof.log_e is not None
    assert decided.verdict.e_value == repr(math.exp(proof.log_e))
    assert "invalid outputs" in decided.rationale
    assert [notice.kind for notice in house.notices] == ["rolled back"]


@BOTH
def test_three_good_rows_that_come_out_bad_are_enough(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    house.deploy("brittle", plan=QUICK)
    ask(40, temp=float("nan"))
    house.rollouts.watch()
    assert state_of(house, "brittle") is State.CANARY

    def condemned() -> bool:
        ask(1, distance=POISON)
        house.rollouts.watch()
        return state_of(house, "brittle") is State.QUARANTINED

    eventually(condemned)
    decided = next(r for r in house.records() if r.action == "rollout.rollback_decided")
    assert decided.verdict is not None
    assert decided.verdict.test == "finite output"
    assert decided.verdict.n is not None
    assert decided.verdict.n >= faults.ROWS
    assert "flights 1.0.0 answers them with finite values" in decided.rationale


@BOTH
def test_rows_that_are_no_models_fault_leave_room_for_those_that_are(house: House, ask: Ask) -> None:
    house.live("1.0.0", "brittle")
    bundle = house.rollouts._desk.residents.bundle(house.bundles["brittle"])
    assert not faults.valid(bundle, {"distance": np.array([[-1e6]], np.float32)})
    handle = house.rollouts._desk.residents.handles[house.bundles["brittle"]]
    ask(2 * limits.SUSPECTS, distance=-1e6)
    eventually(lambda: len(house.plane.suspects(handle)) == limits.SUSPECTS)
    ask(2 * limits.SUSPECTS, distance=-1e6)
    for _ in range(3):
        house.rollouts.watch()
    assert state_of(house, "brittle") is State.LIVE

    def condemned() -> bool:
        ask(1, distance=POISON)
        house.rollouts.watch()
        return state_of(house, "brittle") is State.QUARANTINED

    eventually(condemned)


def test_a_live_bundle_goes_back_too_where_the_last_good_one_does_better(house: House, ask: Ask) -> None:
    house.live("1.0.0", "brittle")
    ask(5, distance=POISON)
    eventually(lambda: (house.rollouts.watch(), state_of(house, "brittle") is State.QUARANTINED)[1])
    assert set(ask(5, distance=POISON)) == {"1.0.0"}


def test_a_model_whose_faults_cannot_be_looked_at_protects_no_other(
    house: House, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "early")
    for version in ("1", "2"):
        archive = flights.bundle(tmp_path / version, "early", version)
        house.archives = {**house.archives, f"early {version}": store.add(archive).directory}
    house.live("early 1", "early 2", "1.0.0", "brittle")
    early = house.rollouts._desk.residents.handles[house.bundles["early 2"]]
    suspects = house.plane.suspects

    def broken(handle: Handle) -> object:
        if handle == early:
            raise ZeroDivisionError("in a judge")
        return suspects(handle)

    monkeypatch.setattr(house.plane, "suspects", broken)
    ask(5, distance=POISON)
    eventually(lambda: (house.rollouts.watch(), state_of(house, "brittle") is State.QUARANTINED)[1], 5.0)
    assert [record.message for record in caplog.records].count("hard faults are not acted on") == 1, "said once"


def test_rows_that_no_bundle_can_take_condemn_none(house: House, ask: Ask) -> None:
    house.live("brittle")
    handle = house.rollouts._desk.residents.handles[house.bundles["brittle"]]
    ask(5, distance=POISON)
    taken: list[object] = []
    eventually(lambda: (taken.extend(house.plane.suspects(handle)), len(taken) >= faults.ROWS)[1])
    ask(5, distance=POISON)
    house.rollouts.watch()
    assert state_of(house, "brittle") is State.LIVE, "nothing warm does better"


def test_a_row_is_judged_by_the_schema(house: House) -> None:
    house.live("1.0.0")
    bundle: Bundle = house.rollouts.get("flights").bundle
    limited = [
        feature.model_copy(update={"valid": feature.valid.model_copy(update={"min": 0.0, "max": 100.0})})
        if feature.name == "temp"
        else feature
        for feature in bundle.schema.features
    ]
    strict: Any = type("B", (), {"schema": bundle.schema.model_copy(update={"features": tuple(limited)})})

    def row(temp: float) -> dict[str, Any]:
        return {"temp": np.array([[temp]], np.float32), "carrier": np.array([["UA"]], object)}

    assert faults.valid(strict, row(50.0))
    assert not faults.valid(strict, row(101.0))
    assert not faults.valid(strict, row(-1.0))
    assert not faults.valid(strict, row(float("nan")))
    assert not faults.valid(strict, row(float("inf")))


def test_a_step_that_asks_for_a_person_tells_one_and_waits(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan={"steps": [QUICK["steps"][0] | {"approval": True}]})
    house.now += 11
    for _ in range(3):
        house.rollouts.tick()
    assert state_of(house, "2.0.0") is State.CANARY
    assert [notice.kind for notice in house.notices] == ["held"]
    assert "waiting for a person to say 'promote'" in house.notices[0].words
    house.rollouts.promote("flights", by=ANN)
    assert state_of(house, "2.0.0") is State.BAKING
    house.rollouts.pause("flights", by=ANN)
    house.rollouts.resume("flights", by=ANN)
    house.rollouts.abort("flights", by=ANN)
    assert [notice.kind for notice in house.notices] == ["held", "went on", "went on", "went on"]


def test_a_deadline_pauses_and_says_what_was_found(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan={"deadline": "1h"})
    house.now += 3601
    house.rollouts.tick()
    state = house.status()
    assert state.rollout is not None
    assert (state.rollout.state, state.rollout.held) == (State.PAUSED, State.CANARY)
    assert "the rollout's deadline of 1h has passed" in house.notices[0].words
    house.rollouts.resume("flights", by=ANN)
    house.rollouts.tick()
    assert state_of(house, "2.0.0") is State.CANARY, "deadlines count from there"


@pytest.mark.parametrize("jump", [86400.0, -86400.0], ids=["forward", "back"])
def test_a_clock_that_is_set_neither_ends_a_trial_nor_lengthens_it(house: House, jump: float) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK | {"deadline": "1h"})
    house.rollouts.tick()
    house.skew += jump
    house.now += 9
    house.rollouts.tick()
    assert state_of(house, "2.0.0") is State.CANARY
    house.now += 2
    house.rollouts.tick()
    assert state_of(house, "2.0.0") is State.BAKING


def test_an_evaluator_that_stops_holds_the_canary_and_tells_somebody(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    house.rollouts.tick()
    for seconds in (0, evaluating.DEAD_SECONDS - 1):
        house.now += seconds
        house.rollouts.watch()
        assert state_of(house, "2.0.0") is State.CANARY
    house.now += 1
    house.rollouts.watch()
    assert state_of(house, "2.0.0") is State.PAUSED
    assert [(n.kind, n.words[:24]) for n in house.notices] == [("held", evaluating.UNSEEN[:24])]


def test_a_rollout_that_cannot_be_evaluated_is_held_and_others_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.live("1.0.0", "other")
    house.deploy("2.0.0", plan=QUICK)
    monkeypatch.setattr(evaluating, "read", lambda *_, **__: (_ for _ in ()).throw(ZeroDivisionError("in a guard")))
    house.rollouts.watch()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            house.now += 5
            house.rollouts.tick()
            house.rollouts.watch()
    assert [record.message for record in caplog.records] == ["a rollout cannot be evaluated"], "said once"
    assert state_of(house, "2.0.0") is State.PAUSED


def test_a_paused_canary_that_no_guard_sees_is_told_of(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers as many requests as before the pause."""
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    house.rollouts.tick()
    house.rollouts.pause("flights", by=ANN)
    monkeypatch.setattr(evaluating, "read", lambda *_, **__: (_ for _ in ()).throw(ZeroDivisionError("in a guard")))
    for seconds in (1, evaluating.DEAD_SECONDS):
        assert house.notices == []
        house.now += seconds
        house.rollouts.tick()
        house.rollouts.watch()
    assert [(n.kind, n.words) for n in house.notices] == [("held", evaluating.UNSEEN)]
    house.close()
    house.notices.clear()
    house.open()
    house.rollouts.watch()
    house.now += 2 * evaluating.DEAD_SECONDS
    house.rollouts.watch()
    assert [n.words for n in house.notices if n.words == evaluating.UNSEEN] == [], "it has no traffic now"


def test_a_rollback_that_cannot_be_done_is_told_of_once(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0")
    house.deploy("brittle", plan=QUICK)
    ask(80, distance=POISON)

    def refuse(_: object) -> NoReturn:
        raise PlaneError("a shard does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(house.plane, "publish", refuse)
        for _ in range(3):
            house.rollouts.tick()
    assert state_of(house, "brittle") is State.CANARY
    assert [notice.kind for notice in house.notices] == ["held"]
    assert "cannot be done yet (a shard does not answer): " in house.notices[0].words
    house.rollouts.tick()
    assert state_of(house, "brittle") is State.QUARANTINED
    assert [notice.kind for notice in house.notices] == ["held", "rolled back"]


def test_an_evaluator_that_hangs_is_told_of_without_its_lock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    house.rollouts.tick()
    monkeypatch.setattr(manager, "PATIENCE", 0.01)
    held, done = threading.Event(), threading.Event()

    def hang() -> None:
        with house.rollouts._desk.lock:
            held.set()
            done.wait(30.0)

    hanging = threading.Thread(target=hang)
    hanging.start()
    held.wait(30.0)
    house.now += evaluating.DEAD_SECONDS
    house.rollouts.watch()
    done.set()
    hanging.join()
    assert [notice.kind for notice in house.notices] == ["held"]


@BOTH
def test_a_shadow_answers_nobody_and_is_compared(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", strategy="shadow")
    assert set(ask(30)) == {"1.0.0"}

    def compared() -> int:
        house.rollouts.tick()
        known = house.rollouts._desk.gatherings["flights"].shadow()
        return 0 if known is None else known.compared

    eventually(lambda: compared() == 30)
    state = house.status()
    assert state.rollout is not None
    readings = {reading.guard: reading for reading in state.rollout.readings}
    assert readings["disagreement"].n == 30
    house.rollouts.promote("flights", by=ANN)
    (route,) = house.rollouts.table().routes
    assert [arm.arm for arm in route.arms] == [Arm.CANARY, Arm.CONTROL]
    assert route.shadow is None


def test_what_is_slow_is_frozen_when_arms_are_first_compared(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    ask(150)
    house.deploy("2.0.0")
    (first,) = house.rollouts.table().routes
    assert first.slow_ns[0] > 0
    assert first.slow_ns[5] == 0
    ask(50)
    house.rollouts.promote("flights", by=ANN)
    (second,) = house.rollouts.table().routes
    assert second.slow_ns == first.slow_ns
    rollout = house.rollouts._desk.books.models["flights"].rollout
    assert rollout is not None
    assert rollout.baseline.blind == frozenset()
    assert rollout.baseline.together["slow"] >= 1


def test_a_control_that_had_no_traffic_is_frozen_at_a_later_step(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")

    def baseline() -> Baseline:
        rollout = house.rollouts._desk.books.models["flights"].rollout
        assert rollout is not None
        return rollout.baseline

    assert baseline().blind == {"slow"}
    ask(400)
    house.rollouts.promote("flights", by=ANN)
    assert baseline().blind == frozenset()


@BOTH
def test_lines_of_slow_runs_are_drawn_again_once_the_control_has_run_enough(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan={"steps": [{"share": 0.5, "units": 10**6, "min_seconds": 0}]})
    house.rollouts.tick()

    def reading() -> Reading:
        house.rollouts.tick()
        rollout = house.status().rollout
        assert rollout is not None
        return next(one for one in rollout.readings if one.guard == "slow")

    epoch = house.status().epoch
    ask(400)
    assert "cannot be seen" in reading().words
    assert house.status().epoch == epoch, "not at every look"
    house.now += LINES_SECONDS
    eventually(lambda: house.rollouts.tick() is None and house.status().epoch == epoch + 1)
    (route,) = house.rollouts.table().routes
    assert route.slow_ns[0] > 0
    (event,) = [one for one in house.rollouts.events() if one.action == "rollout.refrozen"]
    assert "100 % of rows stand in such, 0 % before" in event.words
    ask(40)
    eventually(lambda: int(reading().numbers["ran"]) > 0)
    assert reading().numbers["ran"] == reading().numbers["judged"]
    house.now += LINES_SECONDS
    ask(40)
    house.rollouts.tick()
    assert house.status().epoch == epoch + 1, "what is covered is left as it is"


@BOTH
def test_no_request_is_lost_while_operators_do_what_they_like(house: House, ask: Ask) -> None:
    house.live("1.0.0")
    ended, answered, trouble = threading.Event(), [0], []

    def load() -> None:
        try:
            while not ended.is_set():
                answered[0] += len(ask(5))
        except Exception as error:  # noqa: BLE001 - whatever a client would see
            trouble.append(error)

    asking = threading.Thread(target=load)
    asking.start()
    try:
        for _ in range(3):
            house.deploy("2.0.0", plan=QUICK)
            for command in ("pause", "resume", "promote", "rollback"):
                getattr(house.rollouts, command)("flights", by=ANN)
                house.rollouts.tick()
            house.rollouts.clear_quarantine(house.bundles["2.0.0"], by=ANN)
            house.deploy("2.0.0", strategy="swap")
            house.rollouts.rollback("flights", by=ANN)
            house.rollouts.clear_quarantine(house.bundles["2.0.0"], by=ANN)
    finally:
        ended.set()
        asking.join()
    assert trouble == []
    assert answered[0] > 0
