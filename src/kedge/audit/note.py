"""C2SP signed notes (c2sp.org/signed-note): text, and lines that say who signed it, with Ed25519."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kedge.audit.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
"""Timestamped witness cosignature, c2sp.org/tlog-cosignature."""
MAX_NOTE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 32
DASH: Final = "\u2014 ".encode()


@dataclass(frozen=True)
class Signature:
    """One signature line: whose, and the bytes after the key id."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> bytes:
        """As it stands in a note, with its newline."""
        return DASH + self.name.encode() + b" " + base64.b64encode(self.key_id + self.value) + b"\n"


@dataclass(frozen=True)
class Note:
    """Text and signatures, nothing of it verified.

    Attributes:
        text: what is signed, with its last newline.
        signatures: in their order.
    """

    text: bytes
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        """The note as it is stored and sent."""
        return self.text + b"\n" + b"".join(signature.line() for signature in self.signatures)

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Take a note apart.

        Raises:
            SignatureError: it is not one: size, encoding, control characters, blank line, signature lines.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise SignatureError(f"note of {len(data)} bytes, limit {MAX_NOTE_BYTES}")
        try:
            decoded = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SignatureError(f"note: not UTF-8 at byte {error.start}") from error
        if any(character < " " and character != "\n" for character in decoded):
            raise SignatureError("note: holds a control character")
        at = data.rfind(b"\n\n")
        if at < 0 or not data.endswith(b"\n"):
            raise SignatureError("note: no signature lines after a blank line")
        lines = data[at + 2 :].split(b"\n")[:-1]
        if not 1 <= len(lines) <= MAX_SIGNATURES:
            raise SignatureError(f"note: {len(lines)} signatures, 1 to {MAX_SIGNATURES} allowed")
        return cls(data[: at + 1], tuple(map(_signature, lines)))


@dataclass(frozen=True)
class Verifier:
    """A public key by name, and which kind of signature it makes.

    Attributes:
        name: without spaces and plus signs.
        public: 32 bytes.
        kind: `ED25519` or `COSIGNATURE`.
    """

    name: str
    public: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != 32 or self.kind not in {ED25519, COSIGNATURE}:
            raise SignatureError(f"'{self.name}': not an Ed25519 key of a known kind")

    @cached_property
    def key_id(self) -> bytes:
        """4 bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """``name+hex key id+base64 of kind and key``: how verifiers share a key."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read a vkey. Raises `SignatureError`."""
        name, _, rest = vkey.partition("+")
        key_id, _, material = rest.partition("+")
        data = _base64(material.encode("utf-8", "replace"))
        if data is None or len(data) != 33:
            raise SignatureError(f"{vkey[:80]!a} is no verifier key (name+id+key)")
        verifier = cls(name, data[1:], data[0])
        if key_id != verifier.key_id.hex():
            raise SignatureError(f"verifier key '{ascii(name)[1:-1]}': its id is not that of its key")
        return verifier

    def verifies(self, note: Note, signature: Signature) -> bool:
        """Whether this signature of the note, which must bear this verifier's name and id, is good."""
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            return False
        message, value = note.text, signature.value
        if self.kind == COSIGNATURE:
            if len(value) != 72 or value[0] & 0x80:
                return False
            message, value = cosigned(note.text, int.from_bytes(value[:8], "big")), value[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A private key by name."""

    name: str
    private: Ed25519PrivateKey

    @cached_property
    def verifier(self) -> Verifier:
        """What others check its notes with."""
        return Verifier(self.name, self.private.public_key().public_bytes_raw())

    @cached_property
    def witness(self) -> Verifier:
        """What others check its cosignatures with."""
        return Verifier(self.name, self.private.public_key().public_bytes_raw(), COSIGNATURE)

    def sign(self, text: bytes) -> Signature:
        """Sign a note's text, which ends in a newline."""
        return Signature(self.name, self.verifier.key_id, self.private.sign(text))

    def cosign(self, text: bytes, seconds: int) -> Signature:
        """Sign a checkpoint's text as a witness does, who saw it at `seconds` since 1970."""
        value = seconds.to_bytes(8, "big") + self.private.sign(cosigned(text, seconds))
        return Signature(self.name, self.witness.key_id, value)


def cosigned(text: bytes, seconds: int) -> bytes:
    """The message of a v1 cosignature."""
    return b"cosignature/v1\ntime %d\n" % seconds + text


def open_note(data: bytes, verifiers: Iterable[Verifier]) -> tuple[Note, tuple[Verifier, ...]]:
    """Parse a note and check every signature that one of `verifiers` is said to have made.

    Returns:
        The note, and the verifiers whose signatures are on it: at least one. Those of unknown keys are ignored.

    Raises:
        SignatureError: it is malformed, a known key's signature is bad, or no known key signed it.
    """
    note = Note.parse(data)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    found: dict[Verifier, None] = {}
    for signature in note.signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            continue
        if not verifier.verifies(note, signature):
            raise SignatureError(f"signature of '{signature.name}' ({signature.key_id.hex()}) does not fit the text")
        found[verifier] = None
    if not found:
        by = ", ".join(f"'{one.name}' ({one.key_id.hex()})" for one in note.signatures)
        raise SignatureError(f"signed by {by}, none of which is a trusted key")
    return note, tuple(found)


def check_name(name: str) -> None:
    """Check a key name: printable, without spaces and plus signs. Raises `SignatureError`."""
    if not name or len(name) > 256 or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise SignatureError(f"{name[:80]!a} cannot be a key name: no spaces, plus signs or control characters")


def _signature(line: bytes) -> Signature:
    if not line.startswith(DASH):
        raise SignatureError("note: a signature line does not begin with an em dash and a space")
    name, _, encoded = line[len(DASH) :].decode("utf-8").partition(" ")
    check_name(name)
    data = _base64(encoded.encode("utf-8"))
    if data is None or len(data) < 5:
        raise SignatureError(f"note: the signature of '{name}' is not base64 of a key id and a signature")
    return Signature(name, data[:4], data[4:])


def _base64(text: bytes) -> bytes | None:
    """Standard base64 in its one spelling, or None."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data) == text else None
