"""A state directory that is damaged, older, newer or held by another: what a start makes of it."""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from kedge_testing.house import ANN, House

from kedge.audit import files
from kedge.bundle.store import Store
from kedge.errors import KedgeError
from kedge.plane.contract import Arm
from kedge.rollout.state import StateError, locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
    assert after.arms() == [("1.0.0", Arm.LIVE)]
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
    assert after.arms() == [("1.0.0", Arm.LIVE)]
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


def test_evidence_of_a_release_that_did_not_count_judged_units_is_read_as_judging_none(house: House) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0")
    house.close()
    words = [7] * 195
    with sqlite3.connect(house.directory / files.DATABASE) as database:
        (body,) = database.execute("SELECT body FROM rollout ORDER BY id DESC").fetchone()
        said = json.loads(body)
        said["evidence"] = [{"index": 0, "share": 0.05, "canary": words, "control": words}]
        said["baseline"]["since"] = {"slow": 1}
        database.execute("UPDATE rollout SET body = ? WHERE ended = 0", (json.dumps(said),))
    database.close()
    house.open()
    state = house.rollouts.resume("flights", by=ANN)
    assert state.rollout is not None
    assert state.rollout.units == (7, 7)
    (step,) = house.rollouts._desk.gatherings["flights"].steps()
    assert (step.canary.judged, step.judged, step.covered) == (0, (), (0, 0))


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
