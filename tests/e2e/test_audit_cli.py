"""`kedge audit`, `kedge keygen` and `kedge bundle sign | attest` as a user runs them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kedge.audit import files
from kedge.audit.record import Actor, Draft

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    database = files.connect(directory)
    log = files.open_log(directory, database, software="kedge test")
    alice = Actor(name="alice", authenticated_by="token")
    for epoch, model in enumerate(("flights", "taxis", "flights")):
        log.append(
            Draft(
                action="rollout.promoted",
                actor=alice,
                model=model,
                epoch=epoch,
                previous_state="BAKING",
                next_state="LIVE",
            )
        )
    database.close()
    return directory


def test_list_shows_the_newest_records(kedge: Callable[..., Any], state: Path) -> None:
    done = kedge("audit", "list", "--state", state)
    assert (done.status, done.err) == (0, "")
    for words in ("log.created", "rollout.promoted", "alice", "BAKING -> LIVE", "taxis"):
        assert words in done.out
    value = kedge("audit", "list", "--state", state, "--last", "1", "--model", "flights", "--json").json
    assert value["size"] == 4
    assert [record["sequence"] for record in value["records"]] == [3]


def test_show_shows_one_record(kedge: Callable[..., Any], state: Path) -> None:
    done = kedge("audit", "show", "2", "--state", state)
    assert done.status == 0
    assert "taxis" in done.out
    assert kedge("audit", "show", "2", "--state", state, "--json").json["record"]["model"] == "taxis"
    done = kedge("audit", "show", "9", "--state", state)
    assert (done.status, done.err) == (2, "error: the log has no record 9; it has 4, from 0\n")


def test_verify_answers_yes_or_names_what_is_wrong(kedge: Callable[..., Any], state: Path, tmp_path: Path) -> None:
    done = kedge("audit", "verify", "--state", state)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("ok log kedge.log/")
    value = kedge("audit", "verify", "--state", state, "--json").json
    assert (value["ok"], value["size"], value["second_file"], value["remarks"]) == (True, 4, 4, [])
    key = tmp_path / "log.vkey"
    key.write_text(value["keys"][0]["key"] + "\n")
    assert kedge("audit", "verify", "--state", state, "--key", key).status == 0
    assert kedge("audit", "verify", "--state", state, "--key", value["keys"][0]["key"]).status == 0

    database = sqlite3.connect(state / "kedge.db")
    database.execute("DROP TRIGGER audit_record_delete")
    database.execute("DELETE FROM audit_record WHERE seq = 3")
    database.commit()
    database.close()
    done = kedge("audit", "verify", "--state", state)
    assert (done.status, done.err) == (1, "")
    assert "tail-truncated: record 3 is missing at the end" in done.out
    assert "schema-changed: 'audit_record_delete'" in done.out
    kinds = [one["kind"] for one in kedge("audit", "verify", "--state", state, "--json").json["findings"]]
    assert "tail-truncated" in kinds
    done = kedge("audit", "export", "--state", state, "-o", tmp_path / "x.zip")
    assert (done.status, (tmp_path / "x.zip").exists()) == (2, False)
    assert done.err.startswith("error: the log does not verify")


def test_export_verifies_without_kedge(kedge: Callable[..., Any], state: Path, tmp_path: Path) -> None:
    pack = tmp_path / "evidence.zip"
    done = kedge("audit", "export", "--state", state, "-o", pack)
    assert (done.status, done.err) == (0, "")
    program = tmp_path / "verify.py"
    program.write_bytes(zipfile.ZipFile(pack).read("verify.py"))
    alone = (
        "import runpy, sys; sys.modules['kedge'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", alone, str(program), str(pack)],
        capture_output=True,
        text=True,
        check=False,
        env={},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("OK: log kedge.log/")


def test_a_running_servers_log_is_read_without_touching_it(kedge: Callable[..., Any], state: Path) -> None:
    database = files.connect(state)
    log = files.open_log(state, database, software="kedge test")
    log.append(Draft(action="test.appended", actor=Actor(name="x", authenticated_by="none")))
    before = (state / "kedge.db").read_bytes()
    value = kedge("audit", "verify", "--state", state, "--json").json
    assert (value["ok"], value["size"]) == (True, 5)
    assert (state / "kedge.db").read_bytes() == before
    database.close()


def test_keygen_makes_a_private_pair_once(kedge: Callable[..., Any], tmp_path: Path) -> None:
    done = kedge("keygen", tmp_path / "build.key", "--witness", "example.com/w", "--json")
    assert done.status == 0
    assert len(done.json["id"]) == 64
    assert done.json["witness"].startswith("example.com/w+")
    assert (tmp_path / "build.key").stat().st_mode & 0o777 == 0o600
    again = kedge("keygen", tmp_path / "build.key")
    assert again.status == 2
    assert again.err.endswith("keys are never written over, choose another name\n")
    assert kedge("keygen", tmp_path / "other.key", "--witness", "two words").status == 2
    assert not (tmp_path / "other.key").exists()


def test_sign_and_attest_write_beside_the_archive(
    kedge: Callable[..., Any], bundles: Callable[..., Path], tmp_path: Path
) -> None:
    archive = tmp_path / "flights-1.0.0.kedge"
    archive.write_bytes(bundles().read_bytes())
    before = archive.read_bytes()
    for name in ("build", "eval"):
        kedge("keygen", tmp_path / f"{name}.key")
    claims = tmp_path / "claims.json"
    claims.write_text('{"accuracy": 0.91}')
    signed = kedge("bundle", "sign", archive, "--key", tmp_path / "build.key", "--json").json
    attested = kedge("bundle", "attest", archive, "--key", tmp_path / "eval.key", "--claims", claims, "--json").json
    assert archive.read_bytes() == before
    assert (signed["role"], attested["role"]) == ("builder", "evaluator")
    assert signed["bundle"] == attested["bundle"] == kedge("bundle", "inspect", archive, "--json").json["id"]
    for result in (signed, attested):
        assert Path(result["path"]).name.startswith(f"flights-1.0.0.kedge.{result['role']}-")
        assert json.loads(Path(result["path"]).read_bytes())["payloadType"] == "application/vnd.in-toto+json"
    (tmp_path / "build.key").chmod(0o644)
    done = kedge("bundle", "sign", archive, "--key", tmp_path / "build.key")
    assert done.status == 2
    assert "chmod 600" in done.err


def test_verify_with_a_policy_asks_for_signatures(
    kedge: Callable[..., Any], bundles: Callable[..., Path], tmp_path: Path
) -> None:
    archive = tmp_path / "flights-1.0.0.kedge"
    archive.write_bytes(bundles().read_bytes())
    kedge("keygen", tmp_path / "build.key")
    policy = tmp_path / "policy.yaml"
    policy.write_text("require: [builder]\nkeys:\n  - {public: build.key.pub, roles: [builder]}\n")
    assert kedge("bundle", "verify", archive).status == 0
    done = kedge("bundle", "verify", "--policy", policy, archive)
    assert (done.status, done.err) == (1, "")
    assert "no valid signature of a key in the role 'builder'" in done.out
    kedge("bundle", "sign", archive, "--key", tmp_path / "build.key")
    done = kedge("bundle", "verify", "--policy", policy, archive, "--json")
    assert done.status == 0
    assert [one["role"] for one in done.json["bundles"][0]["signed"]] == ["builder"]
    policy.write_text(policy.read_text().replace("roles: [builder]}", "roles: [builder], until: 2026-01-02T00:00:00Z}"))
    done = kedge("bundle", "verify", "--policy", policy, archive)
    assert done.status == 1
    assert "expired on 2026-01-02T00:00:00Z" in done.out
    policy.write_text("keys: [")
    assert kedge("bundle", "verify", "--policy", policy, archive).status == 2


@pytest.mark.parametrize(
    "command",
    [("audit", "list"), ("audit", "show"), ("audit", "verify"), ("audit", "export"), ("keygen",), ("bundle", "sign"),
     ("bundle", "attest")],
)  # fmt: skip
def test_help_has_an_example_and_bad_input_is_one_line(
    kedge: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = kedge(*command, "--help")
    assert done.status == 0
    assert f"kedge {' '.join(command)} " in done.out
    assert kedge(*command).status == 2
    if command[0] == "audit":
        extra = {"show": ("1",), "export": ("-o", tmp_path / "x")}.get(command[1], ())
        done = kedge(*command, "--state", tmp_path, *extra)
        assert done.status == 2
        assert done.err.startswith("error: no database '")
        assert done.err.count("\n") == 1
