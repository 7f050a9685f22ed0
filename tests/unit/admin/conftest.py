"""Bundles of two models, built once, and an admin port to deploy them with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import admins, flights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The archive of a version of the model flights."""
    root = tmp_path_factory.mktemp("archives")
    made: dict[str, Path] = {}

    def make(version: str = "1.0.0") -> Path:
        if version not in made:
            made[version] = flights.bundle(root / version, version=version, bias=float(version[0]) / 100)
        return made[version]

    return make


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[admins.Port]:
    """An admin port for requests that are refused, all tests of a file together: nothing is ever there."""
    with admins.listening(tmp_path_factory.mktemp("idle") / "state") as port:
        yield port
        assert port.store.list() == ()
        assert port.rollouts.status() == ()
        assert port.drafts == []


@pytest.fixture
def port(tmp_path: Path) -> Iterator[admins.Port]:
    """An admin port without callers configured."""
    with admins.listening(tmp_path / "state") as port:
        yield port
