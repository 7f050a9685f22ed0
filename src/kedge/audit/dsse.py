"""DSSE envelopes (github.com/secure-systems-lab/dsse, protocol 1.0.0) with Ed25519: what is signed says what it is."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature

from kedge.audit import canonical
from kedge.audit.errors import RecordError, SignatureError
from kedge.audit.keys import key_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_ENVELOPE_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 8
"""Of one envelope: each is tried with every trusted key."""


@dataclass(frozen=True)
class Envelope:
    """A payload and its signatures, nothing of it verified.

    Attributes:
        payload_type: what the payload is; signed along with it.
        payload: bytes.
        signatures: pairs of key id (a hint, not signed; may be empty) and signature.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def to_bytes(self) -> bytes:
        """The JSON form, canonical."""
        signatures = [{"keyid": hint, "sig": _encode(value)} for hint, value in self.signatures]
        return canonical.encode(
            {"payload": _encode(self.payload), "payloadType": self.payload_type, "signatures": signatures}
        )

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Read the JSON form, in either base64 alphabet.

        Raises:
            SignatureError: it is not an envelope.
        """
        if len(data) > MAX_ENVELOPE_BYTES:
            raise SignatureError(f"envelope of {len(data)} bytes, limit {MAX_ENVELOPE_BYTES}")
        try:
            value = canonical.decode(data, "envelope")
        except RecordError as error:
            raise SignatureError(str(error)) from error
        payload_type, listed = value.get("payloadType"), value.get("signatures")
        if not isinstance(payload_type, str) or not isinstance(listed, list):
            raise SignatureError("envelope: payloadType or signatures are missing")
        if not 1 <= len(listed) <= MAX_SIGNATURES:
            raise SignatureError(f"envelope: {len(listed)} signatures, 1 to {MAX_SIGNATURES} allowed")
        return cls(payload_type, _decode(value.get("payload"), "payload"), tuple(map(_signature, listed)))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, *keys: Ed25519PrivateKey) -> Envelope:
    """An envelope signed by each of `keys`."""
    message = pae(payload_type, payload)
    return Envelope(payload_type, payload, tuple((key_id(key.public_key()), key.sign(message)) for key in keys))


def verify(
    envelope: Envelope, trusted: Mapping[str, Ed25519PublicKey], types: Collection[str], *, threshold: int = 1
) -> frozenset[str]:
    """Check an envelope's signatures against trusted keys. Key ids in it are never relied upon: every key is tried.

    Args:
        envelope: what came.
        trusted: keys by name; the same key under two names counts once.
        types: payload types that the caller can interpret.
        threshold: how many distinct trusted keys must have signed.

    Returns:
        Names of the trusted keys that signed.

    Raises:
        SignatureError: too few did, or the payload's type is none of `types`.
    """
    message = pae(envelope.payload_type, envelope.payload)
    signers = {
        name for name, key in trusted.items() if any(_verifies(key, value, message) for _, value in envelope.signatures)
    }
    distinct = {trusted[name].public_bytes_raw() for name in signers}
    if len(distinct) < max(1, threshold):
        hints = ", ".join(hint[:16] or "an unnamed key" for hint, _ in envelope.signatures)
        raise SignatureError(
            f"signed by {ascii(hints)[1:-1]}: {len(distinct)} good signatures of trusted keys, {max(1, threshold)} due"
        )
    if envelope.payload_type not in types:
        raise SignatureError(f"payload type {ascii(envelope.payload_type)[:80]} is not one that is understood here")
    return frozenset(signers)


def _verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _signature(value: Any) -> tuple[str, bytes]:
    if not isinstance(value, dict):
        raise SignatureError("envelope: a signature is not an object")
    hint = value.get("keyid", "")
    if not isinstance(hint, str):
        raise SignatureError("envelope: a keyid is not text")
    return hint, _decode(value.get("sig"), "sig")


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: Any, what: str) -> bytes:
    if isinstance(text, str) and text.isascii():
        try:
            return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        except binascii.Error:
            pass
    raise SignatureError(f"envelope: {what} is not base64")
