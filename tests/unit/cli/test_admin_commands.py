"""The commands of the admin port against a real one: what they do, print and exit with."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import admins, flights

import kedge.cli
from kedge.admin import tokens
from kedge.admin.access import Access, local_actor
from kedge.rollout import plan as plans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kedge_testing.admins import Port

PLAN = "strategy: canary\nsteps: [{share: 50%, approval: true}]\nbaking: null\n"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("archives")
    return flights.bundle(root / "1", version="1.0.0"), flights.bundle(root / "2", version="2.0.0", bias=0.1)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    with admins.listening(tmp_path / "state") as port:
        yield port


@pytest.fixture
def kedge_(port: Port, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command against the port."""
    monkeypatch.delenv("KEDGE_ADMIN_TOKEN", raising=False)

    def run(*arguments: object) -> SimpleNamespace:
        with pytest.raises(SystemExit) as end:
            kedge.cli.main([*map(str, arguments), "--admin", port.server.address])
        text = capsys.readouterr()
        return SimpleNamespace(status=end.value.code, out=text.out, err=text.err)

    return run


def answer(done: Any) -> Any:
    assert (done.status, done.err) == (0, ""), done
    return json.loads(done.out)


def test_a_person_deploys_watches_pauses_promotes_and_rolls_back(
    kedge_: Callable[..., Any], archives: tuple[Path, Path], tmp_path: Path, port: Port
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    first = answer(kedge_("deploy", archives[0], "--strategy", "swap", "--wait", "--json"))
    assert (first["version"], first["rollout"]["state"]) == ("1.0.0", "LIVE")
    text = kedge_("deploy", archives[1], "--plan", plan, "--reason", "trained to June")
    assert text.status == 0
    assert "flights 2.0.0 against 1.0.0: CANARY, step 1 of 1, 50 % of requests" in text.out
    assert "fits now: promote, pause, abort, rollback" in text.out
    port.rollouts.tick()
    status = kedge_("status", "flights")
    assert "CANARY, step 1 of 1" in status.out
    assert "errors" in status.out
    assert "PAUSED in CANARY" in kedge_("pause", "flights", "--reason", "look").out
    assert "paused by local" in kedge_("status").out
    assert "has changed since" in kedge_("resume", "flights", "--if-revision", "0").err
    revision = answer(kedge_("status", "--json"))["models"][0]["revision"]
    resumed = answer(kedge_("resume", "flights", "--if-revision", revision, "--json"))
    assert resumed["rollout"]["state"] == "CANARY"
    promoted = answer(kedge_("promote", "flights", "--json"))
    assert (promoted["version"], promoted["last_good"]["version"]) == ("2.0.0", "1.0.0")
    back = kedge_("rollback", "flights", "--reason", "late flights missed [/ticket 812]")
    assert "1.0.0 is live" in back.out
    assert "kedge rollback flights --advise" in back.out
    assert "2.0.0" in kedge_("quarantine", "list").out
    refused = kedge_("deploy", "flights-2.0.0")
    assert refused.status == 2
    assert "kedge quarantine clear flights-2.0.0" in refused.err
    assert kedge_("quarantine", "clear", "flights-2.0.0", "--reason", "mended").status == 0
    assert kedge_("deploy", "flights-2.0.0", "--plan", plan).status == 0
    assert answer(kedge_("abort", "flights", "--json"))["rollout"]["state"] == "ABORTED"
    events = answer(kedge_("events", "flights", "--last", "200", "--json"))["events"]
    assert events[-1]["next_state"] == "ABORTED"
    assert "rollout." in kedge_("events", "--last", "3").out
    assert len(kedge_("events", "--last", "3").out.splitlines()) == 3
    assert "[/ticket 812]" in kedge_("events").out, "words of people are shown as they are"
    assert kedge_("events", "nobody").out == "no such event of nobody\n"


def test_advice_changes_nothing(kedge_: Callable[..., Any], archives: tuple[Path, Path]) -> None:
    for archive in archives:
        assert kedge_("deploy", archive, "--strategy", "swap").status == 0
    advice = answer(kedge_("rollback", "flights", "--advise", "--json"))
    assert [(item["version"], item["last_good"]) for item in advice["bundles"]] == [("1.0.0", True)]
    assert (advice["rows"], advice["best"]) == (0, None)
    text = kedge_("rollback", "flights", "--advise")
    assert text.status == 0
    assert "no current rows are known" in text.out
    assert "last good" in text.out
    assert answer(kedge_("status", "--json"))["models"][0]["version"] == "2.0.0"


def test_bundles_are_uploaded_listed_and_deleted(kedge_: Callable[..., Any], archives: tuple[Path, Path]) -> None:
    assert "the store is empty" in kedge_("bundles", "list").out
    sent = answer(kedge_("bundles", "upload", archives[0], "--json"))
    assert kedge_("bundles", "upload", archives[1]).out.startswith("stored flights 2.0.0")
    listed = answer(kedge_("bundles", "list", "--json"))
    assert [item["version"] for item in listed["bundles"]] == ["1.0.0", "2.0.0"]
    assert "never deployed" in kedge_("bundles", "list").out
    assert answer(kedge_("bundles", "get", sent["id"][:12], "--json"))["manifest"]["version"] == "1.0.0"
    assert sent["id"] in kedge_("bundles", "get", "flights-1.0.0").out
    assert "deleted bundle" in kedge_("bundles", "delete", "flights-2.0.0", "--reason", "old").out
    assert "no such bundle" in kedge_("bundles", "list", "--model", "trains").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rollback", "flights"], "needs --reason TEXT"),
        (["rollback", "flights", "--advise", "--to", "x"], "--advise changes nothing"),
        (["rollback", "flights", "--reason", "x"], "no model 'flights'"),
        (["promote", "flights"], "no model 'flights'"),
        (["bundles", "delete", "flights-1.0.0"], "needs --reason TEXT"),
        (["bundles", "upload", "none.kedge"], "'none.kedge' is not a file"),
        (["bundles", "upload", __file__], "test_admin_commands.py: header of bundle.json: not a bundle archive"),
        (["deploy", __file__], "test_admin_commands.py: header of bundle.json: not a bundle archive"),
        (["quarantine", "clear", "flights-1.0.0"], "needs --reason TEXT"),
        (["deploy", "none.kedge"], "'none.kedge' is no file"),
        (["deploy", "flights-1.0.0"], "no bundle 'flights-1.0.0'"),
        (["deploy", "flights-1.0.0", "--plan", "none.yaml"], "none.yaml"),
        (["deploy", "flights-1.0.0", "--strategy", "yolo"], "'yolo' is no strategy; use swap, shadow, canary"),
        (["outcomes", "flights", "--label", "late"], "give their file by --input"),
        (["outcomes", "flights", "--ids", "id"], "give their file by --input"),
        (["status", "--token-file", "none"], "--token-file: cannot read 'none': No such file"),
        (["status", "--tls-ca", "none"], "cannot read 'none'"),
        (["status", "--tls-key", "none"], "go together"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(kedge_: Callable[..., Any], arguments: list[str], words: str) -> None:
    done = kedge_(*arguments)
    assert (done.status, done.out) == (2, "")
    assert words in done.err
    assert done.err.count("\n") == 1


def test_a_plan_that_is_none_is_named_with_its_place(
    kedge_: Callable[..., Any], archives: tuple[Path, Path], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("steps: [{share: 120%}]\n")
    done = kedge_("deploy", archives[0], "--plan", plan)
    assert done.status == 2
    assert str(plan) in done.err
    assert "share" in done.err


def test_waiting_for_a_rollout_that_pauses_is_no(
    kedge_: Callable[..., Any], archives: tuple[Path, Path], tmp_path: Path, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    assert kedge_("deploy", archives[0], "--strategy", "swap").status == 0

    def pauses(seconds: float) -> None:
        with port.client() as client:
            client.pause("flights")

    monkeypatch.setattr("kedge.cli.following.time.sleep", pauses)
    done = kedge_("deploy", archives[1], "--plan", plan, "--wait", "--json")
    assert done.status == 1
    assert json.loads(done.out)["rollout"]["state"] == "PAUSED"


def test_a_token_comes_from_a_file_or_the_environment(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mine = tmp_path / "tokens", tmp_path / "mine"

    def run(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as end:
            kedge.cli.main([*map(str, arguments)])
        text = capsys.readouterr()
        return end.value.code, text.out, text.err

    status, token, said = run("token", "new", "vera", "--role", "viewer", "--tokens", file)
    assert (status, token.count("\n")) == (0, 1)
    assert "not shown again" in said
    mine.write_text(token)
    with admins.listening(tmp_path / "state", access=Access(tokens=file, local=local_actor(unix=False))) as port:
        there = ("--admin", port.server.address)
        monkeypatch.delenv("KEDGE_ADMIN_TOKEN", raising=False)
        assert "send a token (--token-file, KEDGE_ADMIN_TOKEN)" in run("status", *there)[2]
        assert run("status", "--token-file", mine, *there)[0] == 0
        monkeypatch.setenv("KEDGE_ADMIN_TOKEN", token.strip())
        assert run("status", *there)[0] == 0
        assert "'kedge pause' needs role 'operator'; 'vera' is 'viewer'" in run("pause", "flights", *there)[2]
        assert "vera" in run("token", "list", "--tokens", file)[1]
        assert run("token", "revoke", "vera", "--tokens", file)[0] == 0
        assert "it may have been revoked" in run("status", *there)[2]
    assert token.strip() not in file.read_text()
    assert tokens.read(file) == ()
    mine.write_text("")
    assert "holds no token" in run("status", "--token-file", mine, "--admin", "127.0.0.1:1")[2]


def test_the_plan_of_the_page_on_rollouts_is_what_happens_without_one() -> None:
    text = (Path(__file__).resolve().parents[3] / "src/kedge/rollout/README.md").read_text()
    (block,) = re.findall(r"```yaml\n# plan\.yaml.*?\n(.*?)```", text, re.DOTALL)
    assert plans.read(yaml.safe_load(block)) == plans.Plan.default("canary")
