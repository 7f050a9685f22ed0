"""What cannot be an argument of the commands about evidence is refused in one line, and names are those of who acts."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING

import pytest

import kedge.cli
from kedge.audit import files
from kedge.audit.reader import Reader
from kedge.audit.settings import AuditSettings, open_log

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a server that made its log and stopped."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    database = files.connect(directory)
    open_log(directory, database, AuditSettings())
    database.close()
    return directory


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keygen", "."), "cannot write key '.': is a directory"),
        (("keygen", "/"), "cannot write key '/': is a directory"),
        (("audit", "export", "-o", "."), "cannot write '.': is a directory"),
        (("audit", "export", "-o", "/"), "cannot write '/': is a directory"),
        (("audit", "show", str(10**30)), f"the log has no record {10**30}; it has 1, from 0"),
        (("audit", "rotate-key", "--reason", "a\nb"), "--reason: expected one line"),
        (("audit", "rotate-key", "--reason", "x" * 1025), "--reason: expected one line"),
        (("audit", "rotate-key", "--reason", "x", "--actor", "a\tb"), "--actor: expected one line"),
        (("audit", "rotate-key", "--reason", "x", "--actor", ""), "--actor: expected one line"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    given = [*arguments, *(["--state", str(state)] if arguments[0] == "audit" else []), "--json"]
    with pytest.raises(SystemExit) as end:
        kedge.cli.main(given)
    said = capsys.readouterr()
    assert words in json.loads(said.out)["error"]["message"]
    assert (end.value.code, said.err) == (2, "")


def test_who_rotates_a_key_is_the_user_whatever_the_environment_says(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "alice")
    with pytest.raises(SystemExit) as end:
        kedge.cli.main(["audit", "rotate-key", "--reason", "yearly", "--state", str(state), "--json"])
    assert end.value.code == 0
    with Reader(state / files.DATABASE) as log:
        actor = json.loads(log.record(1))["actor"]
    assert actor == {"name": pwd.getpwuid(os.getuid()).pw_name, "authenticated_by": "unix-user"}
