"""What holds for every command: an example, --json, one place for errors, and a quick --help."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import typer

import kedge.cli
from kedge.cli.common import NO, emit, run, table, to_json
from kedge.errors import BundleError, Code, RequestError


def commands() -> list[tuple[str, Any]]:
    found = []
    for name in kedge.cli.COMMANDS:
        command = kedge.cli.load(name)
        members = getattr(command, "commands", None)
        found += [(f"{name} {key}", value) for key, value in members.items()] if members else [(name, command)]
    return found


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_has_json_a_sentence_and_an_example(name: str, command: Any) -> None:
    assert command.help.split("\n")[0].endswith(".")
    assert f"kedge {name}" in command.epilog
    assert "--json" in {flag for parameter in command.params for flag in parameter.opts}
    assert all(parameter.help for parameter in command.params if parameter.param_type_name == "option")


@pytest.mark.parametrize("name", ["bundle", "audit"])
def test_every_group_has_an_example(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as end:
        kedge.cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"kedge {name} verify" in capsys.readouterr().out


def test_help_loads_no_heavy_library() -> None:
    heavy = ["onnxruntime", "numpy", "pyarrow", "grpc", "scipy", "pydantic", "matplotlib"]
    code = f"""
import sys
from kedge.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in kedge.cli.COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BundleError("the archive\nis torn"), 2, "the archive is torn"),
        (RequestError(Code.NOT_FOUND, "no such model"), 2, "no such model"),
        (FileNotFoundError(2, "No such file or directory", "rows.csv"), 2, "No such file or directory: 'rows.csv'"),
        (typer.BadParameter("out of range"), 2, "out of range (see --help)"),
        (ZeroDivisionError("division by zero"), 3, "please report it"),
    ],
)
def test_an_error_is_one_line_and_a_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, message: str
) -> None:
    monkeypatch.delenv("KEDGE_DEBUG", raising=False)

    def fail() -> None:
        raise error

    assert run(fail, as_json=False) == status
    text = capsys.readouterr()
    assert text.out == ""
    assert text.err.startswith("error: ")
    assert text.err.count("\n") == 1
    assert message in text.err
    assert run(fail, as_json=True) == status
    as_json = capsys.readouterr()
    assert message in json.loads(as_json.out)["error"]["message"]
    assert as_json.err == ""


def test_the_traceback_of_a_fault_is_shown_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDGE_DEBUG", "1")
    assert run(lambda: 1 // 0, as_json=False) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err.split("error: ")[0]


def test_an_interrupt_ends_quietly_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert run(interrupt, as_json=False) == 130
    assert capsys.readouterr() == ("", "")


def test_no_is_status_1() -> None:
    assert NO.exit_code == 1


def test_numbers_json_has_no_word_for_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": float("nan"), "b": [1.5, float("inf")], "c": "ü"}, as_json=True)
    assert capsys.readouterr().out == '{"a": null, "b": [1.5, null], "c": "ü"}\n'
    assert to_json((1, 2)) == "[1, 2]"


def test_names_of_columns_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    emit(None, table(None, "scores[/late]", "[b]"), as_json=False)
    assert capsys.readouterr().out.split() == ["scores[/late]", "[b]"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--version"], 0, "kedge "),
        ([], 0, "Commands"),
        (["serv"], 2, "Did you mean 'serve'"),
        (["serve", "--nonsense"], 2, "No such option: --nonsense"),
        (["bundle"], 2, "Missing command"),
        (["predict", "m"], 2, "--input"),
        (["demo", "--plane", "fast"], 2, "no plane is called 'fast'"),
        (["demo", "--kernel", "fast"], 2, "no kernel is called 'fast'"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str) -> None:
    with pytest.raises(SystemExit) as end:
        kedge.cli.main(arguments)
    assert end.value.code == status
    text = capsys.readouterr()
    assert words in text.out + text.err
