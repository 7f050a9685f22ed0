"""What is live is recorded and served, or neither; and a state directory has one owner."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from typing import TYPE_CHECKING

from kedge_testing import flights

from kedge.bundle.store import Store
from kedge.errors import KedgeError
from kedge.kernel.select import select
from kedge.plane.contract import Arm, DataPlane
from kedge.plane.portable.plane import PortablePlane
from kedge.rollout.live import Deployments, NotLiveError
from kedge.rollout.state import DATABASE, StateError, locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.bundle.contents import Bundle


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def bundle(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return store.add(flights.bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    made = PortablePlane(select("reference"))
    yield made
    made.stop()


def deployments(directory: Path, store: Store, plane: DataPlane) -> Deployments:
    return Deployments(directory, store, plane, lambda: 50.0)


def test_a_deployed_bundle_is_live_and_again_after_a_restart(
    tmp_path: Path, store: Store, bundle: Bundle, plane: DataPlane
) -> None:
    first = deployments(tmp_path, store, plane)
    live = first.deploy(bundle)
    assert (live.epoch, live.since) == (1, 50.0)
    (route,) = first.table().routes
    assert (route.model, route.epoch, route.arms[0].arm, route.arms[0].share) == ("flights", 1, Arm.LIVE, 1.0)
    first.close()
    other = PortablePlane(select("reference"))
    try:
        again = deployments(tmp_path, store, other)
        assert again.live() == ()
        again.restore()
        assert [(x.bundle.id, x.epoch, x.since) for x in again.live()] == [(bundle.id, 1, 50.0)]
        again.close()
    finally:
        other.stop()


def test_a_model_has_one_live_bundle(tmp_path: Path, store: Store, bundle: Bundle, plane: DataPlane) -> None:
    live = deployments(tmp_path, store, plane)
    live.deploy(bundle)
    with pytest.raises(StateError, match="has a live bundle already"):
        live.deploy(bundle)
    with pytest.raises(NotLiveError, match="no model 'x' is live here; live: flights"):
        live.get("x")
    live.close()


def test_a_publish_that_fails_leaves_no_record(
    tmp_path: Path, store: Store, bundle: Bundle, plane: DataPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = deployments(tmp_path, store, plane)
    with monkeypatch.context() as broken:
        broken.setattr(plane, "publish", lambda _table: (_ for _ in ()).throw(KedgeError("refused")))
        with pytest.raises(KedgeError, match="refused"):
            live.deploy(bundle)
    assert live.live() == ()
    live.deploy(bundle)
    live.close()


def test_a_live_bundle_that_is_gone_is_named(tmp_path: Path, store: Store, bundle: Bundle, plane: DataPlane) -> None:
    live = deployments(tmp_path, store, plane)
    live.deploy(bundle)
    live.close()
    empty = deployments(tmp_path, Store(tmp_path / "empty"), plane)
    with pytest.raises(StateError, match=f"{bundle.id[:12]} is live for 'flights' but unusable"):
        empty.restore()
    empty.close()


def test_a_damaged_or_newer_database_is_refused(tmp_path: Path, store: Store, plane: DataPlane) -> None:
    database = tmp_path / DATABASE
    database.write_bytes(b"not a database at all, by far" * 100)
    with pytest.raises(StateError, match=r"cannot use .*kedge\.db"):
        deployments(tmp_path, store, plane)
    database.unlink()
    with sqlite3.connect(database) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StateError, match="written by a newer Kedge"):
        deployments(tmp_path, store, plane)


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
