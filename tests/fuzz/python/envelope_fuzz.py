"""Attestations: DSSE envelopes as they come, and statements under a signature that a policy trusts.

The first byte says whether the others are an envelope or the payload of one that a pinned key signed.
"""

from __future__ import annotations

from datetime import UTC, datetime

import harness
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge.audit import dsse, gate
from kedge.audit.keys import public_pem
from kedge.audit.policy import Policy
from kedge.audit.statement import PAYLOAD_TYPE, Attestation, Subject, provenance_payload

ROOM = harness.room()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01")
NOW = datetime(2027, 6, 1, tzinfo=UTC)
SUBJECT = Subject("ab" * 32, "flights", "1.2.0")
POLICY = Policy.model_validate(
    {
        "require": ["builder"],
        "keys": [{"public": public_pem(KEY.public_key()), "roles": ["builder"]}],
        "minimum": {"flights": "1.1.0"},
    }
)


def one(data: bytes) -> None:
    if not data:
        return
    signed = data[0] % 2 == 1
    envelope = dsse.sign(PAYLOAD_TYPE, data[1:], KEY).to_bytes() if signed else data[1:]
    decision = gate.decide(POLICY, SUBJECT, [("a.dsse.json", envelope)], NOW, live="1.1.9")
    if decision.accepted and not signed:
        parsed = dsse.Envelope.parse(envelope)
        if not dsse.verify(parsed, {"pinned": KEY.public_key()}, (PAYLOAD_TYPE,)):
            raise AssertionError("accepted without a good signature")
    gate.require(POLICY, SUBJECT, [("a.dsse.json", envelope)], NOW, live="1.1.9")


if __name__ == "__main__":
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    envelopes = [Attestation(SUBJECT, role, moment).sign(KEY) for role in ("builder", "approver")]
    envelopes.append(dsse.sign(PAYLOAD_TYPE, provenance_payload(SUBJECT, "cd" * 32, {"buildDefinition": {}}), KEY))
    harness.main(one, [b for e in envelopes for b in (b"\x00" + e.to_bytes(), b"\x01" + e.payload)])
