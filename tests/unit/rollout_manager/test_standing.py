"""A change that was in force when the server ended holds at the next start, though no record of it was written."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import kedge_testing
import pytest
from kedge_testing.house import ANN, BOB, QUICK, House

from kedge.audit.errors import AuditError
from kedge.rollout.ledger import Ledger
from kedge.rollout.standing import BYTES, FILE, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.plane.contract import PublishReport, RouteTable


@contextlib.contextmanager
def late() -> Iterator[None]:
    """A transaction of a database that finds out at its end that it cannot take it."""
    yield
    raise AuditError("full")


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
