"""The state directory and whoever else may write near it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from kedge.plane import token_keys
from kedge.rollout.state import LOCK, StateError, locked

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_for_its_owner_alone_and_one_that_others_may_write_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "state") as state:
        assert state.stat().st_mode & 0o777 == 0o700
        assert (state / LOCK).stat().st_mode & 0o777 == 0o600
    state.chmod(0o770)
    with pytest.raises(StateError, match="may be written by others"), locked(state):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_that_of_another_user_is_refused_with_the_link_in_it(tmp_path: Path) -> None:
    """Its owner could put a link in the place of the store, and have root write where it leads."""
    state, target = tmp_path / "state", tmp_path / "target"
    target.mkdir()
    state.mkdir(mode=0o700)
    (state / "store").symlink_to(target)
    shutil.chown(state, "nobody")
    with pytest.raises(StateError, match="belongs to another user"), locked(state):
        pass
    assert not (state / LOCK).exists()


def test_a_link_in_the_place_of_the_lock_or_of_keys_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / LOCK).symlink_to(target)
    with pytest.raises(StateError, match="cannot use"), locked(state):
        pass
    (state / token_keys.FILE).symlink_to(target)
    with pytest.raises(token_keys.TokenKeyError):
        token_keys.load(state, lambda: 1_800_000_000.0)
    assert target.read_text() == "mine"
