"""One server process of the soak, from its start to its end, and what it was asked meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc

from kedge_testing.soak.ledger import Tally
from kedge_testing.soak.world import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge_testing.admins import Authority
    from kedge_testing.soak.clock import Clock

ROOT: Final = Path(__file__).resolve().parents[4]
START_SECONDS: Final = 240.0
"""Every bundle is first loaded in a process of its own, which takes long where others use the machine."""
FREE: Final = ("--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0")


@dataclass(eq=False)
class Life:
    """A server that takes requests.

    Attributes:
        number: from 1.
        ready: its ready line.
        authority: signs the certificate of its data port; None: plain text.
        ca: file of the authority's certificate.
        first: sequence number of the first audit record of this life.
        ending: it is about to be killed or told to end: from then on requests may fail.
        tally: what it was asked and answered.
    """

    number: int
    process: subprocess.Popen[str]
    ready: dict[str, Any]
    authority: Authority | None
    ca: Path
    first: int
    ending: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def grpc(self) -> str:
        return str(self.ready["grpc"])

    @property
    def admin(self) -> str:
        return str(self.ready["admin"])

    @property
    def metrics(self) -> str:
        return str(self.ready["metrics"])

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        return None if self.authority is None else grpc.ssl_channel_credentials(self.authority.pem)

    def kill(self) -> None:
        """At once, wherever it is."""
        self.ending = True
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._close()

    def drain(self) -> int:
        """SIGTERM, while it is asked; returns the exit status."""
        self.ending = True
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self._close()
        return status

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


def start(arguments: Sequence[str | Path], log: Path, clock: Clock, **about: Any) -> Life:
    """Start `kedge serve` and wait until it is ready.

    Args:
        arguments: of the command, beside those that pick free ports.
        log: gets its standard error.
        about: other fields of the `Life`.

    Raises:
        AssertionError: it is not, with the end of its log.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEDGE_")}
    environment = {**kept, "PYTHONPATH": str(ROOT / "src"), "ORT_DISABLE_TELEMETRY": "1", **clock.environment}
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedge", "serve", *FREE, *map(str, arguments), "--json"],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip
    late = threading.Timer(START_SECONDS, process.kill)
    late.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
    finally:
        late.cancel()
    ready = json.loads(line) if line else {}
    if ready.get("event") != "ready":
        process.kill()
        process.wait(PATIENCE)
        raise AssertionError(f"the server did not start: {ready or log.read_text()[-2000:]}")
    return Life(process=process, ready=ready, **about)
