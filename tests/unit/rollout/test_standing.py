"""The note of what is in force and not recorded yet, where power fails, the disk fills or a call writes less."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kedge.rollout.standing import BYTES, FILE, Standing, StandingFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def standing(epoch: int, words: str = "") -> tuple[Standing, ...]:
    return (Standing("flights", epoch, (("ab" * 32, "cd" * 32),), words, ("ann", "token")),)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StandingFile]:
    found = StandingFile(tmp_path)
    yield found
    found.close()


def test_it_says_what_was_written_last_after_a_restart_too(file: StandingFile, tmp_path: Path) -> None:
    assert file.read() == ()
    for epoch in range(1, 5):
        file.write(standing(epoch))
        assert file.read() == standing(epoch)
        again = StandingFile(tmp_path)
        assert again.read() == standing(epoch)
        again.close()


@pytest.mark.parametrize("writes", [2, 3])
@pytest.mark.parametrize("at", [5, 9, 17, 100], ids=["checksum", "number", "length", "text"])
def test_where_the_last_is_torn_what_stood_before_holds(
    file: StandingFile, tmp_path: Path, writes: int, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    for epoch in range(1, writes + 1):
        file.write(standing(epoch))
    with (tmp_path / FILE).open("r+b") as raw:
        raw.seek(writes % 2 * BYTES + at)
        raw.write(b"\xff")
    again = StandingFile(tmp_path)
    assert again.read() == standing(writes - 1)
    assert "damaged" in caplog.text
    again.write(standing(9))
    assert again.read() == standing(9)
    again.close()


def test_what_does_not_fit_is_said_and_what_stood_before_holds(
    file: StandingFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(standing(1))
    file.write(standing(2, "x" * BYTES))
    assert "would not survive a crash" in caplog.text
    assert file.read() == standing(1)
    assert (tmp_path / FILE).stat().st_size == 2 * BYTES


def test_a_call_that_writes_less_is_gone_on_with(file: StandingFile, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda number, data, place: whole(number, data[:7], place))
    file.write(standing(1))
    assert file.read() == standing(1)
