"""What a policy asks at the doors, what a change of it leaves in the log, and under which names people enter it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge.audit import files, keys, settings, sidecars
from kedge.audit.clock import Moment
from kedge.audit.doors import Doors, note_policy
from kedge.audit.errors import KeyFileError, PolicyError, SignatureError
from kedge.audit.gate import BundleRefusedError
from kedge.audit.policy import Policy
from kedge.audit.record import SYSTEM, Actor, Draft, Record
from kedge.audit.statement import Attestation, Subject
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2027, 6, 1, tzinfo=UTC)


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def policy(until: str | None = None, *seeds: int, **changes: Any) -> Policy:
    pems = [keys.public_pem(key(seed).public_key()) for seed in seeds or (1,)]
    value = {"require": ["builder"], "keys": [{"public": pem, "roles": ["builder"], "until": until} for pem in pems]}
    return Policy.model_validate(value | changes)


@dataclass(frozen=True)
class Made:
    id: str
    name: str = "flights"
    version: str = "1.2.0"


OLD, BUNDLE, NEW = Made("aa" * 32, version="1.1.0"), Made("bb" * 32), Made("cc" * 32, version="1.10.0")


@pytest.fixture
def doors(tmp_path: Path) -> Callable[[Policy | None], Doors]:
    return lambda rules: Doors(rules, tmp_path / "store", lambda: Moment(int(NOW.timestamp()) * 10**9, "test"))


def sign(archive: Path, bundle: Made, seed: int = 1) -> None:
    envelope = Attestation(Subject(bundle.id, bundle.name, bundle.version), "builder", NOW).sign(key(seed))
    sidecars.keep(archive.parent, f"{archive.name}.", "builder", envelope)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Where an archive would lie; only what lies beside it is read."""
    (tmp_path / "store" / "sha256").mkdir(parents=True)
    return tmp_path / "flights.kedge"


def test_a_signed_bundle_passes_every_door(doors: Callable[..., Doors], archive: Path) -> None:
    door = doors(policy())
    with pytest.raises(BundleRefusedError, match="no valid signature of a key in the role 'builder'"):
        door.admit(BUNDLE, archive)
    sign(archive, BUNDLE)
    assert door.admit(BUNDLE, archive) is not None
    with pytest.raises(BundleRefusedError):
        door.check(BUNDLE)
    door.keep(BUNDLE, archive)
    assert door.check(BUNDLE) == door.check(BUNDLE, OLD)


def test_what_the_store_has_counts_when_the_same_bundle_comes_again(doors: Callable[..., Doors], archive: Path) -> None:
    sign(archive, BUNDLE)
    doors(None).keep(BUNDLE, archive)
    for path in archive.parent.glob("*.dsse.json"):
        path.unlink()
    assert doors(policy()).admit(BUNDLE, archive) is not None


def test_a_strangers_signature_and_one_about_another_bundle_do_not_count(
    doors: Callable[..., Doors], archive: Path
) -> None:
    sign(archive, BUNDLE, seed=2)
    with pytest.raises(BundleRefusedError, match="0 good signatures of trusted keys"):
        doors(policy()).admit(BUNDLE, archive)
    sign(archive, NEW)
    with pytest.raises(BundleRefusedError, match="it is about 'flights"):
        doors(policy()).admit(BUNDLE, archive)


def test_a_key_that_expired_meanwhile_shuts_the_door_at_the_next_load(
    doors: Callable[..., Doors], archive: Path
) -> None:
    sign(archive, BUNDLE)
    doors(policy(until="2027-06-02T00:00:00Z")).keep(BUNDLE, archive)
    assert doors(policy(until="2027-06-02T00:00:00Z")).check(BUNDLE) is not None
    with pytest.raises(BundleRefusedError, match="expired on 2027-05-01T00:00:00Z; sign again"):
        doors(policy(until="2027-05-01T00:00:00Z")).check(BUNDLE)


def test_a_downgrade_is_refused_and_a_rollback_is_none(doors: Callable[..., Doors], archive: Path) -> None:
    for bundle in (OLD, BUNDLE, NEW):
        sign(archive, bundle)
        doors(None).keep(bundle, archive)
        for path in archive.parent.glob("*.dsse.json"):
            path.unlink()
    strict, lenient = doors(policy()), doors(policy(downgrades="allow"))
    assert strict.check(NEW, BUNDLE) is not None
    with pytest.raises(BundleRefusedError, match=r"version 1\.1\.0 does not come after 1\.2\.0, which is live"):
        strict.check(OLD, BUNDLE)
    assert strict.check(OLD) is not None, "a rollback takes the place of what failed"
    assert lenient.check(OLD, BUNDLE) is not None
    with pytest.raises(BundleRefusedError, match=r"version 1\.1\.0 is older than 1\.2\.0, the oldest that the policy"):
        doors(policy(minimum={"flights": "1.2.0"})).check(OLD)


def test_strangers_cannot_take_up_the_room_of_attestations(doors: Callable[..., Doors], archive: Path) -> None:
    for seed in range(2, 2 + sidecars.MAX_SIDECARS - 1):
        sign(archive, BUNDLE, seed)
    sign(archive, BUNDLE)
    doors(policy()).keep(BUNDLE, archive)
    directory = archive.parent / "store" / "sha256" / BUNDLE.id
    assert len(sidecars.stored(directory)) == 1
    doors(None).keep(BUNDLE, archive)
    assert len(sidecars.stored(directory)) == sidecars.MAX_SIDECARS
    for path in archive.parent.glob("*.dsse.json"):
        path.unlink()
    sign(archive, BUNDLE, 99)
    with pytest.raises(SignatureError, match="32 attestations of bundle bbbbbbbbbbbb are kept already, 1 more"):
        doors(None).admit(BUNDLE, archive)
    assert doors(policy()).admit(BUNDLE, archive) is not None


