"""in-toto statements (v1) about a bundle: who takes which responsibility for it, and on what grounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from kedge.audit import canonical, dsse
from kedge.audit.errors import RecordError, SignatureError
from kedge.audit.roles import Role

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from kedge.audit.dsse import Envelope

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE: Final = "https://slsa.dev/provenance/v1"
PREDICATE_TYPE: Final = "urn:kedge:attestation:1"


@dataclass(frozen=True)
class Subject:
    """A bundle.

    Attributes:
        bundle: its id, 64 hex digits.
        name: the model's.
        version: the model's.
    """

    bundle: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.bundle[:12]})"


@dataclass(frozen=True)
class Attestation:
    """What the holder of a role says about a bundle.

    Attributes:
        subject: the bundle.
        role: in which the signer speaks.
        signed_at: when, by the signer's own clock.
        claims: anything more, such as the results of an evaluation or the number of a change request.
    """

    subject: Subject
    role: Role
    signed_at: datetime
    claims: dict[str, Any] = field(default_factory=dict)

    def to_payload(self) -> bytes:
        """The statement as canonical JSON. Raises `RecordError` if the claims have no JSON form."""
        about = self.subject
        return canonical.encode(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": f"{about.name}-{about.version}", "digest": {"sha256": about.bundle}}],
                "predicateType": PREDICATE_TYPE,
                "predicate": {
                    "role": self.role,
                    "name": about.name,
                    "version": about.version,
                    "signedAt": f"{self.signed_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
                    "claims": self.claims,
                },
            }
        )

    def sign(self, key: Ed25519PrivateKey) -> Envelope:
        """Sign it. Raises `RecordError` if the claims have no JSON form."""
        return dsse.sign(PAYLOAD_TYPE, self.to_payload(), key)

    @classmethod
    def parse(cls, payload: bytes) -> Attestation:
        """Read a statement whose signature was verified before.

        Raises:
            SignatureError: it is no statement of this type and version about one bundle.
        """
        try:
            value = canonical.decode(payload, "statement")
        except RecordError as error:
            raise SignatureError(str(error)) from error
        if value.get("_type") != STATEMENT_TYPE:
            raise SignatureError(f"not an in-toto v1 statement, but {_shown(value.get('_type'))}")
        if value.get("predicateType") != PREDICATE_TYPE:
            raise SignatureError(f"its predicate is {_shown(value.get('predicateType'))}, not {PREDICATE_TYPE}")
        match value:
            case {
                "subject": [{"digest": {"sha256": str(bundle)}}],
                "predicate": {
                    "role": str(role),
                    "name": str(name),
                    "version": str(version),
                    "signedAt": str(signed_at),
                    "claims": dict(claims),
                },
            } if role in get_args(Role):
                return cls(Subject(bundle, name, version), role, _time(signed_at), claims)  # type: ignore[arg-type]  # role
        raise SignatureError("the statement lacks a subject with a SHA-256, a role or a time")


def provenance_payload(subject: Subject, archive: str, predicate: dict[str, Any]) -> bytes:
    """An in-toto statement that a bundle came about as its SLSA provenance says, as canonical JSON.

    Args:
        subject: the bundle.
        archive: SHA-256 of the archive file, by which tools that do not know bundles find the statement.
        predicate: the provenance.

    Raises:
        RecordError: the provenance has no JSON form.
    """
    name = f"{subject.name}-{subject.version}"
    return canonical.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": subject.bundle}},
                {"name": f"{name}.kedge", "digest": {"sha256": archive}},
            ],
            "predicateType": PROVENANCE_TYPE,
            "predicate": predicate,
        }
    )


def is_provenance(payload: bytes) -> bool:
    """Whether a payload says that it is a statement of provenance, which speaks for no role. Nothing is verified."""
    try:
        return canonical.decode(payload, "statement").get("predicateType") == PROVENANCE_TYPE
    except RecordError:
        return False


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureError(f"signedAt {_shown(text)} is not a time in UTC") from error


def _shown(value: object) -> str:
    return ascii(value)[:80]
