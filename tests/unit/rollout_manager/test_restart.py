"""After a restart the stable bundle answers everybody; what was under way waits, or is not trusted any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kedge_testing.house import ANN, QUICK, House

from kedge.audit.doors import Doors
from kedge.audit.errors import SignatureError
from kedge.audit.gate import BundleRefusedError
from kedge.errors import ModelLoadError
from kedge.plane.contract import Arm
from kedge.plane.portable.plane import PortablePlane
from kedge.rollout.states import IllegalCommandError, State

if TYPE_CHECKING:
    from kedge.audit.doors import Named


@pytest.mark.parametrize("strategy", ["canary", "shadow"])
def test_a_clean_restart_pauses_what_was_under_way(house: House, strategy: str) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", strategy=strategy)
    held = house.rollouts.bundles()[house.bundles["2.0.0"]].state
    house.close()
    house.open()
    state = house.status()
    assert state.rollout is not None
    assert (state.rollout.state, state.rollout.held, state.rollout.share) == (State.PAUSED, held, 0.0)
    (route,) = house.rollouts.table().routes
    assert (house.arms(), route.shadow) == ([("1.0.0", Arm.LIVE)], None)
    epoch = state.epoch
    state = house.rollouts.resume("flights", by=ANN)
    assert state.rollout is not None
    assert (state.rollout.state, state.epoch) == (held, epoch + 1)
    (route,) = house.rollouts.table().routes
    assert house.arms() == [("2.0.0", Arm.CANARY), ("1.0.0", Arm.CONTROL)] or route.shadow is not None
    assert house.verify().ok


def test_a_candidate_that_was_loaded_when_the_server_died_is_quarantined(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    house.crash()
    house.open()
    assert house.arms() == [("1.0.0", Arm.LIVE)]
    assert [str(item) for item in house.status().quarantined] == ["flights 2.0.0"]
    rollout = house.status().rollout
    assert rollout is not None
    assert rollout.share == 0.0, "it answers nobody"
    last = house.records()[-1]
    assert (last.action, last.previous_state, last.next_state) == ("bundle.quarantined", "CANARY", "QUARANTINED")
    assert [notice.kind for notice in house.notices] == ["quarantined"]
    with pytest.raises(IllegalCommandError, match="is QUARANTINED"):
        house.deploy("2.0.0")


def test_a_bundle_that_kills_the_process_while_it_loads_is_not_loaded_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0")
    with monkeypatch.context() as dying:
        dying.setattr(house.plane, "load", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            house.deploy("2.0.0")
    house.crash()
    house.open()
    assert house.arms() == [("1.0.0", Arm.LIVE)]
    assert [str(item) for item in house.status().quarantined] == ["flights 2.0.0"]


def test_a_bundle_that_does_not_load_is_set_aside(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0")
    with monkeypatch.context() as broken:
        broken.setattr(house.plane, "load", lambda *_: (_ for _ in ()).throw(ModelLoadError("golden rows differ")))
        with pytest.raises(ModelLoadError):
            house.deploy("2.0.0")
    item = house.rollouts.bundles()[house.bundles["2.0.0"]]
    assert (item.state, item.reason) == (State.ABORTED, "it does not load: golden rows differ")
    house.deploy("2.0.0", strategy="swap")


def test_a_start_that_fails_does_not_make_a_crash_undone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    house.crash()
    with monkeypatch.context() as broken:
        broken.setattr(PortablePlane, "load", lambda *_: (_ for _ in ()).throw(ModelLoadError("no memory")))
        with pytest.raises(ModelLoadError):
            house.open()
        house.rollouts.close()
    house.open()
    assert [str(item) for item in house.status().quarantined] == ["flights 2.0.0"]


def test_a_live_bundle_outlives_a_crash_with_its_last_good_one(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.crash()
    house.open()
    state = house.status()
    assert (str(state.live), str(state.last_good)) == ("flights 2.0.0", "flights 1.0.0")
    assert str(house.rollouts.rollback("flights", by=ANN).live) == "flights 1.0.0"


def test_evidence_outlives_a_clean_restart(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    desk = house.rollouts._desk
    known = desk.gatherings["flights"]
    known._open[-1].counted.evidence[0].words[0] = 77
    known.look = lambda _: None  # type: ignore[method-assign] - the plane has counted nothing
    house.close()
    house.open()
    state = house.rollouts.resume("flights", by=ANN)
    assert state.rollout is not None
    assert state.rollout.units == (77, 0)


def test_the_time_a_server_was_down_is_no_time_on_trial(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    house.now += 5
    house.close()
    house.open()
    house.now += 3600
    house.rollouts.resume("flights", by=ANN)
    house.now += 9
    house.rollouts.tick()
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.CANARY
    house.now += 2
    house.rollouts.tick()
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.BAKING


@pytest.mark.parametrize("end", ["close", "crash"])
def test_a_page_that_could_not_be_written_is_told_again_by_the_next_start(house: House, end: str) -> None:
    """On a full disk the record of a rollback may find room, and its page none before the server ends."""
    house.live("1.0.0")
    house.deploy("2.0.0")
    house.rollouts.rollback("flights", by=ANN, reason="it is late")
    house.notices.clear()
    getattr(house, end)()
    house.open()
    ((kind, bundle, words),) = [(one.kind, str(one.bundle), one.words) for one in house.notices]
    assert (kind, bundle) == ("quarantined", "flights 2.0.0")
    assert words == "rolled back by ann: it is late"


def test_a_live_bundle_that_the_policy_refuses_leaves_the_other_models_served(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0", "2.0.0", "other")
    expired = house.bundles["2.0.0"]

    def check(_: Doors, bundle: Named, live: Named | None = None) -> None:
        if bundle.id == expired:
            raise BundleRefusedError(f"{bundle.name} {bundle.version}: key 0123 expired on 2026-01-01T00:00:00Z")

    house.close()
    monkeypatch.setattr(Doors, "check", check)
    house.open()
    assert [live.bundle.name for live in house.rollouts.live()] == ["other"]
    assert [route.model for route in house.rollouts.table().routes] == ["other"]
    assert str(house.status().live) == "flights 2.0.0", "live, and not served"
    (said,) = house.refused
    assert "flights 2.0.0 is live and not served" in said
    assert "key 0123 expired" in said
    assert expired in said
    assert "--policy" in said
    with pytest.raises(IllegalCommandError, match="deploy it with strategy 'swap'"):
        house.deploy("3.0.0", strategy="canary")
    house.rollouts.tick()
    state = house.rollouts.rollback("flights", by=ANN)
    assert str(state.live) == "flights 1.0.0"
    assert [live.bundle.name for live in house.rollouts.live()] == ["flights", "other"]
    house.deploy("3.0.0", strategy="swap")


def test_where_the_policy_refuses_all_that_is_live_nothing_is_served(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0")
    house.close()
    monkeypatch.setattr(Doors, "check", lambda *_: (_ for _ in ()).throw(BundleRefusedError("key 0123 expired")))
    with pytest.raises(SignatureError, match=r"flights 1\.0\.0 is live and not served: key 0123 expired"):
        house.open()
