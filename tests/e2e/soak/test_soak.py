"""The soak in half a minute: every client, every kind of chaos once, and all that `make soak` holds to for an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kedge_testing.soak.run import Soak
from kedge_testing.soak.schedule import brief

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20261123


@pytest.mark.parametrize("plane", ["native", pytest.param("portable", marks=pytest.mark.long)])
def test_everything_at_once_loses_and_miscounts_nothing(plane: str, tmp_path: Path) -> None:
    world = Soak(tmp_path, seed=SEED, plane=plane, pace=0.15).run(brief())
    assert not world.findings, "\n".join(world.findings)
    assert world.counts["requests OK"] > 300
    for happened in ("act disk full", "act clock jump", "act sink outage", "act certificate renewed", "labels reported",
                     "life ends by kill -9", "life ends by SIGTERM", "histograms compared"):  # fmt: skip
        assert world.counts[happened], f"no {happened}"
