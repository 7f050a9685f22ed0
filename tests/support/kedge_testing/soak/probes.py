"""Somebody who looks all the time: health, readiness, metrics and the admin port answer; memory is measured."""

from __future__ import annotations

import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kedge.client import AdminClient, Client

if TYPE_CHECKING:
    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World

ANSWER_SECONDS: Final = 30.0
"""Without an answer for so long, a port is taken to be dead; machines that run tests are busy ones."""
SLOW_SECONDS: Final = 2.0
"""Answers that took longer are counted, and reported as a number."""


@dataclass(frozen=True)
class Sample:
    """What a server process uses.

    Attributes:
        second: of the soak.
        rss: resident bytes.
        fds, threads: open descriptors, threads.
    """

    life: int
    second: float
    rss: int
    fds: int
    threads: int


def measure(world: World, life: Life) -> Sample:
    """As it is now."""
    process = Path("/proc") / str(life.process.pid)
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Sample(
        life.number,
        round(world.second, 1),
        int(fields["VmRSS"].split()[0]) * 1024,
        len([*(process / "fd").iterdir()]),
        int(fields["Threads"]),
    )


def get(life: Life, path: str) -> tuple[int, str]:
    """Status and body of a page of the metrics port."""
    try:
        with urllib.request.urlopen(f"http://{life.metrics}{path}", timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Probes(threading.Thread):
    """Looks once a second at everything an orchestrator or an operator looks at.

    Attributes:
        samples: of memory, one a look.
        slowest: seconds, by what was asked.
    """

    def __init__(self, world: World) -> None:
        super().__init__(name="probes", daemon=True)
        self._world = world
        self.samples: list[Sample] = []
        self.slowest: dict[str, float] = {}

    def run(self) -> None:
        number = 0
        while (life := self._world.wait_life(number)) is not None:
            number = life.number
            with (
                AdminClient(life.admin, timeout=ANSWER_SECONDS) as admin,
                Client(life.grpc, timeout=ANSWER_SECONDS, credentials=life.credentials) as client,
            ):
                while not life.ending and not self._world.stop.wait(1.0):
                    self._look(life, admin, client)

    def _look(self, life: Life, admin: AdminClient, client: Client) -> None:
        looks: dict[str, Any] = {
            "/healthz": lambda: get(life, "/healthz")[0] == 200,
            "/readyz": lambda: get(life, "/readyz")[0] == 200,
            "/metrics": lambda: "kedge_rows_total" in get(life, "/metrics")[1],
            "admin status": lambda: admin.status().ready,
            "ServerReady": client.ready,
        }
        for name, look in looks.items():
            began = time.monotonic()
            try:
                well: Any = look()
            except Exception as error:  # noqa: BLE001 - of any kind: it is judged by when it happened
                well = f"{type(error).__name__}: {error}"
            if life.ending:
                return
            took = time.monotonic() - began
            self.slowest[name] = max(took, self.slowest.get(name, 0.0))
            self._world.add("probes")
            self._world.add("probes that took over 2 s", took > SLOW_SECONDS)
            if well is not True:
                self._world.wrong(f"probe {name}", "a good answer", well)
        try:
            self.samples.append(measure(self._world, life))
        except OSError:
            return  # it was killed this moment
