"""What happens to a server beside its traffic, one thing at a time: each act ends with the server as good as new."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Final

from cryptography import x509

from kedge.errors import KedgeError
from kedge_testing.soak.http2 import Connection
from kedge_testing.soak.world import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from kedge_testing.soak.clock import Clock
    from kedge_testing.soak.life import Life
    from kedge_testing.soak.operator import Operator
    from kedge_testing.soak.room import Disk
    from kedge_testing.soak.sink import Sink
    from kedge_testing.soak.world import World

JUMPS: Final = (-7200.0, -600.0, -90.0, -1.5, 1.5, 90.0, 600.0, 7200.0)
"""Seconds a clock is set by: a leap, a time server that was wrong, a virtual machine that woke up."""


class Chaos:
    """The acts.

    Args:
        certificates: directory of ``server.pem`` and ``server.key``.
    """

    def __init__(
        self,
        world: World,
        operator: Operator,
        disk: Disk,
        clock: Clock,
        *,
        sink: Sink,
        certificates: Path,
        chance: np.random.Generator,
    ) -> None:
        self._world = world
        self._operator = operator
        self._disk = disk
        self._clock = clock
        self._sink = sink
        self._certificates = certificates
        self._chance = chance

    def acts(self, life: Life) -> dict[str, Callable[[Life], None]]:
        """Those that can happen to a server, by name."""
        acts = {
            "rollout": self._operator.rollout,
            "disk full": self._disk_full,
            "clock jump": self._clock_jump,
            "sink outage": self._sink_outage,
        }
        return acts if life.authority is None else acts | {"certificate renewed": self._certificate}

    def _disk_full(self, life: Life) -> None:
        """Answers go on; a rollback works and is recorded later; nothing that was acknowledged is lost."""
        name, candidate = self._operator.canary(life)
        self._world.full = True
        self._disk.fill(life.process.pid)
        try:
            self._world.stop.wait(float(self._chance.uniform(0.5, 2.0)))
            self._operator.end(life, name)
            self._world.stop.wait(float(self._chance.uniform(0.5, 2.0)))
        finally:
            self._disk.empty(life.process.pid)
        with self._operator.admin(life) as admin:
            end = time.monotonic() + PATIENCE
            while words := admin.status(name).models[0].unrecorded:
                if time.monotonic() > end:
                    self._world.wrong("disk full", f"the rollback of {name} {candidate} on record", words)
                    break
                self._world.stop.wait(0.1)
            self._recovered(lambda: self._operator.clear(admin))
        with self._world.gate.closed():  # no report that met the full disk is under way any more
            self._world.full = False

    def _recovered(self, command: Callable[[], None]) -> None:
        """A command is taken again, soon."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                command()
            except KedgeError as error:
                if time.monotonic() > end:
                    self._world.wrong("disk full", "commands to be taken again", error)
                    return
                self._world.stop.wait(0.2)
            else:
                return

    def _clock_jump(self, life: Life) -> None:
        """Forth and back, with a rollout between."""
        self._clock.set(float(self._chance.choice(JUMPS)))
        self._world.stop.wait(float(self._chance.uniform(1.0, 3.0)))
        self._operator.rollout(life)
        self._clock.set(0.0)
        self._world.stop.wait(float(self._chance.uniform(0.5, 2.0)))

    def _sink_outage(self, life: Life) -> None:
        """What there is to tell meanwhile is told later."""
        self._sink.down()
        name, _ = self._operator.canary(life)
        self._operator.end(life, name)
        with self._operator.admin(life) as admin:
            self._operator.clear(admin)
        self._world.stop.wait(float(self._chance.uniform(0.0, 2.0)))
        self._sink.up()

    def _certificate(self, life: Life) -> None:
        """New connections are given the new one; those that stand go on."""
        assert life.authority is not None
        pair = life.authority.pair("soak")
        for name, data in zip(("server.pem", "server.key"), pair, strict=True):
            new = self._certificates / f"{name}.new"
            new.write_bytes(data)
            new.replace(self._certificates / name)
            self._world.stop.wait(float(self._chance.uniform(0.0, 1.5)))
        wanted = x509.load_pem_x509_certificate(pair[0]).serial_number
        end = time.monotonic() + PATIENCE
        while (got := self._serial(life)) != wanted:
            if time.monotonic() > end:
                self._world.wrong("certificate renewed", wanted, got)
                return
            self._world.stop.wait(0.1)

    @staticmethod
    def _serial(life: Life) -> int:
        """Of the certificate that a new connection is given."""
        with Connection(life) as connection:
            assert isinstance(connection.socket, ssl.SSLSocket)
            data = connection.socket.getpeercert(binary_form=True)
        assert data is not None
        return x509.load_der_x509_certificate(data).serial_number
