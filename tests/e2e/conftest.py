"""Real servers as processes of their own, real bundles, real command lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from kedge_testing import flights  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT = 120.0
FREE = ("--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0")


def environment(**extra: str) -> dict[str, str]:
    """That of a user who has no settings of Kedge's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEDGE_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "ORT_DISABLE_TELEMETRY": "1", **extra}


@dataclass
class Process:
    """A `kedge serve --json` under way."""

    process: subprocess.Popen[str]
    log: Path
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def grpc(self) -> str:
        return str(self.ready["grpc"])

    @property
    def admin(self) -> str:
        return str(self.ready["admin"])

    @property
    def metrics(self) -> str:
        return str(self.ready["metrics"])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(WAIT)


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a bundle, once for equal arguments."""
    root = tmp_path_factory.mktemp("bundles")
    made: dict[str, Path] = {}

    def make(
        name: str = "flights", version: str = "1.0.0", *, bias: float = 0.0, slow: bool = False, alone: bool = False
    ) -> Path:
        key = f"{name}-{version}-{bias}-{slow}-{alone}"
        if key not in made:
            made[key] = flights.bundle(root / key, name, version, bias=bias, slow=slow, alone=alone)
        return made[key]

    return make


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a server and wait until it is ready; all are ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path, state: Path | None = None, **variables: str) -> Process:
        log = tmp_path / f"server-{len(started)}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "kedge", "serve", "--state", str(state or tmp_path / "state"), *FREE,
                 *map(str, arguments), "--json"],
                stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(**variables),
            )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        ready = json.loads(line)
        assert ready.get("event") == "ready", ready
        return Process(process, log, ready)

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(WAIT)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def server_environment() -> dict[str, str]:
    """For programs of our own."""
    return environment()


@pytest.fixture
def kedge() -> Callable[..., Done]:
    """Run a command to its end."""

    def run(*arguments: str | Path, wait: float = WAIT, **variables: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "kedge", *map(str, arguments)],
            capture_output=True, text=True, timeout=wait, check=False, env=environment(**variables),
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return run
