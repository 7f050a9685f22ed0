"""A bundle passes only with the signatures that the policy asks for; where it does not, the reason is said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge.audit import canonical, dsse, gate, keys, sidecars
from kedge.audit import policy as policies
from kedge.audit.errors import PolicyError, SignatureError
from kedge.audit.policy import Policy
from kedge.audit.statement import PAYLOAD_TYPE, Attestation, Subject, provenance_payload

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2027, 6, 1, tzinfo=UTC)
BACKWARDS = """
require: [builder]
keys: [{public: good.pub, roles: [builder], from: 2027-01-01T00:00:00Z, until: 2026-01-01T00:00:00Z}]
"""
SUBJECT = Subject("ab" * 32, "flights-late", "1.2.0")


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


BUILDER, EVALUATOR, SUCCESSOR, STRANGER = map(key, (1, 2, 3, 4))


def pem(private: Ed25519PrivateKey) -> str:
    return keys.public_pem(private.public_key())


def policy(**changes: Any) -> Policy:
    value = {
        "require": ["builder", "evaluator"],
        "keys": [
            {"public": pem(BUILDER), "roles": ["builder"], "until": "2028-01-01T00:00:00Z"},
            {"public": pem(EVALUATOR), "roles": ["evaluator"]},
            {"public": pem(SUCCESSOR), "roles": ["builder", "approver"], "from": "2027-12-01T00:00:00Z"},
        ],
    }
    return Policy.model_validate(value | changes)


@dataclass(frozen=True)
class Word:
    """An attestation to be made."""

    private: Ed25519PrivateKey
    role: Any
    subject: Subject = SUBJECT
    signed_at: datetime = NOW

    def sidecar(self) -> tuple[str, bytes]:
        made = Attestation(self.subject, self.role, self.signed_at, {"accuracy": "0.91"}).sign(self.private)
        return f"{self.role}.dsse.json", made.to_bytes()


BUILT, EVALUATED = Word(BUILDER, "builder"), Word(EVALUATOR, "evaluator")


def decide(*words: Word, now: datetime = NOW, by: Policy | None = None, subject: Subject = SUBJECT) -> gate.Decision:
    return gate.decide(by or policy(), subject, [word.sidecar() for word in words], now)


def refused(*words: Word, **options: Any) -> str:
    decision = decide(*words, **options)
    assert not decision.accepted
    return "; ".join(decision.reasons)


def test_a_bundle_with_every_signature_passes() -> None:
    decision = decide(BUILT, EVALUATED)
    assert (decision.accepted, decision.reasons) == (True, ())
    assert [(one.role, one.key) for one in decision.signed] == [
        ("builder", keys.key_id(BUILDER.public_key())),
        ("evaluator", keys.key_id(EVALUATOR.public_key())),
    ]
    assert gate.require(policy(), SUBJECT, [BUILT.sidecar(), EVALUATED.sidecar()], NOW) == decision


def test_an_unsigned_bundle_is_refused() -> None:
    assert refused() == (
        "no valid signature of a key in the role 'builder'; no valid signature of a key in the role 'evaluator'"
    )
    with pytest.raises(gate.BundleRefusedError, match=r"^flights-late 1\.2\.0 \(abababababab\) is refused: no valid"):
        gate.require(policy(), SUBJECT, [], NOW)


def test_one_signature_less_than_required_is_refused() -> None:
    assert refused(BUILT) == "no valid signature of a key in the role 'evaluator'"


def test_a_strangers_signature_does_not_count() -> None:
    assert "0 good signatures of trusted keys" in refused(BUILT, Word(STRANGER, "evaluator"))


def test_a_changed_payload_does_not_count() -> None:
    _, data = EVALUATED.sidecar()
    envelope = dsse.Envelope.parse(data)
    changed = replace(envelope, payload=envelope.payload.replace(b"0.91", b"0.99"))
    decision = gate.decide(policy(), SUBJECT, [BUILT.sidecar(), ("e.dsse.json", changed.to_bytes())], NOW)
    assert not decision.accepted
    assert decision.reasons[1].startswith("e.dsse.json: signed by ")


def test_a_statement_of_provenance_speaks_for_no_role() -> None:
    payload = provenance_payload(SUBJECT, "cd" * 32, {"buildDefinition": {}})
    sidecar = ("p.dsse.json", dsse.sign(PAYLOAD_TYPE, payload, BUILDER).to_bytes())
    assert gate.decide(policy(), SUBJECT, [BUILT.sidecar(), EVALUATED.sidecar(), sidecar], NOW).reasons == ()
    assert not gate.decide(policy(), SUBJECT, [EVALUATED.sidecar(), sidecar], NOW).accepted


def test_a_key_speaks_only_in_its_role() -> None:
    reason = refused(BUILT, Word(BUILDER, "evaluator"))
    assert "has the role builder, not 'evaluator'" in reason


def test_an_attestation_of_another_bundle_does_not_count() -> None:
    for other in (
        replace(SUBJECT, bundle="cd" * 32), replace(SUBJECT, version="1.3.0"), replace(SUBJECT, name="flights"),
    ):  # fmt: skip
        assert "it is about " in refused(BUILT, Word(EVALUATOR, "evaluator", other))


def test_an_expired_key_does_not_count_even_for_an_earlier_date() -> None:
    late = NOW.replace(year=2028)
    reason = refused(BUILT, EVALUATED, now=late)
    assert "expired on 2028-01-01T00:00:00Z; sign again with a key that is valid now" in reason
    assert "is not valid before 2027-12-01" in refused(Word(SUCCESSOR, "builder"), EVALUATED)
    backdated = Word(SUCCESSOR, "builder", signed_at=NOW)
    assert "signed at 2027-06-01T00:00:00Z, when key" in refused(backdated, EVALUATED, now=late)


def test_a_successor_signs_again() -> None:
    late = NOW.replace(year=2028)
    again = Word(SUCCESSOR, "builder", signed_at=late)
    decision = decide(BUILT, again, EVALUATED, now=late)
    assert decision.accepted
    assert [one.role for one in decision.signed] == ["builder", "evaluator"]
    assert "expired" in decision.reasons[0]


def test_the_end_of_a_window_is_exclusive_and_its_beginning_inclusive() -> None:
    end = datetime(2028, 1, 1, tzinfo=UTC)
    assert decide(BUILT, EVALUATED, now=end - timedelta(seconds=1)).accepted
    assert not decide(BUILT, EVALUATED, now=end).accepted
    begin = datetime(2027, 12, 1, tzinfo=UTC)
    assert decide(Word(SUCCESSOR, "builder", signed_at=begin), EVALUATED, now=begin).accepted


def test_a_date_to_come_does_not_count() -> None:
    ahead = Word(EVALUATOR, "evaluator", signed_at=NOW + timedelta(hours=1))
    assert "which is yet to come" in refused(BUILT, ahead)
    assert decide(BUILT, replace(ahead, signed_at=NOW + timedelta(minutes=4))).accepted


@pytest.mark.parametrize(
    ("version", "lowest", "accepted"),
    [
        ("1.2.0", "1.2.0", True), ("1.2.0", "1.2", True), ("1.10.0", "1.9.9", True), ("1.2.0", "1.2.1", False),
        ("1.2.0-rc1", "1.2.0", False), ("2024a", "2024a", True), ("2025a", "2024a", False), ("1.2", "1.2.0", True),
    ],
)  # fmt: skip
def test_a_downgrade_is_refused_however_well_signed(version: str, lowest: str, *, accepted: bool) -> None:
    subject = replace(SUBJECT, version=version)
    words = (replace(BUILT, subject=subject), replace(EVALUATED, subject=subject))
    decision = decide(*words, subject=subject, by=policy(minimum={"flights-late": lowest}))
    assert decision.accepted == accepted
    assert accepted or decision.reasons == (
        f"version {version} is older than {lowest}, the oldest that the policy lets serve",
    )


def test_a_weaker_statement_does_not_stand_in_for_a_stronger_one() -> None:
    payload = Attestation(SUBJECT, "evaluator", NOW).to_payload()
    value = canonical.decode(payload, "x")
    for change, words in (
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not an in-toto v1 statement"),
        ({"predicateType": "https://slsa.dev/verification_summary/v1"}, "its predicate is"),
        ({"subject": []}, "lacks a subject"),
        ({"subject": [value["subject"][0], value["subject"][0]]}, "lacks a subject"),
        ({"predicate": {**value["predicate"], "role": "owner"}}, "lacks a subject"),
        ({"predicate": {**value["predicate"], "signedAt": "yesterday"}}, "is not a time in UTC"),
    ):
        envelope = dsse.sign(PAYLOAD_TYPE, canonical.encode(value | change), EVALUATOR)
        decision = gate.decide(policy(), SUBJECT, [BUILT.sidecar(), ("e", envelope.to_bytes())], NOW)
        assert not decision.accepted
        assert words in decision.reasons[1]
    untyped = dsse.sign("text/plain", payload, EVALUATOR)
    decision = gate.decide(policy(), SUBJECT, [BUILT.sidecar(), ("e", untyped.to_bytes())], NOW)
    assert "payload type 'text/plain' is not one" in decision.reasons[1]


def test_garbage_beside_a_bundle_is_named_and_does_no_harm() -> None:
    found = [BUILT.sidecar(), EVALUATED.sidecar(), ("z.dsse.json", b"\xff")]
    decision = gate.decide(policy(), SUBJECT, found, NOW)
    assert decision.accepted
    assert decision.reasons[0].startswith("z.dsse.json: envelope")


def test_a_policy_names_key_files_or_holds_keys(tmp_path: Path) -> None:
    keys.generate(tmp_path / "build.key")
    path = tmp_path / "policy.yaml"
    path.write_text(
        "require: [builder]\nkeys:\n  - public: build.key.pub\n    roles: [builder]\n"
        "    from: 2026-01-01T00:00:00Z\n    until: 2027-01-01T00:00:00Z\n"
    )
    loaded = policies.load(path)
    assert loaded.keys[0].until == datetime(2027, 1, 1, tzinfo=UTC)
    assert loaded.keys[0].id == keys.key_id(keys.load_public((tmp_path / "build.key.pub").read_bytes(), "k"))
    inline = Policy.model_validate(loaded.model_dump(mode="json", by_alias=True))
    assert inline.digest == loaded.digest
    path.write_text(yaml.safe_dump({"require": ["builder"], "keys": [{"public": pem(BUILDER), "roles": ["builder"]}]}))
    assert policies.load(path).keys[0].public == pem(BUILDER)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a mapping"), ("[", "not valid YAML"), ("require: []\nkeys: []", "require"), ("keys: []", "require"),
        ("require: [owner]\nkeys: []", "require.0"), ("require: [builder]\nkeys: []", "keys"),
        ("require: [builder]\nkeys: [{public: absent.pub, roles: [builder]}]", "cannot read"),
        ("require: [builder]\nkeys: [{public: bad.pub, roles: [builder]}]", "not a public key in PEM"),
        ("require: [builder]\nkeys: [{public: good.pub, roles: []}]", "keys.0.roles"),
        ("require: [builder]\nkeys: [{public: good.pub, roles: [builder], until: 2027-01-01T00:00:00}]", "need a zone"),
        (BACKWARDS, "not after"),
        ("require: [builder]\nkeys: [{public: good.pub, roles: [builder]}]\nrequired: x", "required"),
        ("require: [builder]\nkeys: 5", "keys"), ("a: &a [*a]", "aliases"), ("a: 2026-13-45", "not valid YAML"),
        (r'keys: [{public: "a\0b"}]', "cannot read key"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "good.pub").write_text(pem(BUILDER))
    (tmp_path / "bad.pub").write_text("hello")
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(PolicyError) as error:
        policies.load(tmp_path / "policy.yaml")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_every_change_of_a_keyring_is_a_record() -> None:
    before, after = policy(), policy(keys=policy().model_dump(mode="json", by_alias=True)["keys"][1:])
    (removed,) = policies.changes(before, after)
    assert (removed.action, removed.policy) == ("key.removed", after.digest)
    assert removed.details["key"] == keys.key_id(BUILDER.public_key())
    assert [draft.action for draft in policies.changes(None, before)] == ["key.added"] * 3 + ["policy.changed"]
    assert policies.changes(before, before) == ()
    assert [draft.action for draft in policies.changes(before, policy(require=["builder"]))] == ["policy.changed"]


def test_attestations_lie_beside_the_archive_and_move_into_the_store(tmp_path: Path) -> None:
    archive = tmp_path / "flights[1]-1.2.0.kedge"
    archive.write_bytes(b"")
    (tmp_path / "flights1-1.2.0.kedge.builder-x.dsse.json").write_bytes(b"another archive's")
    for word in (BUILT, EVALUATED, EVALUATED):
        made = dsse.Envelope.parse(word.sidecar()[1])
        sidecars.keep(tmp_path, f"{archive.name}.", word.role, made)
    found = sidecars.beside(archive)
    assert [data for _, data in found] == [BUILT.sidecar()[1], EVALUATED.sidecar()[1]]
    stored = tmp_path / "store" / "sha256" / SUBJECT.bundle
    stored.mkdir(parents=True)
    sidecars.adopt(sidecars.coming(archive, stored, lambda _: True), stored)
    assert sidecars.folder(stored).name == f"{SUBJECT.bundle}.att"
    assert [data for _, data in sidecars.stored(stored)] == [data for _, data in found]
    assert all(name.startswith(("builder-", "evaluator-")) for name, _ in sidecars.stored(stored))


def test_too_many_or_unreadable_attestations_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.kedge"
    (tmp_path / "a.kedge.link.dsse.json").symlink_to("/etc/hostname")
    with pytest.raises(SignatureError, match="cannot read"):
        sidecars.beside(archive)
    for number in range(65):
        (tmp_path / f"b.kedge.{number}.dsse.json").write_bytes(b"")
    with pytest.raises(SignatureError, match="65 attestations"):
        sidecars.beside(tmp_path / "b.kedge")
