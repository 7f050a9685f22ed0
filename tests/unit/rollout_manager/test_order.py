"""What comes first: record and publish together, a rollback before its record; and what a failure of either leaves."""

from __future__ import annotations

import contextlib
import itertools
import logging

import pytest
from kedge_testing.house import ANN, QUICK, House

from kedge.audit.errors import AuditError
from kedge.audit.record import Draft
from kedge.errors import PlaneError
from kedge.plane.contract import Arm, RouteTable
from kedge.rollout.answers import KeyReusedError
from kedge.rollout.desk import UnrecordedError
from kedge.rollout.states import State


def full(house: House, *, full: bool) -> None:
    """Let the database grow no further, or again."""
    database = house.rollouts._desk.ledger._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages if full else 1_000_000}")


def fill(house: House) -> None:
    """Use up the free room in the pages there are."""
    full(house, full=True)
    log = house.rollouts._desk.ledger.log
    assert log is not None
    draft = Draft(action="test.fill", actor=ANN, rationale="x" * 1500)
    with contextlib.suppress(AuditError):
        for _ in itertools.count():
            log.append(draft)
    with pytest.raises(AuditError, match="full"):
        log.append(draft)


def served(house: House) -> list[tuple[str, Arm]]:
    """What the plane has in force."""
    (route,) = house.plane._pipeline.table.source.routes
    return [(arm.handle.version, arm.arm) for arm in route.arms]


def test_a_publish_that_is_refused_leaves_no_record(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    before, size = house.status(), len(house.records())
    with monkeypatch.context() as broken:
        broken.setattr(house.plane, "publish", lambda _: (_ for _ in ()).throw(PlaneError("refused")))
        with pytest.raises(PlaneError, match="refused"):
            house.rollouts.abort("flights", by=ANN)
    assert (house.status(), len(house.records())) == (before, size)
    house.rollouts.abort("flights", by=ANN)


def test_a_record_that_is_not_taken_takes_the_publish_back(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    before = house.status()
    fill(house)
    with pytest.raises(AuditError, match="the audit log did not take a record: database or disk is full"):
        house.rollouts.abort("flights", by=ANN)
    after = house.status()
    assert after.rollout == before.rollout
    assert served(house) == [("2.0.0", Arm.CANARY), ("1.0.0", Arm.CONTROL)]
    assert house.rollouts.table() == house.plane._pipeline.table.source
    full(house, full=False)
    assert house.rollouts.abort("flights", by=ANN).epoch > after.epoch
    assert house.verify().ok


def test_a_rollback_stands_without_its_record_and_nothing_else_moves_until_it_has_it(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    fill(house)
    state = house.rollouts.rollback("flights", by=ANN, reason="bad", key="once")
    assert served(house) == [("1.0.0", Arm.LIVE)]
    assert "full" in state.unrecorded
    assert [notice.kind for notice in house.notices] == ["rolled back"], "somebody is told all the same"
    for refused in (
        lambda: house.deploy("3.0.0", strategy="swap"),
        lambda: house.rollouts.clear_quarantine(house.bundles["2.0.0"], by=ANN),
        lambda: house.rollouts.delete(house.add("4.0.0"), by=ANN),
    ):
        with pytest.raises(
            UnrecordedError, match=r"flights 2.0.0 is QUARANTINED, and that is not in the audit log yet"
        ):
            refused()
    house.rollouts.tick()
    assert house.rollouts.rollback("flights", by=ANN, key="once").live == state.live
    full(house, full=False)
    house.rollouts.tick()
    assert house.status().unrecorded == ""
    assert house.actions()[-3:] == ["rollout.rollback_decided", "rollout.rolled_back", "bundle.quarantined"]
    house.deploy("3.0.0", strategy="swap")
    assert house.verify().ok


def test_what_evidence_asks_for_is_tried_until_it_can_be_recorded(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    fill(house)
    house.now += 11
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            house.rollouts.tick()
            house.rollouts.watch()
    assert len(caplog.records) == 1, "said once"
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.CANARY
    full(house, full=False)
    house.rollouts.tick()
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.BAKING


def test_two_rollbacks_without_records_are_recorded_in_their_order(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.deploy("3.0.0", plan=QUICK)
    fill(house)
    house.rollouts.rollback("flights", by=ANN)
    house.rollouts.rollback("flights", by=ANN)
    assert served(house) == [("1.0.0", Arm.LIVE)]
    full(house, full=False)
    house.rollouts.tick()
    quarantined = [r.bundle for r in house.records() if r.action == "bundle.quarantined"]
    assert quarantined == [house.bundles["3.0.0"], house.bundles["2.0.0"]]
    house.close()
    house.open()
    assert str(house.status().live) == "flights 1.0.0"


def test_a_key_of_an_unrecorded_rollback_is_refused_for_another_command(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.deploy("3.0.0", plan=QUICK)
    fill(house)
    house.rollouts.rollback("flights", by=ANN, key="once")
    with pytest.raises(KeyReusedError, match="'once' was used for another command"):
        house.rollouts.rollback("flights", to=house.bundles["1.0.0"], by=ANN, key="once")
    full(house, full=False)
    house.rollouts.tick()
    assert house.status().unrecorded == ""
    assert str(house.status().live) == "flights 2.0.0"


def test_an_end_with_an_unrecorded_rollback_is_not_clean(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    fill(house)
    house.rollouts.rollback("flights", by=ANN)
    desk = house.rollouts._desk
    monkeypatch.setattr(desk, "retry", lambda: full(house, full=False))  # room comes too late for the record
    house.close()
    house.open()
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.QUARANTINED


def test_a_rollback_is_published_before_it_is_recorded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0", "2.0.0")
    known: list[int] = []
    publish = house.plane.publish

    def watched(table: RouteTable) -> object:
        known.append(len(house.records()))
        return publish(table)

    monkeypatch.setattr(house.plane, "publish", watched)
    size = len(house.records())
    house.rollouts.rollback("flights", by=ANN)
    assert known == [size]
    assert house.rollouts.bundles()[house.bundles["2.0.0"]].state is State.QUARANTINED
