"""Makes `making` importable for the tests of this folder, and watches what opening an archive leaves behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kedge.bundle import verify
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Open an archive that must be refused; the reason. Nothing may stand outside staging, nor in it afterwards."""
    outer = tmp_path / "outer"
    here = outer / "here"
    temporary = outer / "temporary"
    for directory in (here, temporary):
        directory.mkdir(parents=True)
    (outer / "bystander").write_text("untouched")
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def refuse(data: bytes) -> str:
        archive = outer / "hostile.kedge"
        archive.write_bytes(data)
        before = _everything(outer)
        with pytest.raises(BundleError) as caught, verify.opened(archive):
            pytest.fail("opened")
        assert _everything(outer) == before
        message = str(caught.value)
        assert message.isprintable(), "one line, nothing a terminal would obey"
        return message

    return refuse


def _everything(directory: Path) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for folder, folders, names in os.walk(directory):
        for name in folders:
            found[f"{folder}/{name}"] = None
        for name in names:
            found[f"{folder}/{name}"] = Path(folder, name).read_bytes()
    return found
