"""A server that is killed, again and again, while operators work on it: run as a program, it tells what it found.

The program imports everything and starts nothing; every life of the server is a fork of it, so that a life costs no
imports. Each life checks first what the one before it left, says so through a pipe, and then works until it is killed.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import signal
import sqlite3
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.app import Server
from kedge.audit import files
from kedge.audit.reader import Reader
from kedge.audit.record import Actor, Record
from kedge.audit.second import SecondFile
from kedge.audit.verify import verify
from kedge.client import Client
from kedge.config import load
from kedge.errors import KedgeError
from kedge.rollout.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.bundle.store import Store
    from kedge.rollout.manager import Rollouts

OPERATOR = Actor(name="crash", authenticated_by="test")
PLAN = {"steps": [{"share": 0.5, "units": 0, "min_seconds": 0, "proof": False}], "baking": {"seconds": 0, "units": 0}}
COMMANDS = ("deploy",) * 6 + ("promote",) * 4 + ("pause", "resume", "abort", "rollback", "tick")
COMMANDS += ("clear_quarantine",) * 6
UNBORN = 2
"""Lives that are killed before there is any state."""
SETTLED = frozenset({State.LIVE, State.SUPERSEDED, State.ABORTED, State.QUARANTINED, State.PAUSED})


def server(state: Path) -> Server:
    """As `kedge serve` makes it."""
    free = dict.fromkeys(("grpc", "metrics", "admin"), "127.0.0.1:0")
    return Server(load({**free, "state": str(state), "plane": "portable"}, {}, None))


def manager(running: Server) -> Rollouts:
    """Its rollouts."""
    return running._rollouts


def check_alive(running: Server) -> None:
    """What every start must find: known states, the live bundle for everybody, and an answer from it."""
    rollouts = manager(running)
    for state in rollouts.status():
        if state.rollout is not None and not state.rollout.over:
            assert state.rollout.state is State.PAUSED, state
    odd = [item for item in rollouts.bundles().values() if item.state not in SETTLED]
    assert not odd, odd
    for route in rollouts.table().routes:
        assert [arm.share for arm in route.arms] == [1.0], route
        assert route.shadow is None, route
    for live in rollouts.live():
        assert rollouts.bundles()[live.bundle.id].state is State.LIVE
        row = {
            "temp": np.array([[40.0]], np.float32),
            "distance": np.array([[500.0]], np.float32),
            "carrier": np.array([["UA"]], object),
        }
        with Client(running.describe()["grpc"]) as client:
            assert client.infer("flights", row).model_version == live.bundle.version


def check_dead(state: Path) -> None:
    """What is on disk between two lives: a log that verifies, and states that it tells of."""
    if not (state / files.CHECKPOINTS).exists():
        return  # it died before there was a log
    with Reader(state / files.DATABASE) as log:
        report = verify(log, SecondFile(state / files.CHECKPOINTS).lines(), pinned=files.known_keys(state))
        assert report.ok, report.findings
        said = {}
        for _, data in log.records():
            record = Record.parse(data)
            if record.bundle and record.next_state:
                said[record.bundle] = record.next_state
    with sqlite3.connect(state / files.DATABASE) as database:
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        known = dict(database.execute("SELECT id, state FROM bundle")) if schema else {}
    database.close()
    assert known.items() <= said.items(), (known, said)


def operate(rollouts: Rollouts, store: Store, chance: random.Random) -> None:
    """Commands without end, as they come; most of them do not fit the state, and are refused."""
    while True:
        name = chance.choice(COMMANDS)
        bundle = chance.choice(store.list()).id
        try:
            if name == "deploy":
                strategy: Any = chance.choice(("swap", "shadow", "canary", None))
                plan = PLAN if strategy is None and rollouts.live() else None
                rollouts.deploy(bundle, strategy=strategy, plan=plan, by=OPERATOR)
            elif name == "clear_quarantine":
                rollouts.clear_quarantine(bundle, by=OPERATOR)
            elif name == "tick":
                rollouts.tick()
            else:
                getattr(rollouts, name)("flights", by=OPERATOR)
        except KedgeError:
            continue


def life(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork; returns the child's process id and the end of the pipe it speaks through."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(read)
            work(write)
        except BaseException:  # noqa: BLE001 - a fork ends here, whatever it is
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write)
    return process, read


def killed(state: Path, lives: int, seed: int) -> dict[str, int]:
    """Lives that are killed at random moments: a third of them while they start, the others while they work."""
    chance = random.Random(seed)
    known = {"starts": 0, "records": 0}

    def work(write: int) -> None:
        running = server(state)
        check_alive(running)
        os.write(write, b"+")
        if number < UNBORN:  # nothing is deployed yet, however fast it started
            signal.pause()
        operate(manager(running), running._view._store, random.Random(chance.random()))

    for number in range(lives):
        if number == UNBORN:
            end(state, lambda rollouts, first: rollouts.deploy(first, by=OPERATOR))
        early = number < UNBORN or chance.random() < 1 / 3
        process, read = life(work)
        if not early:
            select.select([read], [], [], 60.0)
            known["starts"] += os.read(read, 1) == b"+"
        time.sleep(chance.uniform(0.0, 0.4))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        os.close(read)
        assert os.WIFSIGNALED(status), "the server ended by itself"
        check_dead(state)
    end(state)
    with Reader(state / files.DATABASE) as log:
        known["records"] = log.size()
    return known


def end(state: Path, act: Callable[[Rollouts, str], object] = lambda *_: None) -> None:
    """One more life, which does something and ends as it should."""

    def work(_: int) -> None:
        running = server(state)
        check_alive(running)
        act(manager(running), running._view._store.list()[0].id)
        running.stop()

    process, read = life(work)
    _, status = os.waitpid(process, 0)
    os.close(read)
    assert status == 0, status
    check_dead(state)


def full(state: Path) -> dict[str, Any]:
    """A disk that is full while a canary goes wrong: the rollback stands; so does a start on the full disk."""
    sizes = [path.stat().st_size for path in state.iterdir() if path.is_file()]
    said: dict[str, Any] = {}

    def canary(write: int) -> None:
        running = server(state)
        rollouts = manager(running)
        first, second = (entry.id for entry in running._view._store.list()[:2])
        rollouts.deploy(first, by=OPERATOR)
        rollouts.deploy(second, plan=PLAN | {"steps": [{"share": 0.5}]}, by=OPERATOR)
        fill()
        refused = ""
        try:
            rollouts.abort("flights", by=OPERATOR)
        except KedgeError as error:
            refused = str(error)
        shares = [arm.share for arm in rollouts.table().routes[0].arms]
        after = rollouts.rollback("flights", by=OPERATOR)
        os.write(write, json.dumps({"refused": refused, "held": shares, "why": after.unrecorded}).encode())
        check_live_alone(running)
        signal.pause()

    def start(write: int) -> None:
        fill()
        running = server(state)
        check_live_alone(running)
        os.write(write, json.dumps({"notes": running.notes}).encode())
        signal.pause()

    def fill() -> None:
        limit = max([*sizes, *(path.stat().st_size for path in state.iterdir() if path.is_file())])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def check_live_alone(running: Server) -> None:
        (route,) = manager(running).table().routes
        assert [arm.share for arm in route.arms] == [1.0]

    for work in (canary, start):
        process, read = life(work)
        select.select([read], [], [], 60.0)
        said |= json.loads(os.read(read, 65536) or b"{}")
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(read)
        check_dead(state)
    end(state)
    return said


if __name__ == "__main__":
    what, directory, *numbers = sys.argv[1:]
    found = full(Path(directory)) if what == "full" else killed(Path(directory), *map(int, numbers))
    sys.stdout.write(json.dumps(found) + "\n")
