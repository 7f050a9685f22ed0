"""An evidence pack is verified by a program that knows nothing of Kedge, and finds whatever was done to the pack."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from kedge.audit import dsse, files, keys, sidecars
from kedge.audit.checkpoint import Checkpoint
from kedge.audit.counts import CountStore
from kedge.audit.errors import AuditError
from kedge.audit.export import export
from kedge.audit.frontier import Frontier
from kedge.audit.merkle import leaf_hash
from kedge.audit.policy import Policy
from kedge.audit.reader import Reader
from kedge.audit.statement import PAYLOAD_TYPE, Attestation, Subject, provenance_payload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.audit.record import Draft

MANIFEST = b'{"format":"kedge.bundle/1","name":"flights"}'
BUNDLE = hashlib.sha256(MANIFEST).hexdigest()
WITHOUT_KEDGE = (
    "import runpy, sys; sys.modules['kedge'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True)
class Judged:
    status: int
    text: str


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Judged]:
    """Run the verifier that is in a pack, where no import of kedge can succeed."""

    def run(pack: Path, *arguments: str, program: Path | None = None) -> Judged:
        if program is None:
            program = tmp_path / "verify.py"
            program.write_bytes(zipfile.ZipFile(pack).read("verify.py"))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, "-I", "-c", WITHOUT_KEDGE, str(program), str(pack), *arguments],
            capture_output=True, text=True, timeout=60, check=False, env=environment,
        )  # fmt: skip
        assert done.stderr == ""
        return Judged(done.returncode, done.stdout)

    return run


@pytest.fixture
def pack(state, draft: Draft, make_signer, tmp_path: Path) -> Path:
    """Of a log with a rotation, a witness, two bundles (one of them deleted) and an attestation."""
    witness = make_signer("example.com/witness", 6)
    log = state.open(witness)
    log.append(draft)
    kept = draft.model_copy(update={"bundle": BUNDLE})
    with log.transaction() as work:
        for _ in range(3):
            work.append(kept)
    files.rotate(state.directory, log)
    for _ in range(4):
        log.append(kept)
    store = state.directory / "store"
    stored = store / "sha256" / BUNDLE
    stored.mkdir(parents=True)
    (stored / "bundle.json").write_bytes(MANIFEST)
    builder = make_signer("builder", 8).private
    for role in ("builder", "approver"):
        made = Attestation(Subject(BUNDLE, "flights", "1.0.0"), role, datetime(2027, 1, 1, tzinfo=UTC)).sign(builder)
        sidecars.keep(sidecars.folder(stored), "", role, made)
    provenance = provenance_payload(Subject(BUNDLE, "flights", "1.0.0"), "ab" * 32, {"buildDefinition": {}})
    sidecars.keep(sidecars.folder(stored), "", "provenance", dsse.sign(PAYLOAD_TYPE, provenance, builder))
    policy = Policy.model_validate(
        {"require": ["builder"], "keys": [{"public": keys.public_pem(builder.public_key()), "roles": ["builder"]}]}
    )
    counts = CountStore(state.directory / "counts")
    windows = [{"counts": counts.put(b"counted")}, {"counts": "00" * 32, "memory": counts.put(b"remembered")}]
    log.append(kept.model_copy(update={"details": {"windows": windows}}))
    report = state.verify(witnesses=(witness.witness,))
    out = tmp_path / "evidence.zip"
    with Reader(state.database) as reader:
        lines = state.second.lines
        missing = export(reader, report, out, store=store, second=lines(), policy=policy, counts=counts)
        again = tmp_path / "again.zip"
        export(reader, report, again, store=store, second=lines(), policy=policy, counts=counts)
    assert missing == (draft.bundle,)
    assert again.read_bytes() == out.read_bytes()
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.read(name) for name in archive.namelist() if name.startswith("counts/")) == [
            b"counted",
            b"remembered",
        ]
        assert json.loads(archive.read("pack.json"))["counts_left_out"] == 1
    return out


def test_a_pack_verifies_without_kedge_and_says_what_it_proves(
    pack: Path, judge: Callable[..., Judged], state, make_signer
) -> None:
    result = judge(pack)
    assert result.status == 0, result.text
    for words in (
        "11 records", "This proves:", "each of 9 checkpoints", "19 inclusion and consistency proofs",
        "1 bundle manifests", "vouches for its own key", "no --witness was given",
        f"signed by a key that policy.json pins for the role: builder of bundle {BUNDLE[:12]}", "2027-01-01T00:00:00Z",
        f"provenance of bundle {BUNDLE[:12]}, dated not at all",
        "This does not prove:", "manifests are not here: abababababab",
    ):  # fmt: skip
        assert words in result.text, result.text
    lacks = result.text[result.text.index("This does not prove:") :]
    assert f"signed by no key that policy.json pins for the role: approver of bundle {BUNDLE[:12]}" in lacks
    assert "that policy.json pins the right keys" in lacks
    for key in files.known_keys(state.directory):
        assert key.vkey in result.text
        pinned = judge(pack, "--key", key.vkey, "--witness", make_signer("example.com/witness", 6).witness.vkey)
        assert pinned.status == 0, pinned.text
        assert "cosigned by the witness example.com/witness" in pinned.text
        assert "vouches for its own key" not in pinned.text


def test_another_key_or_witness_than_expected_is_found(pack: Path, judge: Callable[..., Judged], make_signer) -> None:
    for option, vkey in (
        ("--key", make_signer("x", 1).verifier.vkey),
        ("--witness", make_signer("example.com/witness", 1).witness.vkey),
        ("--key", "nonsense"),
    ):
        result = judge(pack, option, vkey)
        assert result.status == 1
        assert result.text.startswith("FAILED: ")


def rebuilt(pack: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The pack with changed files, and digests that fit them again."""
    archive = zipfile.ZipFile(pack)
    content = {name: archive.read(name) for name in archive.namelist()}
    index = json.loads(content.pop("pack.json"))
    change(content)
    index["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    content["pack.json"] = json.dumps(index).encode()
    out = pack.with_name("changed.zip")
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return out


def without_line(name: str, number: int) -> Callable[[dict[str, bytes]], None]:
    def change(content: dict[str, bytes]) -> None:
        lines = content[name].splitlines(keepends=True)
        del lines[number]
        content[name] = b"".join(lines)

    return change


def replacing(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(content: dict[str, bytes]) -> None:
        assert old in content[name]
        content[name] = content[name].replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replacing("records.jsonl", b'"epoch":7', b'"epoch":8'), "checkpoint 1: the records up to 1 are not the ones"),
        (replacing("records.jsonl", b'"sequence":3', b'"sequence": 3'), "record 3: not in canonical form"),
        (without_line("records.jsonl", 4), "record 4: says it is 5"),
        (without_line("records.jsonl", -1), "it covers records that are missing"),
        (without_line("checkpoints.jsonl", -1), "not covered by a checkpoint"),
        (without_line("checkpoints.jsonl", 2), "second file, line 3: it saw another tree of 5 records"),
        (replacing("proofs.jsonl", b'"second":5', b'"second":4'), "proof 1 is about a tree that no checkpoint"),
        (replacing("proofs.jsonl", b'"second":5', b'"second":6'), "proof 1 does not hold"),
        (replacing("checkpoints.jsonl", b"\\n2\\n", b"\\n3\\n"), "checkpoint 1: the signature of"),
        (replacing("second.jsonl", b"\\n2\\n", b"\\n3\\n"), "second file, line 2: the signature of"),
        (replacing("proofs.jsonl", b'"index":5', b'"index":6'), "proofs.jsonl: proof"),
        (replacing("keys.json", b'"first":1', b'"first":2'), "keys.json: not the keys that the records name"),
        (replacing(f"manifests/{BUNDLE}.json", b"flights", b"flight5"), "its SHA-256 is not the bundle's id"),
        (lambda content: content.pop("records.jsonl"), "records.jsonl"),
    ],
)
def test_whatever_was_changed_in_a_pack_is_named(
    pack: Path, judge: Callable[..., Judged], change: Callable[[dict[str, bytes]], None], words: str
) -> None:
    result = judge(rebuilt(pack, change))
    assert result.status == 1
    assert result.text.startswith("FAILED: ")
    assert words in result.text


