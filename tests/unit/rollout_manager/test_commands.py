"""What people may ask for: what it does, what it records, and what is refused with what words."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from kedge_testing.house import ANN, BOB, QUICK

from kedge.bundle.store import BundleNotFoundError
from kedge.errors import ModelLoadError
from kedge.plane.contract import Arm
from kedge.rollout.answers import ChangedError, KeyReusedError
from kedge.rollout.live import NotLiveError
from kedge.rollout.states import Command, IllegalCommandError, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_testing.house import House

    from kedge.plane.contract import Handle
    from kedge.rollout.values import ModelState


def test_a_swap_keeps_the_old_bundle_warm_and_reachable_by_version(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    state = house.status()
    assert (str(state.live), str(state.last_good), state.epoch) == ("flights 2.0.0", "flights 1.0.0", 2)
    (route,) = house.rollouts.table().routes
    assert [(arm.handle.version, arm.arm, arm.share) for arm in route.arms] == [("2.0.0", Arm.LIVE, 1.0)]
    assert [handle.version for handle in route.pinned] == ["1.0.0"]
    assert house.rollouts.get("flights").bundle.version == "2.0.0"
    assert house.rollouts.bundles()[house.bundles["1.0.0"]].state is State.SUPERSEDED


def test_every_transition_is_a_record_with_its_states_epoch_and_policy(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK, reason="better in June")
    records = house.records()[-4:]
    assert [(r.action, r.previous_state, r.next_state) for r in records] == [
        ("rollout.deployed", None, "RECEIVED"),
        ("rollout.verified", "RECEIVED", "VERIFIED"),
        ("rollout.warm", "VERIFIED", "WARM"),
        ("rollout.started", "WARM", "CANARY"),
    ]
    state = house.status()
    assert state.rollout is not None
    assert {(r.model, r.bundle, r.policy) for r in records} == {
        ("flights", house.bundles["2.0.0"], state.rollout.plan_digest)
    }
    assert (records[0].rationale, records[0].actor, records[-1].epoch) == ("better in June", ANN, 2)
    assert [(e.action, e.next, e.epoch) for e in house.rollouts.events()][-1] == ("rollout.started", "CANARY", 2)
    assert house.verify().ok


def test_a_rollback_goes_to_the_last_good_bundle_and_quarantines_the_other(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    state = house.rollouts.rollback("flights", by=BOB, reason="it is late")
    assert (str(state.live), state.last_good, state.epoch) == ("flights 1.0.0", None, 3)
    assert [str(item) for item in state.quarantined] == ["flights 2.0.0"]
    assert house.actions()[-4:] == [
        "rollout.rollback_decided", "rollout.rolled_back", "bundle.quarantined", "bundle.restored"
    ]  # fmt: skip
    decided = house.records()[-4]
    assert decided.rationale == "rolled back by bob: it is late"
    assert decided.details["publish_ns"] > 0
    timings = house.rollouts.timings()
    assert timings.publish.cumulative()[0][-1] >= 3, "two deployments and a rollback"
    assert timings.load.cumulative()[0][-1] == 2, "what it went back to was loaded still"
    assert [(n.kind, str(n.bundle)) for n in house.notices] == [("rolled back", "flights 2.0.0")]
    with pytest.raises(IllegalCommandError, match="is QUARANTINED, where 'deploy' does not fit; legal now") as shut:
        house.deploy("2.0.0")
    assert str(shut.value).endswith("kedge quarantine clear flights-2.0.0 --reason TEXT")
    with pytest.raises(IllegalCommandError, match="no bundle that was live before it is left"):
        house.rollouts.rollback("flights", by=ANN)
    assert state.rollout is not None
    assert state.rollout.decision == "rolled back by bob: it is late"
    cleared = house.rollouts.clear_quarantine(house.bundles["2.0.0"], by=ANN, reason="it was the network")
    assert cleared.state is State.ABORTED
    assert house.status().legal == (Command.DEPLOY, Command.ROLLBACK)
    with pytest.raises(
        IllegalCommandError, match=r"no bundle that was live before it is left; .* with --to flights-2\.0\.0$"
    ):
        house.rollouts.rollback("flights", by=ANN)
    with pytest.raises(IllegalCommandError, match=r"flights 2\.0\.0 is ABORTED, not QUARANTINED"):
        house.rollouts.clear_quarantine(house.bundles["2.0.0"], by=ANN, reason="again")
    state = house.rollouts.rollback("flights", to=house.bundles["2.0.0"], by=ANN, reason="the first was worse")
    assert state.rollout is not None
    assert state.rollout.decision == "flights 1.0.0 was rolled back"
    house.rollouts.clear_quarantine(house.bundles["1.0.0"], by=ANN, reason="mended")
    house.deploy("1.0.0", strategy="swap")


def test_a_first_bundle_has_nothing_to_be_rolled_back_to(house: House) -> None:
    house.live("1.0.0")
    assert house.status().legal == (Command.DEPLOY,)
    with pytest.raises(IllegalCommandError, match=r"it is LIVE, no rollout is under way; legal now: deploy$"):
        house.rollouts.pause("flights", by=ANN)
    with pytest.raises(IllegalCommandError, match=r"^flights 1\.0\.0 is live already; legal now: deploy, of another"):
        house.deploy("1.0.0")


def test_who_rolls_back_twice_gets_what_was_live_before_that(house: House) -> None:
    house.live("1.0.0", "2.0.0", "3.0.0")
    house.rollouts.tick()
    house.rollouts.rollback("flights", by=ANN)
    state = house.rollouts.rollback("flights", by=ANN, reason="that one too")
    assert (str(state.live), state.last_good) == ("flights 1.0.0", None)
    assert {str(item) for item in state.quarantined} == {"flights 2.0.0", "flights 3.0.0"}
    with pytest.raises(IllegalCommandError, match="no bundle that was live before it is left; legal now: deploy"):
        house.rollouts.rollback("flights", by=ANN)


def test_a_rollback_can_go_to_an_older_bundle_of_the_store(house: House) -> None:
    house.live("1.0.0", "2.0.0", "3.0.0")
    state = house.rollouts.rollback("flights", to=house.bundles["1.0.0"], by=ANN)
    assert str(state.live) == "flights 1.0.0"
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.SUPERSEDED
    with pytest.raises(IllegalCommandError, match="is live already"):
        house.rollouts.rollback("flights", to=house.bundles["1.0.0"], by=ANN)
    with pytest.raises(IllegalCommandError, match="it is QUARANTINED; a rollback goes to"):
        house.rollouts.rollback("flights", to=house.bundles["3.0.0"], by=ANN)
    never = house.add("4.0.0")
    with pytest.raises(IllegalCommandError, match="it was never deployed here"):
        house.rollouts.rollback("flights", to=never, by=ANN)
    other = house.add("other")
    with pytest.raises(IllegalCommandError, match="is of model 'other'"):
        house.rollouts.rollback("flights", to=other, by=ANN)


def test_a_model_of_which_nothing_is_live_cannot_be_rolled_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(house.plane, "load", lambda *_: (_ for _ in ()).throw(ModelLoadError("it does not load")))
        with pytest.raises(ModelLoadError):
            house.deploy("1.0.0")
    for to in (None, house.bundles["1.0.0"]):
        with pytest.raises(IllegalCommandError, match="no bundle of it is live; legal now: deploy"):
            house.rollouts.rollback("flights", to=to, by=ANN)


def test_a_canary_goes_step_by_step_to_live_when_told(house: House) -> None:
    house.live("1.0.0")
    state = house.deploy("2.0.0")
    seen = []
    while state.rollout is not None and not state.rollout.over:
        seen.append((state.rollout.state.value, state.rollout.step, round(state.rollout.share, 2)))
        state = house.rollouts.promote("flights", by=ANN)
    assert seen == [("CANARY", 0, 0.05), ("CANARY", 1, 0.25), ("CANARY", 2, 0.5), ("BAKING", 3, 0.95)]
    assert (str(state.live), str(state.last_good)) == ("flights 2.0.0", "flights 1.0.0")
    with pytest.raises(IllegalCommandError, match="LIVE, no rollout is under way; legal now: deploy, rollback"):
        house.rollouts.promote("flights", by=ANN)


def test_the_arms_of_a_canary_come_in_the_order_that_keeps_keys_where_they_are(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    (first,) = house.rollouts.table().routes
    assert [arm.arm for arm in first.arms] == [Arm.CANARY, Arm.CONTROL]
    assert len(first.salt) == 16
    house.rollouts.promote("flights", by=ANN)
    (second,) = house.rollouts.table().routes
    assert second.salt == first.salt
    house.rollouts.abort("flights", by=ANN)
    house.deploy("2.0.0")
    (third,) = house.rollouts.table().routes
    assert third.salt != first.salt


def test_a_pause_leaves_traffic_as_it_is(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    before = house.rollouts.table()
    state = house.rollouts.pause("flights", by=ANN, reason="lunch")
    assert state.rollout is not None
    assert (state.rollout.state, state.rollout.held, state.rollout.paused_by) == (State.PAUSED, State.CANARY, ANN)
    assert state.legal == (Command.PROMOTE, Command.RESUME, Command.ABORT, Command.ROLLBACK)
    with pytest.raises(
        IllegalCommandError, match="PAUSED, where 'pause' does not fit; legal now: promote, resume, abort"
    ):
        house.rollouts.pause("flights", by=ANN)
    house.rollouts.tick()
    paused = house.status().rollout
    assert paused is not None
    assert paused.decision == "paused by ann: lunch"
    state = house.rollouts.resume("flights", by=ANN)
    assert state.rollout is not None
    assert state.rollout.state is State.CANARY
    assert house.rollouts.table() == before


def test_a_rollback_of_a_canary_leaves_the_live_bundle_alone(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    state = house.rollouts.rollback("flights", by=ANN)
    assert str(state.live) == "flights 1.0.0"
    assert house.actions()[-3:] == ["rollout.rollback_decided", "rollout.rolled_back", "bundle.quarantined"]
    (route,) = house.rollouts.table().routes
    assert [(arm.handle.version, arm.arm) for arm in route.arms] == [("1.0.0", Arm.LIVE)]


def test_an_aborted_candidate_is_unloaded_and_may_come_again(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    house.rollouts.abort("flights", by=ANN)
    house.rollouts.delete(house.bundles["2.0.0"], by=ANN)
    assert house.forgotten == [house.bundles["2.0.0"]]
    house.deploy("2.0.0", strategy="swap")


def test_one_rollout_of_a_model_at_a_time_and_models_side_by_side(house: House) -> None:
    house.live("1.0.0", "other")
    house.deploy("2.0.0")
    with pytest.raises(
        IllegalCommandError,
        match=r"deploy flights 3.0.0: flights 2.0.0 is under way, CANARY; legal now: promote, pause, abort, rollback",
    ):
        house.deploy("3.0.0")
    assert [state.model for state in house.rollouts.status()] == ["flights", "other"]
    house.rollouts.promote("flights", by=ANN)
    assert house.rollouts.get("other").epoch == 1


def test_a_canary_needs_something_to_be_compared_with(house: House) -> None:
    with pytest.raises(IllegalCommandError, match=r"no bundle of model 'flights' is live.*with strategy 'swap'"):
        house.deploy("1.0.0", strategy="canary")
    with pytest.raises(IllegalCommandError, match="strategy 'swap' was asked for, and the plan says 'canary'"):
        house.deploy("1.0.0", strategy="swap", plan=QUICK)
    with pytest.raises(NotLiveError, match="no model 'flights' is known here; known: none"):
        house.rollouts.promote("flights", by=ANN)
    assert house.rollouts.status() == ()
    house.deploy("1.0.0")
    assert str(house.status().live) == "flights 1.0.0"


def test_the_same_key_does_it_once_and_answers_twice(house: House) -> None:
    house.live("1.0.0")
    first = house.deploy("2.0.0", key="k-1")
    house.rollouts.promote("flights", by=ANN, key="k-2")
    size = len(house.records())
    again = house.deploy("2.0.0", key="k-1")
    assert again == first
    assert len(house.records()) == size
    with pytest.raises(KeyReusedError, match="idempotency key 'k-1' was used for another command"):
        house.rollouts.promote("flights", by=ANN, key="k-1")
    back = house.rollouts.rollback("flights", by=ANN, key="k-3")
    house.close()
    house.open()
    assert house.rollouts.rollback("flights", by=BOB, key="k-3") == back


def test_what_is_needed_cannot_be_deleted(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.deploy("3.0.0")
    for version, why in (("1.0.0", "last good one"), ("2.0.0", "live for 'flights'"), ("3.0.0", "being rolled out")):
        with pytest.raises(IllegalCommandError, match=why):
            house.rollouts.delete(house.bundles[version], by=ANN)
    with pytest.raises(BundleNotFoundError):
        house.rollouts.delete("ab" * 32, by=ANN)
    spare = house.add("4.0.0")
    house.rollouts.delete(spare, by=ANN, reason="a mistake", key="d")
    house.rollouts.delete(spare, by=ANN, reason="a mistake", key="d")
    assert house.actions().count("bundle.deleted") == 1


def test_a_quarantine_outlives_its_bundle(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.rollouts.rollback("flights", by=ANN)
    house.rollouts.delete(house.bundles["2.0.0"], by=ANN)
    with pytest.raises(IllegalCommandError, match="is QUARANTINED"):
        house.deploy("2.0.0")


def test_only_the_last_few_that_were_live_stay_in_the_store(make_house: Callable[..., House]) -> None:
    house = make_house(retain=1)
    for version in ("1.0.0", "2.0.0", "3.0.0", "4.0.0"):
        house.now += 1
        house.live(version)
    house.rollouts.tick()
    assert [entry.version for entry in house.store.list()] == ["2.0.0", "3.0.0", "4.0.0"]
    assert house.forgotten == [house.bundles["1.0.0"]]
    assert house.actions()[-1] == "bundle.deleted"


def test_two_operators_never_make_a_state_neither_asked_for(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    begin = threading.Barrier(4)
    said: list[str] = []

    def operate(name: str) -> None:
        begin.wait()
        try:
            getattr(house.rollouts, name)("flights", by=ANN)
            said.append(name)
        except IllegalCommandError as error:
            assert "legal now" in str(error)  # noqa: PT017 - what is refused is refused in these words

    threads = [threading.Thread(target=operate, args=(name,)) for name in ("promote", "abort", "rollback", "pause")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Whatever came first, the log is one path through the table, and ends where the state is.
    records = [r for r in house.records() if r.bundle == house.bundles["2.0.0"]]
    for earlier, later in itertools.pairwise(records):
        assert later.previous_state == earlier.next_state
    item = house.rollouts.bundles()[house.bundles["2.0.0"]]
    assert records[-1].next_state == item.state
    assert (
        item.state
        is {"abort": State.ABORTED, "rollback": State.QUARANTINED}[
            next(name for name in said if name in {"abort", "rollback"})
        ]
    )
    assert sum(name in {"abort", "rollback"} for name in said) == 1


def test_of_two_who_saw_the_same_one_decides(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.deploy("3.0.0")
    seen = house.status().revision
    begin = threading.Barrier(2)
    refused: list[str] = []

    def operate(name: str) -> None:
        begin.wait()
        try:
            getattr(house.rollouts, name)("flights", by=ANN, expected=seen)
        except ChangedError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=operate, args=(name,)) for name in ("abort", "rollback")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert "'flights' has changed since it was looked at" in refused[0]
    assert str(house.status().live) == "flights 2.0.0", "nobody asked for the live bundle to go"


def test_two_promotions_on_one_look_are_one_step(house: House) -> None:
    house.live("1.0.0")
    seen = house.deploy("2.0.0").revision
    state = house.rollouts.promote("flights", by=ANN, expected=seen)
    with pytest.raises(ChangedError):
        house.rollouts.promote("flights", by=BOB, expected=seen)
    assert state == house.status()


def test_labels_roll_a_live_bundle_back_where_its_plan_lets_them(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    second = house.bundles["2.0.0"]
    house.deploy("3.0.0", plan=QUICK)
    assert not house.rollouts.distrust(second, "9 of 10 are wrong", {}), "a rollout under way has a guard of its own"
    house.rollouts.abort("flights", by=ANN)
    assert not house.rollouts.distrust(house.bundles["1.0.0"], "9 of 10 are wrong", {}), "it is not live"
    house.live("3.0.0")
    assert house.rollouts.distrust(house.bundles["3.0.0"], "9 of 10 are wrong", {"wrong": "9", "labelled": "10"})
    assert str(house.status().live) == "flights 2.0.0"
    decided = next(r for r in house.records() if r.action == "rollout.rollback_decided")
    assert (decided.rationale, decided.details["wrong"], decided.actor.name) == ("9 of 10 are wrong", "9", "kedge")
    assert not house.rollouts.distrust(second, "9 of 10 are wrong", {}), "nothing is warm to go back to"
    house.deploy("4.0.0", plan={"strategy": "swap", "guards": {"outcomes": {"action": "hold"}}})
    assert not house.rollouts.distrust(house.bundles["4.0.0"], "9 of 10 are wrong", {}), "its plan says no"
    house.deploy("1.0.0", plan=QUICK)
    house.rollouts.abort("flights", by=ANN)
    assert not house.rollouts.distrust(house.bundles["4.0.0"], "9 of 10 are wrong", {}), "another came and went since"


def test_whoever_waits_hears_of_events(house: House) -> None:
    known = house.rollouts.events()
    assert house.rollouts.wait(0, 0.0) == known == ()
    heard: list[str] = []
    waiting = threading.Thread(target=lambda: heard.extend(e.action for e in house.rollouts.wait(0, 30.0)))
    waiting.start()
    house.live("1.0.0")
    waiting.join()
    assert heard[0] == "rollout.deployed"
    assert [e.number for e in house.rollouts.events(2)] == [3, 4]


def test_a_deletion_that_comes_again_does_nothing_even_where_the_bundle_is_back(house: House) -> None:
    house.live("1.0.0")
    identity = house.add("4.0.0")
    house.rollouts.delete(identity, by=ANN, key="once")
    house.add("4.0.0")
    house.rollouts.delete(identity, by=ANN, key="once")
    assert [entry.version for entry in house.store.list()] == ["1.0.0", "4.0.0"]
    house.deploy("2.0.0", key="deploy")
    with pytest.raises(KeyReusedError):
        house.rollouts.delete(identity, by=ANN, key="deploy")


def test_a_rollback_that_comes_again_while_it_loads_is_answered_alike(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0", "2.0.0", "3.0.0")
    load, answers = house.plane.load, []

    def back() -> ModelState:
        return house.rollouts.rollback("flights", to=house.bundles["1.0.0"], by=ANN, key="back")

    def again(*given: Any) -> Handle:
        monkeypatch.setattr(house.plane, "load", load)
        answers.append(back())
        return load(*given)

    house.rollouts.tick()  # lets go of what is not needed
    monkeypatch.setattr(house.plane, "load", again)
    assert back() == answers[0]
    assert house.actions().count("bundle.restored") == 1
