"""Bundles built once, and a house for each test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from kedge_testing import flights
from kedge_testing.house import House, brittle, portable

from kedge.bundle.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By version; `brittle` fails on some rows, `other` is of another model."""
    root = tmp_path_factory.mktemp("rollout-bundles")
    found = {f"{i}.0.0": flights.bundle(root / str(i), version=f"{i}.0.0", bias=0.1 * i) for i in range(1, 5)}
    found |= {"brittle": brittle(root / "brittle", "9.0.0"), "other": flights.bundle(root / "o", "other", "1")}
    store = Store(root / "store")
    return {version: store.add(archive).directory for version, archive in found.items()}


@pytest.fixture
def make_house(tmp_path: Path, archives: dict[str, Path]) -> Iterator[Callable[..., House]]:
    """Make and open houses; what still runs is ended with the test."""
    made: list[House] = []

    def make(name: str = "state", **keywords: Any) -> House:
        directory = tmp_path / name
        directory.mkdir(mode=0o700)
        house = House(directory, archives, **keywords)
        house.open()
        made.append(house)
        return house

    yield make
    for house in made:
        house.plane.stop()
        house.rollouts._desk.ledger.close()


@pytest.fixture
def house(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """On the portable plane, or on the one that the test is given as a parameter."""
    return make_house(make_plane=getattr(request, "param", portable))
