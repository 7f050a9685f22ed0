"""`kedge bundle lineage | card | attest --provenance`, as a user runs them."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kedge.audit import files, keys
from kedge.audit.record import Actor, Draft
from kedge.bundle.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def archive(bundles: Callable[..., Path], tmp_path: Path) -> Path:
    """With a signature and its provenance beside it."""
    return Path(shutil.copy(bundles(), tmp_path / "flights-1.0.0.kedge"))


def test_lineage_is_a_tree_of_all_that_is_known(kedge: Callable[..., Any], archive: Path, tmp_path: Path) -> None:
    keys.generate(tmp_path / "build.key")
    (tmp_path / "policy.yaml").write_text("require: [builder]\nkeys: [{public: build.key.pub, roles: [builder]}]\n")
    assert kedge("bundle", "sign", archive, "--key", tmp_path / "build.key").status == 0
    signed = kedge("bundle", "attest", archive, "--key", tmp_path / "build.key", "--provenance", "--json").json

    envelope = json.loads(Path(signed["path"]).read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"][0]["digest"] == {"sha256": signed["bundle"]}
    assert statement["subject"][1]["digest"] == {"sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    assert statement["predicate"].keys() == {"buildDefinition", "runDetails"}

    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    stored = Store(state / "store").add(archive)
    database = files.connect(state)
    alice = Actor(name="alice", authenticated_by="token")
    files.open_log(state, database, software="test").append(
        Draft(action="rollout.deployed", actor=alice, bundle=stored.id, previous_state="WARM", next_state="LIVE")
    )
    database.close()
    done = kedge("bundle", "lineage", archive, "--state", state, "--policy", tmp_path / "policy.yaml")
    assert (done.status, done.err) == (0, "")
    for words in (
        "flights 1.0.0", "parents: none", "reference: ", "accuracy", "builder, key", ": verified",
        "rollout.deployed by alice: WARM -> LIVE (record 1)", "onnxruntime",
    ):  # fmt: skip
        assert words in done.out, done.out
    assert next(line for line in done.out.splitlines() if "provenance, key" in line).endswith(": verified")
    keys.generate(tmp_path / "other.key")
    other = tmp_path / "other.yaml"
    other.write_text("require: [builder]\nkeys: [{public: other.key.pub, roles: [builder]}]\n")
    facts = kedge("bundle", "lineage", archive, "--policy", other, "--json").json["attestations"]
    assert {(fact["role"], fact["verified"]) for fact in facts} == {("builder", False), ("provenance", False)}

    found = kedge("bundle", "lineage", stored.id[:10], "--state", state, "--json").json
    assert (found["id"], found["attestations"], len(found["records"])) == (stored.id, [], 1)
    assert {one["name"] for one in found["dependencies"]} >= {"model", "reference"}
    done = kedge("bundle", "lineage", "0" * 12, "--state", state)
    assert (done.status, done.err.startswith("error: no bundle '000000000000'")) == (2, True)
    named = kedge("bundle", "lineage", f"{found['name']}-{found['version']}", "--state", state, "--json").json
    assert named["id"] == stored.id


def test_a_card_is_written_from_what_the_bundle_says(kedge: Callable[..., Any], archive: Path, tmp_path: Path) -> None:
    done = kedge("bundle", "card", archive, "-o", tmp_path / "card.md")
    assert (done.status, done.err) == (0, "")
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# flights 1.0.0\n")
    state = Store(tmp_path / "store").add(archive)
    assert (state.directory / "docs/modelcard.md").read_text() == text, "the bundle carries the same card"
