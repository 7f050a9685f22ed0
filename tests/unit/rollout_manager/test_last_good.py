"""The last good bundle on trial again: what a rollback goes back to then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
from kedge_testing.house import ANN, QUICK, House

from kedge.rollout import rollback, states
from kedge.rollout.states import Event, State

if TYPE_CHECKING:
    from kedge.rollout.values import ModelState


def live(state: ModelState) -> str:
    return "" if state.live is None else state.live.version


def test_a_last_good_bundle_that_failed_its_trial_is_none(house: House) -> None:
    """1.0.0 was live before 2.0.0, was tried again, and was condemned: nothing goes back to it."""
    house.live("3.0.0", "1.0.0", "2.0.0")
    house.deploy("1.0.0", plan=QUICK)
    house.rollouts.rollback("flights", by=ANN)
    assert house.status().last_good is None
    (route,) = house.rollouts.table().routes
    assert route.pinned == (), "what is quarantined cannot be reached by its version"
    with pytest.raises(states.IllegalCommandError, match="is warm"):
        rollback.automatic(house.rollouts._desk, "flights", Event.FAULT, "non-finite output")
    after = house.rollouts.rollback("flights", by=ANN)
    assert live(after) == "3.0.0"
    assert house.rollouts.bundles()[house.bundles["1.0.0"]].state is State.QUARANTINED


def test_a_last_good_bundle_that_was_loaded_when_the_server_died_is_none(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.deploy("1.0.0", plan=QUICK)
    house.crash()
    house.open()
    assert house.rollouts.bundles()[house.bundles["1.0.0"]].state is State.QUARANTINED
    assert house.status().last_good is None
    with pytest.raises(states.IllegalCommandError, match="is left"):
        house.rollouts.rollback("flights", by=ANN)


def test_a_rollback_need_not_wait_until_the_last_good_bundle_is_ready_for_its_trial(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2.0.0 goes wrong while 1.0.0, warm as its last good one, is prepared for a canary."""
    house.live("1.0.0", "2.0.0")
    store = house.rollouts._desk.store
    verify = store.verify_stored

    def meanwhile(identity: str) -> object:
        rollback.automatic(house.rollouts._desk, "flights", Event.FAULT, "non-finite output")
        return verify(identity)

    monkeypatch.setattr(store, "verify_stored", meanwhile)
    with pytest.raises(states.IllegalCommandError, match="set aside while it was being prepared"):
        house.deploy("1.0.0", plan=QUICK)
    assert live(house.status()) == "1.0.0"
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.QUARANTINED
    assert house.verify().ok


def test_that_rollback_outlives_a_kill_before_its_record(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0", "2.0.0")
    store, desk = house.rollouts._desk.store, house.rollouts._desk

    class KilledError(Exception):
        pass

    def meanwhile(_: str) -> NoReturn:
        with monkeypatch.context() as full:
            full.setattr(desk.ledger, "transaction", lambda: (_ for _ in ()).throw(OSError("no space left on device")))
            rollback.automatic(desk, "flights", Event.FAULT, "non-finite output")
        raise KilledError

    monkeypatch.setattr(store, "verify_stored", meanwhile)
    with pytest.raises(KilledError):
        house.deploy("1.0.0", plan=QUICK)
    house.crash()
    house.open()
    assert live(house.status()) == "1.0.0"
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.QUARANTINED
    assert house.status().legal == (states.Command.DEPLOY,)
    assert house.verify().ok
