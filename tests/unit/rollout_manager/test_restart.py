"""After a restart the stable bundle answers everybody; what was under way waits, or is not trusted any more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import kedge_testing
import pytest
from kedge_testing.house import ANN, BOB, QUICK, House

from kedge.audit import files
from kedge.audit.doors import Doors
from kedge.audit.errors import AuditError, SignatureError
from kedge.audit.gate import BundleRefusedError
from kedge.audit.record import Draft
from kedge.bundle.contents import Bundle
from kedge.bundle.store import BundleNotFoundError, Store
from kedge.errors import KedgeError, ModelLoadError
from kedge.plane.contract import Arm
from kedge.plane.portable.plane import PortablePlane
from kedge.rollout.ledger import Ledger
from kedge.rollout.manager import Rollouts
from kedge.rollout.standing import BYTES, FILE, Standing
from kedge.rollout.state import StateError, locked
from kedge.rollout.states import IllegalCommandError, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge.audit.doors import Named
    from kedge.audit.log import Transaction
    from kedge.plane.contract import PublishReport, RouteTable

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


def test_no_epoch_stands_for_two_contents(house: House) -> None:
    """Predictions bear the epoch, and their labels are told apart by it."""
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    with_canary = house.status().epoch
    house.close()
    house.open()
    assert house.status().epoch > with_canary, "the candidate is out of traffic"
    alone = house.status().epoch
    house.rollouts.abort("flights", by=ANN)
    house.close()
    house.open()
    assert house.status().epoch == alone, "nothing is otherwise"
    house.crash()
    house.open()
    assert house.status().epoch > alone + 1, "a change may have been in force that the database never took"
    last = house.status().epoch
    house.crash()
    house.open()
    assert house.status().epoch > last, "and it is written down"


def test_the_epoch_of_a_change_that_was_taken_back_survives(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    house.rollouts.pause("flights", by=ANN)

    with monkeypatch.context() as broken:
        broken.setattr(house.rollouts._desk, "_write", lambda *_: None)
        broken.setattr(house.rollouts._desk.ledger, "transaction", late)
        for _ in range(5):
            with pytest.raises(AuditError):
                house.rollouts.abort("flights", by=ANN)
    in_memory = house.status().epoch
    assert in_memory > 5
    house.close()
    house.open()
    assert house.status().epoch > in_memory


@contextlib.contextmanager
def late() -> Iterator[None]:
    """A transaction of a database that finds out at its end that it cannot take it."""
    yield
    raise AuditError("full")


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


class Killed(BaseException):
    """The process ends here."""


def ends_in_the_window(ledger: Ledger) -> None:
    """Let it end where a rollback is in force and not recorded."""

    def transaction() -> NoReturn:
        raise Killed

    ledger.transaction = transaction  # type: ignore[method-assign]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from kedge_testing.house import ANN, House
house = House(Path(sys.argv[1]), {key: Path(path) for key, path in json.loads(sys.argv[2]).items()})
house.open()
house.live("1.0.0", "2.0.0")
house.rollouts._desk.ledger.transaction = lambda: os.kill(os.getpid(), signal.SIGKILL)
house.rollouts.rollback("flights", by=ANN)
"""


