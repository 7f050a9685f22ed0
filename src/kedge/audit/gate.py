"""Whether a bundle may pass a door: its attestations against the policy, and the reason where it may not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from kedge.audit import dsse
from kedge.audit.dsse import Envelope
from kedge.audit.errors import SignatureError
from kedge.audit.statement import PAYLOAD_TYPE, Attestation, Subject, is_provenance

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from kedge.audit.policy import Policy
    from kedge.audit.roles import Role

CLOCK_SKEW: Final = timedelta(minutes=5)
"""By which a signer's clock may be ahead of ours."""


class BundleRefusedError(SignatureError):
    """A bundle lacks what the policy asks for."""


@dataclass(frozen=True)
class Signed:
    """A role that is spoken for."""

    role: Role
    key: str
    source: str


@dataclass(frozen=True)
class Decision:
    """What the policy says of a bundle.

    Attributes:
        accepted: whether it may pass.
        signed: attestations that count.
        reasons: why it may not, and which attestations did not count; a bundle may be accepted in spite of the latter.
    """

    accepted: bool
    signed: tuple[Signed, ...]
    reasons: tuple[str, ...]


def decide(
    policy: Policy,
    subject: Subject,
    sidecars: Iterable[tuple[str, bytes]],
    now: datetime,
    live: str | None = None,
) -> Decision:
    """Judge a bundle's attestations.

    A key counts if it is in force *now* and was when it signed: the time of signing is the signer's own word, so a key
    that has lapsed cannot be used to sign with an earlier date. After a rotation the successor signs again.

    Args:
        policy: whose word counts.
        subject: the bundle, its id computed from its bytes.
        sidecars: file names and bytes of its ``*.dsse.json``; nothing about them is trusted. Statements of provenance
            speak for no role and are passed over.
        now: with a zone.
        live: version that it would take the place of; None where it takes nobody's, and for a rollback.
    """
    signed: list[Signed] = []
    reasons: list[str] = []
    for source, data in sidecars:
        try:
            signed += _count(policy, subject, source, data, now)
        except SignatureError as error:
            reasons.append(f"{source}: {error}")
    missing = [role for role in policy.require if role not in {one.role for one in signed}]
    summary = [f"no valid signature of a key in the role '{role}'" for role in missing]
    lowest = policy.minimum.get(subject.name)
    old = lowest is not None and _older(subject.version, lowest)
    if old:
        summary.append(f"version {subject.version} is older than {lowest}, the oldest that the policy lets serve")
    if back := live is not None and policy.downgrades == "refuse" and _older(subject.version, live):
        summary.append(f"version {subject.version} does not come after {live}, which is live: a downgrade")
    return Decision(not (missing or old or back), tuple(signed), (*summary, *reasons))


def require(
    policy: Policy,
    subject: Subject,
    sidecars: Iterable[tuple[str, bytes]],
    now: datetime,
    live: str | None = None,
) -> Decision:
    """As `decide`, for a door that opens or stays shut.

    Raises:
        BundleRefusedError: with every reason.
    """
    decision = decide(policy, subject, sidecars, now, live)
    if not decision.accepted:
        raise BundleRefusedError(f"{subject} is refused: {'; '.join(decision.reasons)}")
    return decision


def _count(policy: Policy, subject: Subject, source: str, data: bytes, now: datetime) -> list[Signed]:
    envelope = Envelope.parse(data)
    if is_provenance(envelope.payload):
        return []
    trusted = {str(index): pinned.key for index, pinned in enumerate(policy.keys)}
    signers = dsse.verify(envelope, trusted, (PAYLOAD_TYPE,))
    said = Attestation.parse(envelope.payload)
    if said.subject != subject:
        raise SignatureError(f"it is about {str(said.subject)[:160]!a}, not about {subject}")
    if said.signed_at > now + CLOCK_SKEW:
        raise SignatureError(f"it is dated {said.signed_at:%Y-%m-%dT%H:%M:%SZ}, which is yet to come")
    good: list[Signed] = []
    why = ""
    for index in sorted(signers, key=int):
        pinned = policy.keys[int(index)]
        if said.role not in pinned.roles:
            why = f"key {pinned.id[:12]} has the role {'/'.join(pinned.roles)}, not '{said.role}'"
        elif lapse := pinned.lapse(now):
            why = f"key {pinned.id[:12]} {lapse}; sign again with a key that is valid now"
        elif lapse := pinned.lapse(said.signed_at):
            why = f"signed at {said.signed_at:%Y-%m-%dT%H:%M:%SZ}, when key {pinned.id[:12]} {lapse}"
        else:
            good.append(Signed(said.role, pinned.id, source))
    if not good:
        raise SignatureError(why)
    return good


def _older(version: str, lowest: str) -> bool:
    """Whether a version comes before another; of texts that are no dotted numbers only an equal one does not."""
    if version == lowest:
        return False
    one, other = _numbers(version), _numbers(lowest)
    return one is None or other is None or one < other


def _numbers(version: str) -> tuple[int, ...] | None:
    parts = version.split(".")
    if all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        numbers = list(map(int, parts))
        while numbers and numbers[-1] == 0:
            numbers.pop()
        return tuple(numbers)
    return None