def test_counts_under_another_digest_are_named(pack: Path, judge: Callable[..., Judged]) -> None:
    def change(content: dict[str, bytes]) -> None:
        content[next(name for name in content if name.startswith("counts/"))] = b"counted otherwise"

    assert "counts/" in judge(rebuilt(pack, change)).text


def test_an_attestation_of_another_bundle_is_named(pack: Path, judge: Callable[..., Judged]) -> None:
    def change(content: dict[str, bytes]) -> None:
        name = next(name for name in content if name.startswith("attestations/"))
        content[f"attestations/{'00' * 32}/x.dsse.json"] = content.pop(name)

    assert "it is about another bundle" in judge(rebuilt(pack, change)).text


def test_a_file_that_is_not_listed_is_named(pack: Path, judge: Callable[..., Judged], tmp_path: Path) -> None:
    program = tmp_path / "verify.py"
    program.write_bytes(zipfile.ZipFile(pack).read("verify.py"))
    with zipfile.ZipFile(pack, "a") as archive:
        archive.writestr("extra.txt", b"")
    assert "other files than it lists" in judge(pack, program=program).text
    pack.write_bytes(b"no zip")
    assert judge(pack, program=program).status == 1
    assert judge(tmp_path / "absent", program=program).status == 2


def test_flipped_bits_of_a_pack_are_found(pack: Path, judge: Callable[..., Judged], tmp_path: Path) -> None:
    program = tmp_path / "verify.py"
    program.write_bytes(zipfile.ZipFile(pack).read("verify.py"))
    whole = pack.read_bytes()
    content = {name: zipfile.ZipFile(pack).read(name) for name in zipfile.ZipFile(pack).namelist()}
    chance = random.Random(8785)
    for _ in range(8):
        at = chance.randrange(len(whole))
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        if judge(pack, program=program).status == 0:
            archive = zipfile.ZipFile(pack)  # a bit of a date or an attribute, which says nothing
            assert {name: archive.read(name) for name in archive.namelist()} == content


