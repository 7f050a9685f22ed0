"""Files of a bundle and the record of them come and go together, wherever the server is killed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from kedge_testing.house import ANN, House

from kedge.audit.errors import AuditError
from kedge.audit.record import Draft
from kedge.bundle.contents import Bundle
from kedge.bundle.store import BundleNotFoundError
from kedge.rollout.manager import Rollouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.audit.log import Transaction


def test_files_are_removed_only_once_the_record_is_durable(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0")
    identity = house.add("4.0.0")
    ledger = house.rollouts._desk.ledger

    @contextlib.contextmanager
    def full() -> Iterator[Transaction]:
        with original() as work:
            yield work
            raise AuditError("full")

    original = ledger.transaction
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "transaction", full)
        with pytest.raises(AuditError, match="full"):
            house.rollouts.delete(identity, by=ANN)
    assert house.store.get(identity).version == "4.0.0"
    with monkeypatch.context() as killed:
        killed.setattr(house.store, "delete", lambda _: (_ for _ in ()).throw(OSError("killed here")))
        house.rollouts.delete(identity, by=ANN)
    assert house.actions()[-1] == "bundle.deleted"
    house.crash()
    house.open()
    with pytest.raises(BundleNotFoundError):
        house.store.get(identity)
    assert house.rollouts._desk.ledger.leaving() == ()


def test_what_came_in_without_a_record_is_gone_at_the_next_start(house: House) -> None:
    house.live("1.0.0")
    house.add("1.0.0")
    house.rollouts.expect(house.store.get(house.bundles["1.0.0"]))  # is there already
    coming = Bundle.read(house.archives["2.0.0"])
    house.rollouts.expect(coming)
    house.add("2.0.0")
    house.rollouts.received(Draft(action="bundle.uploaded", actor=ANN, model="flights", bundle=coming.id))
    house.rollouts.expect(Bundle.read(house.archives["3.0.0"]))
    identity = house.add("3.0.0")
    house.crash()
    house.open()
    assert {entry.version for entry in house.store.list()} == {"1.0.0", "2.0.0"}
    house.add("3.0.0")
    assert house.deploy("3.0.0").live is not None
    assert identity in house.rollouts.bundles()


def test_of_two_uploads_of_a_bundle_neither_takes_it_from_the_other(house: House) -> None:
    house.live("1.0.0")
    bundle = Bundle.read(house.archives["2.0.0"])
    record = Draft(action="bundle.uploaded", actor=ANN, model="flights", bundle=bundle.id)
    for _ in range(2):
        house.rollouts.expect(bundle)
        house.add("2.0.0")
    house.rollouts.withdraw(bundle.id)
    assert house.store.get(bundle.id).version == "2.0.0", "the other is not recorded yet"
    house.rollouts.received(record)
    assert house.store.get(bundle.id).version == "2.0.0"
    house.rollouts.delete(bundle.id, by=ANN)
    for _ in range(2):
        house.rollouts.expect(bundle)
        house.add("2.0.0")
    for _ in range(2):
        house.rollouts.withdraw(bundle.id)
    with pytest.raises(BundleNotFoundError):
        house.store.get(bundle.id)
    assert house.rollouts._desk.ledger.leaving() == ()


def test_what_came_in_without_a_record_and_was_deployed_stays(house: House) -> None:
    """The deployment is its record, whatever becomes of it: a quarantined bundle is there to be looked into."""
    house.live("1.0.0")
    house.rollouts.expect(Bundle.read(house.archives["2.0.0"]))
    house.deploy("2.0.0")
    house.rollouts.rollback("flights", by=ANN)
    house.crash()
    house.open()
    assert [str(item) for item in house.status().quarantined] == ["flights 2.0.0"]
    assert {entry.version for entry in house.store.list()} == {"1.0.0", "2.0.0"}


def test_what_the_start_itself_brings_is_not_taken_for_what_came_in_without_a_record(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0")
    house.rollouts.expect(Bundle.read(house.archives["2.0.0"]))
    house.crash()
    restore = Rollouts.restore

    def given(rollouts: Rollouts) -> tuple[str, ...]:
        house.add("2.0.0")  # as --bundle does, before what was live is loaded
        return restore(rollouts)

    monkeypatch.setattr(Rollouts, "restore", given)
    house.open()
    house.rollouts.deploy(house.bundles["2.0.0"], by=ANN)