def test_a_rollback_in_force_outlives_kill_9_before_its_record(tmp_path: Path, archives: dict[str, Path]) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    paths = json.dumps({version: str(archives[version]) for version in ("1.0.0", "2.0.0")})
    support = Path(kedge_testing.__file__).parents[1]
    path = os.pathsep.join([str(support), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, directory, paths],
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    house = House(directory, archives)
    house.open()
    try:
        assert str(house.status().live) == "flights 1.0.0"
        assert [str(item) for item in house.status().quarantined] == ["flights 2.0.0"]
        assert house.verify().ok
    finally:
        house.close()


@pytest.mark.parametrize("back", ["2.0.0", "1.0.0"])
def test_a_rollback_that_was_in_force_outlives_a_kill_before_its_record(house: House, back: str) -> None:
    house.live("1.0.0", "2.0.0", "3.0.0")
    before = house.status()
    ends_in_the_window(house.rollouts._desk.ledger)
    to = None if back == "2.0.0" else house.bundles[back]
    with pytest.raises(Killed):
        house.rollouts.rollback("flights", to=to, by=ANN, reason="wrong")
    house.crash()
    house.notices.clear()
    house.open()
    state = house.status()
    assert (str(state.live), state.last_good) == (f"flights {back}", None)
    assert [str(item) for item in state.quarantined] == ["flights 3.0.0"]
    assert "rolled back by ann: wrong (in force when the server ended, recorded now)" in state.quarantined[0].reason
    assert state.epoch > before.epoch + 1
    assert house.actions()[-4:] == [
        "rollout.rollback_decided", "rollout.rolled_back", "bundle.quarantined", "bundle.restored",
    ]  # fmt: skip
    assert house.records()[-1].actor.name == "ann"
    assert [notice.kind for notice in house.notices] == ["rolled back"]
    assert house.verify().ok
    house.close()
    house.open()
    assert house.status().live == state.live
    assert len([one for one in house.actions() if one == "bundle.restored"]) == 1, "once"


def test_two_rollbacks_in_force_outlive_a_crash_between_them_on_a_full_disk(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0", "2.0.0", "3.0.0")
    ends_in_the_window(house.rollouts._desk.ledger)
    with pytest.raises(Killed):
        house.rollouts.rollback("flights", by=ANN)
    house.crash()
    with monkeypatch.context() as full:
        full.setattr(Ledger, "transaction", lambda _: (_ for _ in ()).throw(AuditError("disk full")))
        house.open()
        assert str(house.status().live) == "flights 2.0.0"
        house.rollouts.rollback("flights", to=house.bundles["1.0.0"], by=BOB)
        house.crash()
    house.open()
    state = house.status()
    assert str(state.live) == "flights 1.0.0"
    assert sorted(map(str, state.quarantined)) == ["flights 2.0.0", "flights 3.0.0"]
    assert house.rollouts._desk.ledger.standing.read() == (), "it is on record"


def test_an_epoch_that_was_taken_back_is_known_before_it_is_in_force(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.live("1.0.0")
    house.deploy("2.0.0", plan=QUICK)
    desk, publish = house.rollouts._desk, house.plane.publish
    seen: list[tuple[int, set[int]]] = []

    def look(table: RouteTable) -> PublishReport:
        seen.append((table.routes[0].epoch, {one.epoch for one in desk.ledger.standing.read()}))
        return publish(table)

    with monkeypatch.context() as broken:
        broken.setattr(house.plane, "publish", look)
        broken.setattr(desk, "_write", lambda *_: None)
        broken.setattr(desk.ledger, "transaction", late)
        with pytest.raises(AuditError):
            house.rollouts.abort("flights", by=ANN)
    (_, (epoch, known)) = seen
    assert known == {epoch}


def test_a_recorded_rollback_is_not_done_again(house: House) -> None:
    house.live("1.0.0", "2.0.0")
    stale = house.rollouts._desk.ledger.standing
    house.rollouts.rollback("flights", by=ANN)
    house.rollouts.clear_quarantine(house.bundles["2.0.0"], by=ANN)
    epoch = house.status().epoch
    stale.write([Standing("flights", epoch, ((house.bundles["1.0.0"], house.bundles["2.0.0"]),), "late", ("a", "b"))])
    house.crash()
    house.open()
    assert str(house.status().live) == "flights 1.0.0"


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


def test_a_torn_note_of_a_rollback_is_no_note(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.live("1.0.0")
    file = house.rollouts._desk.ledger.standing
    file.write([Standing("flights", 99, (), "words", ("a", "b"))])
    assert file.read() == (Standing("flights", 99, (), "words", ("a", "b")),)
    house.crash()
    with (house.directory / FILE).open("r+b") as raw:
        for slot in (0, BYTES):
            raw.seek(slot + 20)
            raw.write(b"torn")
    house.open()
    assert house.status().epoch < 99
    assert "damaged" in caplog.text


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
