"""The demo, as a newcomer runs it: two models served, one release live, the other hauled back, the evidence intact."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

WAIT = 280.0
"""Seconds: about one minute of work, on machines that do something else as well."""


@pytest.mark.long
@pytest.mark.parametrize("plane", ["native", "portable"])
def test_the_demo_tells_its_story(kedge: Any, tmp_path: Path, plane: str) -> None:
    done = kedge("demo", "--dir", tmp_path / "demo", "--days", "7", "--plane", plane, "--json", wait=WAIT)
    assert (done.status, done.err) == (0, done.err)
    told = json.loads(done.out)
    assert [(one["version"], one["state"]) for one in told["releases"]] == [("2.0.0", "LIVE"), ("3.0.0", "QUARANTINED")]
    assert "scores" in told["releases"][1]["words"]
    # Every request was answered, and every prediction's label was taken exactly once.
    assert told["labels"] == told["answered"] > 5_000
    assert set(told["accuracy"]) >= {"1.0.0", "2.0.0"}
    verified = kedge("audit", "verify", "--state", tmp_path / "demo" / "state")
    assert verified.status == 0
