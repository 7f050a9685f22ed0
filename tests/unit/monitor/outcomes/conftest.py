"""A book of outcomes over a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kedge_testing.outcomes import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "outcomes.db")
    yield made
    made.database.close()
