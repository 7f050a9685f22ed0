"""After a restart the stable bundle answers everybody; what was under way waits, or is not trusted any more."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from kedge_testing.house import ANN, QUICK, House

from kedge.audit import files
from kedge.bundle.store import Store
from kedge.errors import KedgeError, ModelLoadError
from kedge.plane.contract import Arm
from kedge.plane.portable.plane import PortablePlane
from kedge.rollout.state import StateError, locked
from kedge.rollout.states import IllegalCommandError, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WHOLE = [("1.0.0", Arm.LIVE)]


def served(house: House) -> list[tuple[str, Arm]]:
    (route,) = house.rollouts.table().routes
    return [(arm.handle.version, arm.arm) for arm in route.arms]


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
    assert (served(house), route.shadow) == (WHOLE, None)
    epoch = state.epoch
    state = house.rollouts.resume("flights", by=ANN)
    assert state.rollout is not None
    assert (state.rollout.state, state.epoch) == (held, epoch + 1)
    (route,) = house.rollouts.table().routes
    assert served(house) == [("2.0.0", Arm.CANARY), ("1.0.0", Arm.CONTROL)] or route.shadow is not None
    assert house.verify().ok


def test_a_candidate_that_was_loaded_when_the_server_died_is_quarantined(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    house.crash()
    house.open()
    assert served(house) == WHOLE
    assert [str(item) for item in house.status().quarantined] == ["flights 2.0.0"]
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
    assert served(house) == WHOLE
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


PAGE = 4096


def _torn(directory: Path) -> None:
    """What a power cut leaves of a transaction that was never committed."""
    with (directory / "kedge.db-wal").open("ab") as log:
        log.write(os.urandom(PAGE + 24))


def _flipped(directory: Path) -> None:
    """A disk that lost the last page of a transaction that it had said it kept."""
    data = bytearray((directory / "kedge.db-wal").read_bytes())
    data[-PAGE // 2 :] = bytes(PAGE // 2)
    (directory / "kedge.db-wal").write_bytes(data)


def _last_page(directory: Path) -> None:
    """The same in the database itself."""
    with sqlite3.connect(directory / files.DATABASE) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with (directory / files.DATABASE).open("r+b") as file:
        file.seek(-PAGE, os.SEEK_END)
        file.write(b"\xff" * PAGE)


def test_a_torn_transaction_is_as_if_it_had_never_begun(house: House, tmp_path: Path) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    after = house.copy(tmp_path / "after")
    _torn(after.directory)
    after.open()
    assert served(after) == WHOLE
    assert after.verify().ok
    after.live("3.0.0")
    after.close()


@pytest.mark.parametrize("damage", [_flipped, _last_page])
def test_a_log_that_is_damaged_serves_what_is_live_and_changes_nothing(
    house: House, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    after = house.copy(tmp_path / "after")
    damage(after.directory)
    after.open()
    assert served(after) == WHOLE
    assert not after.verify().ok, "and the damage is named, not papered over"
    with pytest.raises(KedgeError, match="nothing can be changed while the audit log cannot be written"):
        after.deploy("3.0.0", strategy="swap")
    after.crash()


def test_a_live_bundle_that_is_gone_is_named(house: House) -> None:
    house.live("1.0.0")
    house.close()
    Store(house.directory / "store").delete(house.bundles["1.0.0"])
    with pytest.raises(StateError, match=f"{house.bundles['1.0.0'][:12]} is live for 'flights' but unusable"):
        house.open()


def test_a_last_good_bundle_that_is_gone_is_done_without(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    house.close()
    Store(house.directory / "store").delete(house.bundles["1.0.0"])
    house.open()
    assert (str(house.status().live), house.status().last_good) == ("flights 2.0.0", None)


def test_a_state_directory_of_the_first_schema_is_taken_over(house: House, tmp_path: Path) -> None:
    identity = house.add("1.0.0")
    old = tmp_path / "old"
    old.mkdir(mode=0o700)
    with sqlite3.connect(old / files.DATABASE) as database:
        database.execute("CREATE TABLE live (model TEXT PRIMARY KEY, bundle TEXT, epoch INTEGER, since REAL)")
        database.execute("INSERT INTO live VALUES ('flights', ?, 7, 50.0)", (identity,))
        database.execute("PRAGMA user_version = 1")
    database.close()
    other = House(old, house.archives)
    other.store = Store(old / "store")
    other.add("1.0.0")
    try:
        other.open()
        state = other.status()
        assert (str(state.live), state.epoch, state.since) == ("flights 1.0.0", 7, 50.0)
        assert other.actions() == ["log.created", "state.migrated", "bundle.adopted"]
        other.live("2.0.0")
        assert other.status().epoch == 8
        assert other.verify().ok
    finally:
        other.close()


def test_a_damaged_or_newer_database_is_refused(tmp_path: Path, archives: dict[str, Path]) -> None:
    house = House(tmp_path, archives)
    tmp_path.chmod(0o700)
    database = tmp_path / files.DATABASE
    database.write_bytes(b"not a database at all, by far" * 100)
    with pytest.raises(StateError, match=r"cannot use .*kedge\.db"):
        house.open()
    database.unlink()
    with sqlite3.connect(database) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StateError, match="written by a newer Kedge"):
        house.open()


def test_the_lock_is_exclusive_and_given_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with locked(state), pytest.raises(StateError, match=f"in use by process {os.getpid()}"), locked(state):
        pytest.fail("held twice")
    with locked(state):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (state / "lock").symlink_to(victim)
    with pytest.raises(StateError, match="cannot use"), locked(state):
        pytest.fail("followed")
    assert victim.read_text() == "precious"