def test_a_log_that_does_not_verify_is_not_exported(state, draft: Draft, tmp_path: Path) -> None:
    log = state.open()
    log.append(draft)
    log.database.execute("DROP TRIGGER audit_record_delete")
    report = state.verify()
    with Reader(state.database) as reader, pytest.raises(AuditError, match="does not verify"):
        export(reader, report, tmp_path / "x.zip", store=tmp_path)
    assert not (tmp_path / "x.zip").exists()


def test_a_pack_that_cannot_be_written_leaves_nothing(state, tmp_path: Path) -> None:
    state.open()
    report = state.verify()
    with Reader(state.database) as reader, pytest.raises(AuditError, match="cannot write"):
        export(reader, report, tmp_path / "absent" / "x.zip", store=tmp_path)


def test_a_link_that_waits_where_a_file_will_be_is_not_followed(pack: Path, state, make_signer, tmp_path: Path) -> None:
    """Evidence and attestations are written beside archives, in directories that others may write as well."""
    target = tmp_path / "target"
    target.write_text("mine")
    out = tmp_path / "new.zip"
    name = "a.kedge.builder-" + dsse.sign("x", b"", make_signer("b", 8).private).signatures[0][0][:12] + ".dsse.json"
    for waiting in (out, out.with_name(f".{out.name}.partial"), tmp_path / name, tmp_path / f".{name}.partial"):
        waiting.symlink_to(target)
    with Reader(state.database) as reader:
        export(reader, state.verify(), out, store=state.directory / "store")
    sidecars.keep(tmp_path, "a.kedge.", "builder", dsse.sign("x", b"", make_signer("b", 8).private))
    assert target.read_text() == "mine"
    assert not out.is_symlink()
    assert not (tmp_path / name).is_symlink()


