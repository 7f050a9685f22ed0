"""A soak from start to end: servers one after another, traffic all the time, chaos by a seeded schedule."""

from __future__ import annotations

import json
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge_testing.admins import Authority
from kedge_testing.soak import counts, invariants, life, report, zoo
from kedge_testing.soak.chaos import Chaos
from kedge_testing.soak.clients import KedgeClient, RawClient, TritonClient
from kedge_testing.soak.clock import Clock
from kedge_testing.soak.hostile import Hostile
from kedge_testing.soak.labels import Reporter
from kedge_testing.soak.ledger import Ledger
from kedge_testing.soak.operator import UNDER_WAY, Operator
from kedge_testing.soak.probes import Probes
from kedge_testing.soak.room import Disk
from kedge_testing.soak.sink import Sink
from kedge_testing.soak.streams import AioClients
from kedge_testing.soak.world import PATIENCE, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge_testing.soak.life import Life
    from kedge_testing.soak.schedule import Plan

PROGRESS_SECONDS: Final = 60.0


class Soak:
    """One run.

    Args:
        root: an empty directory for everything.
        plane: native or portable.
        pace: mean seconds between the turns of a client; less is more load.
        say: takes a line of progress.
    """

    def __init__(
        self, root: Path, *, seed: int, plane: str = "native", pace: float = 0.1, say: Callable[[str], object] = print
    ) -> None:
        self._root = root
        self._plane = plane
        self._say = say
        self.world = World(zoo.make(root, seed), seed, say)
        self._chance = np.random.default_rng([seed, 1])
        self._clock = Clock(root)
        self._authority = Authority()
        self._ca = root / "ca.pem"
        self._ca.write_bytes(self._authority.pem)
        for name, data in zip(("server.pem", "server.key"), self._authority.pair("soak"), strict=True):
            (root / name).write_bytes(data)
        self.ledger = Ledger(self.world)
        self.operator = Operator(self.world, np.random.default_rng([seed, 2]))
        self.reporter = Reporter(self.world, self.ledger, 4 * pace)
        self.probes = Probes(self.world)
        self._threads = [
            KedgeClient(self.world, self.ledger, "kedge", 10, pace),
            TritonClient(self.world, self.ledger, "triton", 20, pace),
            RawClient(self.world, self.ledger, "raw", 30, 2 * pace),
            AioClients(self.world, self.ledger, unary=3, streams=2, pause=2 * pace),
            *(Hostile(self.world, number, 5 * pace) for number in range(2)),
            self.reporter,
            self.probes,
            threading.Thread(target=self._progress, name="progress", daemon=True),
        ]
        self._number = 0

    def run(self, plan: Iterator[Plan]) -> World:
        """Live every life of the plan; returns what was found."""
        with Disk(self._root / "disk") as disk, closing(Sink()) as self._sink:
            hook = {"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{self._sink.port}"}
            (self._root / "kedge.yaml").write_text(json.dumps({"alerts": {"clear_after": 1, "sinks": [hook]}}))
            self._state = disk.directory / "state"
            chaos = Chaos(
                self.world,
                self.operator,
                disk,
                self._clock,
                sink=self._sink,
                certificates=self._root,
                chance=np.random.default_rng([self.world.seed, 3]),
            )
            self._say(f"seed {self.world.seed}, {'a disk' if disk.mounted else 'file sizes'} of its own")
            for thread in self._threads:
                thread.start()
            before: dict[str, tuple[str, str, str]] = {}
            clean = True
            try:
                for one in plan:
                    if self.world.stop.is_set():
                        break
                    server = self._start(one, before, clean=clean)
                    try:
                        before = self._live(server, one, chaos)
                        clean = self._end(server, one)
                    finally:
                        if server.process.poll() is None:
                            server.kill()
                self._sink_told()
                invariants.verified(self.world, self._state)
            except Exception as error:  # noqa: BLE001 - of any kind: it is a finding, and the report is written
                where = traceback.extract_tb(error.__traceback__)[-1]
                at = f"{Path(where.filename).name}:{where.lineno}"
                self.world.wrong(f"soak at {at}", "no error", f"{type(error).__name__}: {error}")
            finally:
                self.world.stop.set()
                for thread in self._threads:
                    thread.join(2 * PATIENCE)
        invariants.flat(self.world, self.probes.samples)
        return self.world

    def _start(self, one: Plan, before: dict[str, tuple[str, str, str]], *, clean: bool) -> Life:
        self._number += 1
        tls = ("--tls-cert", self._root / "server.pem", "--tls-key", self._root / "server.key") if one.tls else ()
        bundles = [part for archive in self.world.zoo.archives(zoo.VERSIONS[0]) for part in ("--bundle", archive)]
        server = life.start(
            ["--state", self._state, "--config", self._root / "kedge.yaml", "--plane", self._plane, *bundles, *tls],
            self._root / "server.log",
            self._clock,
            number=self._number,
            authority=self._authority if one.tls else None,
            ca=self._ca,
            first=invariants.records(self._state),
        )
        invariants.standing(self.world, server, before, clean=clean)
        if not clean:  # a candidate that was under way is quarantined, and somebody told
            self.operator.rolled_back.update(f"{name} {one[1]}" for name, one in before.items() if one[2] in UNDER_WAY)
        invariants.audit(self.world, self._state)
        self._began = time.monotonic()
        self.world.life = server
        self.world.add(f"life begins {'with TLS' if one.tls else 'in plain text'}")
        return server

    def _live(self, server: Life, one: Plan, chaos: Chaos) -> dict[str, tuple[str, str, str]]:
        """Acts until the life is over; how rollouts stand then."""
        acts = chaos.acts(server)
        self.world.stop.wait(1.0)
        for name in one.acts(sorted(acts)):
            if self.world.stop.is_set():
                break
            acts[name](server)
            self.world.add(f"act {name}")
            if one.compare():
                self.compare(server)
        if one.under_way:
            self.operator.canary(server)
        self.compare(server)
        return self.operator.standings(server)

    def _end(self, server: Life, one: Plan) -> bool:
        """Kill it or have it drain, while it is asked; True for a clean end."""
        self.world.stop.wait(0.3)
        self.world.life = None
        if one.killed:
            server.kill()
            self.world.add("life ends by kill -9")
            invariants.audit(self.world, self._state)
            return False
        self._sink.check_nothing_waits(self.world, self._state / "alerts.db", self.operator.rolled_back)
        status = server.drain()
        self.world.add("life ends by SIGTERM")
        if status != 0:
            self.world.wrong("SIGTERM", "exit status 0", status)
        with self.world.gate.closed():  # every answer that was on its way has been settled
            invariants.audit(self.world, self._state)
            counts.recorded(self.world, server, self._state)
        return True

    def compare(self, server: Life) -> None:
        """Stop everybody, and compare what was sent with what was counted."""
        try:
            with self.world.gate.closed():
                counts.settled(self.world, server, self.reporter, time.monotonic() - self._began)
        except TimeoutError as error:
            self.world.wrong("everybody", "every answer to arrive", error)

    def _sink_told(self) -> None:
        """Every rollback was told of once, however long the sink was away."""
        told = self._sink.rollbacks()
        if told != self.operator.rolled_back:
            self.world.wrong("sink", f"to be told of {dict(self.operator.rolled_back)}", dict(told))
        self.world.add("rollbacks told", told.total())

    def _progress(self) -> None:
        while not self.world.stop.wait(PROGRESS_SECONDS):
            self._say(report.line(self.world, self.probes))
