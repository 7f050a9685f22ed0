"""Killed at any moment, on a full disk, with a damaged log: a start finds known states and serves the stable bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kedge.bundle.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "support" / "kedge_testing" / "crash.py"


@pytest.fixture
def state(tmp_path: Path, bundles: Callable[..., Path]) -> Path:
    """A state directory whose store has three versions of a model."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    store = Store(directory / "store")
    for version, bias in (("1.0.0", 0.0), ("2.0.0", 0.25), ("3.0.0", 0.5)):
        store.add(bundles(version=version, bias=bias))
    return directory


def run(environment: dict[str, str], *arguments: object, seconds: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        capture_output=True, text=True, timeout=seconds, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_ten_servers_killed_while_they_are_operated(state: Path, server_environment: dict[str, str]) -> None:
    found = run(server_environment, "killed", state, 10, 1, seconds=120)
    assert found["starts"] >= 3
    assert found["records"] > 20, "they were at work when they were killed"


@pytest.mark.long
def test_a_hundred_servers_killed_while_they_are_operated(state: Path, server_environment: dict[str, str]) -> None:
    found = run(server_environment, "killed", state, 100, 2, seconds=280)
    assert found["starts"] >= 50


def test_a_disk_that_is_full(state: Path, server_environment: dict[str, str]) -> None:
    found = run(server_environment, "full", state, seconds=120)
    assert "did not take a record" in found["refused"]
    assert found["held"] == [0.5, 0.5], "an abort that cannot be recorded does not happen"
    assert "did not take a record" in found["why"], "a rollback does"