def repacked(pack: Path, out: Path, method: int = zipfile.ZIP_DEFLATED, **changed: bytes) -> Path:
    """The pack with files replaced, its index made to fit, packed by another method."""
    with zipfile.ZipFile(pack) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {f"{name}.json": data for name, data in changed.items()}
    index = json.loads(content["pack.json"])
    index["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in content.items() if name != "pack.json"}
    content["pack.json"] = json.dumps(index).encode()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return out


def test_a_pack_that_unpacks_to_more_than_it_should_is_refused(
    pack: Path, judge: Callable[..., Judged], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_bytes(zipfile.ZipFile(pack).read("verify.py"))
    bomb = repacked(pack, tmp_path / "bomb.zip", policy=b" " * (65 << 20))
    assert bomb.stat().st_size < 1 << 20
    for given, words in (
        (bomb, "policy.json: unpacks to more than"),
        (repacked(pack, tmp_path / "bz2.zip", zipfile.ZIP_BZIP2), "is not packed by deflate"),
    ):
        found = judge(given, program=program)
        assert (found.status, words in found.text) == (1, True), found.text


def test_what_a_pack_says_of_itself_is_one_line_that_steers_no_terminal(
    pack: Path, judge: Callable[..., Judged], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_bytes(zipfile.ZipFile(pack).read("verify.py"))
    statement = {
        "subject": [{"digest": {"sha256": BUNDLE}}],
        "predicate": {"role": "approver", "signedAt": "now\n  - all of this is true\x1b[2K"},
    }
    envelope = {
        "payload": base64.b64encode(json.dumps(statement).encode()).decode(),
        "payloadType": "x",
        "signatures": [],
    }
    with zipfile.ZipFile(pack) as archive:
        signed = next(name for name in archive.namelist() if name.startswith(f"attestations/{BUNDLE}/approver"))
    forged = repacked(pack, tmp_path / "b.zip", **{signed.removesuffix(".json"): json.dumps(envelope).encode()})
    told = judge(forged, program=program)
    assert told.status == 0, told.text
    assert "dated now?  - all of this is true?[2K" in told.text


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "counts/../../escaped"])  # noqa: S108
def test_a_pack_whose_files_have_paths_elsewhere_writes_nothing(
    pack: Path, judge: Callable[..., Judged], tmp_path: Path, name: str
) -> None:
    program = tmp_path / "program.py"
    program.write_bytes(zipfile.ZipFile(pack).read("verify.py"))
    before = sorted(tmp_path.rglob("*"))
    with zipfile.ZipFile(pack, "a") as archive:
        archive.writestr(name, b"x")
    found = judge(pack, program=program)
    assert (found.status, "holds other files than it lists" in found.text) == (1, True), found.text
    assert sorted(tmp_path.rglob("*")) == before


def test_rotations_that_no_key_of_the_log_signed_are_found(
    pack: Path, judge: Callable[..., Judged], state, make_signer
) -> None:
    def forge(content: dict[str, bytes]) -> None:
        records = content["records.jsonl"].splitlines()
        keys_known = json.loads(content["keys.json"])
        last = keys_known[-1]["key"]
        thieves = [make_signer(last.partition("+")[0], seed) for seed in (1, 2)]
        frontier = Frontier()
        for thief in thieves:
            details = {"key": thief.verifier.vkey, "previous": last}
            value = {"action": "log.key_rotated", "details": details, "sequence": len(records)}
            records.append(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
            last = thief.verifier.vkey
        for one in records:
            frontier.append(leaf_hash(one))
        note = Checkpoint(thieves[0].name, len(records), frontier.root()).sign(*thieves)
        size = len(records)
        history = [{"key": thief.verifier.vkey, "first": size - 1 + i} for i, thief in enumerate(thieves)]
        history[0]["last"] = size
        history[1]["last"] = None
        content["records.jsonl"] = b"\n".join([*records, b""])
        content["checkpoints.jsonl"] += json.dumps({"note": note.to_bytes().decode()}).encode() + b"\n"
        content["keys.json"] = json.dumps(keys_known + history).encode()

    newest = files.known_keys(state.directory)[-1]
    result = judge(rebuilt(pack, forge), "--key", newest.vkey)
    assert result.status == 1, result.text
    assert result.text.startswith("FAILED: checkpoint 9: not signed by "), result.text


def test_a_manifest_of_a_bundle_that_no_record_names_is_found(pack: Path, judge: Callable[..., Judged]) -> None:
    other = hashlib.sha256(b"{}").hexdigest()
    result = judge(rebuilt(pack, lambda content: content.update({f"manifests/{other}.json": b"{}"})))
    assert result.status == 1, result.text
    assert "no record names that bundle" in result.text