def test_a_refusal_is_on_record_and_stands_where_it_cannot_be(
    state: Any, archive: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = state.open()
    door = Doors(policy(), archive.parent / "store", log=log)
    for what in (lambda: door.admit(BUNDLE, archive), lambda: door.check(BUNDLE), lambda: door.check(OLD, BUNDLE)):
        with pytest.raises(BundleRefusedError):
            what()
    rows = log.database.execute("SELECT record FROM audit_record WHERE seq > 0").fetchall()
    found = [Record.parse(data) for (data,) in rows]
    assert [(one.action, one.details["door"], one.bundle) for one in found] == [
        ("bundle.refused", "upload", BUNDLE.id),
        ("bundle.refused", "load", BUNDLE.id),
        ("bundle.refused", "deployment", OLD.id),
    ]
    assert found[0].policy == policy().digest
    assert "no valid signature" in found[0].rationale
    log.database.execute("CREATE TRIGGER audit_full BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'x'); END")
    with pytest.raises(BundleRefusedError):
        door.check(BUNDLE)
    assert "a refusal is not recorded" in caplog.text


def test_without_a_policy_every_door_is_open(doors: Callable[..., Doors], archive: Path) -> None:
    door = doors(None)
    assert (door.digest, door.admit(BUNDLE, archive), door.check(BUNDLE, NEW)) == (None, None, None)


def test_every_change_of_the_policy_is_a_record_and_no_change_is_none(state: Any) -> None:
    log = state.open()
    assert [record.action for record in note_policy(log, policy())] == ["key.added", "policy.changed"]
    assert note_policy(log, policy()) == ()
    rotated = note_policy(log, policy("2028-01-01T00:00:00Z", 1, 2), Actor(name="alice", authenticated_by="token"))
    assert sorted(record.action for record in rotated) == ["key.added", "key.changed"]
    assert rotated[0].policy == policy("2028-01-01T00:00:00Z", 1, 2).digest
    state.close()
    log = state.open()
    assert note_policy(log, policy("2028-01-01T00:00:00Z", 1, 2)) == ()
    assert [record.action for record in note_policy(log, None)] == ["key.removed", "key.removed", "policy.removed"]
    assert note_policy(log, None) == ()
    assert state.verify().ok


def test_a_damaged_policy_in_the_database_is_named(state: Any) -> None:
    log = state.open()
    note_policy(log, policy())
    log.database.execute("UPDATE signing_policy SET policy = '{}'")
    with pytest.raises(PolicyError, match="kept in the database is damaged"):
        note_policy(log, policy())


def test_people_enter_the_log_by_pseudonym_and_the_server_as_itself(tmp_path: Path) -> None:
    said = settings.parse({"pseudonyms": True, "given": {"bob": "operator-2"}}, "kedge.yaml: audit")
    database = files.connect(tmp_path)
    log = settings.open_log(tmp_path, database, said)
    names = [
        log.append(Draft(action="test.done", actor=actor, rationale=f"promoted by {actor.name}: malice")).actor.name
        for actor in (
            Actor(name="alice", authenticated_by="token"),
            Actor(name="bob", authenticated_by="token"),
            SYSTEM,
        )
    ]
    assert names[1:] == ["operator-2", "kedge"]
    assert names[0].startswith("actor-")
    (data,) = database.execute("SELECT record FROM audit_record WHERE seq = 1").fetchone()
    assert Record.parse(data).rationale == f"promoted by {names[0]}: malice"
    database.close()
    database = files.connect(tmp_path)
    log = settings.open_log(tmp_path, database, said)
    alice = log.append(Draft(action="test.done", actor=Actor(name="alice", authenticated_by="token")))
    assert alice.actor.name == names[0], "the same one after a restart"
    assert alice.software.startswith("kedge ")
    assert len(alice.software.rpartition("sha256:")[2]) == 64
    database.close()
    (tmp_path / "keys" / settings.SECRET).chmod(0o644)
    with pytest.raises(KeyFileError, match="open to others"):
        settings.pseudonyms(tmp_path, said)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"pseudonym": True}, r"^kedge\.yaml: audit\.pseudonym: "),
        ({"given": {"a": "b"}}, r"^kedge\.yaml: audit\.given: pseudonyms are given and not used"),
        ([], r"^kedge\.yaml: audit: "),
        ({"witness": {"key": "k"}}, r"^kedge\.yaml: audit\.witness\.name: "),
    ],
)
def test_a_section_that_says_something_wrong_names_the_place(section: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        settings.parse(section, "kedge.yaml: audit")


def test_a_witness_cosigns_the_second_file_where_the_section_says(tmp_path: Path) -> None:
    keys.generate(tmp_path / "witness.key")
    second = tmp_path / "elsewhere"
    said = settings.parse(
        {"checkpoints": str(second), "witness": {"key": str(tmp_path / "witness.key"), "name": "example.com/w"}}, "x"
    )
    database = files.connect(tmp_path)
    settings.open_log(tmp_path, database, said)
    database.close()
    assert "example.com/w" in second.read_text()
