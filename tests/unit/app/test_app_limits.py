"""Connections never take the files that the server itself needs."""

from __future__ import annotations

import sys

from kedge.app_limits import OWN_FILES, connection_limits


def test_as_many_as_are_asked_for_where_there_is_room() -> None:
    for files in (4096 + OWN_FILES, sys.maxsize):
        limits, note = connection_limits(4096, files)
        assert (limits.max_connections, note) == (4096, None)


def test_fewer_where_there_is_none_and_the_note_says_what_to_do() -> None:
    limits, note = connection_limits(4096, 1024)
    assert limits.max_connections == 1024 - OWN_FILES
    assert note is not None
    assert note.startswith(f"at most {1024 - OWN_FILES} connections instead of 4096")
    assert "ulimit" in note
    assert connection_limits(4096, 10)[0].max_connections == 1
