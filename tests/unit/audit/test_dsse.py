"""DSSE on the vectors of its specification and repository, with the two keys of RFC 8032 that those use."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge.audit import dsse
from kedge.audit.errors import SignatureError
from kedge.audit.keys import key_id

KEYS = {
    "A": Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    ),
    "B": Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    ),
}
TRUSTED = {name: key.public_key() for name, key in KEYS.items()}
IN_TOTO = "application/vnd.in-toto+json"
EXAMPLE = "application/vnd.ex\u00e4mple+json"
PAYLOAD = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ=="
SIG_A = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
SIG_B = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw=="
URLSAFE = "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw=="
NON_ASCII = "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw=="
EMPTY = "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg=="
UNTYPED = "iC3q/+3Rm0+lpAJRueDmDh15PnwCfxKmS0NAfKsbv+zgulXQC/WM9trc+j1XEqlwDIg/vf/uNfebeD6sxInrDg=="
A, B, NAMELESS_A, NAMELESS_B = (("A", SIG_A), ("B", SIG_B), (None, SIG_A), (None, SIG_B))

VECTORS: dict[str, tuple[str, str, list[Any], str, int, str, bool]] = {
    # payload, payload type, signatures, trusted keys, threshold, supported type, accepted
    "single-signature": (PAYLOAD, IN_TOTO, [A], "A", 1, IN_TOTO, True),
    "url-safe-base64": ("-_-_Pj8=", IN_TOTO, [("A", URLSAFE)], "A", 1, IN_TOTO, True),
    "payload-type-swapped": (
        PAYLOAD, "application/vnd.example.other+json", [A], "A", 1, "application/vnd.example.other+json", False,
    ),
    "non-ascii-payload-type": (PAYLOAD, EXAMPLE, [("A", NON_ASCII)], "A", 1, EXAMPLE, True),
    "empty-payload": ("", IN_TOTO, [("A", EMPTY)], "A", 1, IN_TOTO, True),
    "empty-payload-type": (PAYLOAD, "", [("A", UNTYPED)], "A", 1, IN_TOTO, False),
    "threshold-two-distinct-keys": (PAYLOAD, IN_TOTO, [A, B], "AB", 2, IN_TOTO, True),
    "threshold-two-one-key-twice": (PAYLOAD, IN_TOTO, [A, A], "AB", 2, IN_TOTO, False),
    "threshold-two-without-keyids": (PAYLOAD, IN_TOTO, [NAMELESS_A, NAMELESS_B], "AB", 2, IN_TOTO, True),
}  # fmt: skip


def envelope(payload: str, kind: str, signatures: list[Any]) -> bytes:
    listed = [{"sig": sig} if hint is None else {"sig": sig, "keyid": hint} for hint, sig in signatures]
    return json.dumps({"payload": payload, "payloadType": kind, "signatures": listed}).encode()


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_the_repository(name: str) -> None:
    payload, kind, signatures, trusted, threshold, supported, accepted = VECTORS[name]
    parsed = dsse.Envelope.parse(envelope(payload, kind, signatures))
    keys = {key: TRUSTED[key] for key in trusted}
    if accepted:
        signers = dsse.verify(parsed, keys, [supported], threshold=threshold)
        assert signers == {chr(65 + index) for index in range(threshold)}
    else:
        with pytest.raises(SignatureError):
            dsse.verify(parsed, keys, [supported], threshold=threshold)


def test_pre_authentication_encoding_of_the_protocol() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert dsse.pae(IN_TOTO, b"") == b"DSSEv1 28 application/vnd.in-toto+json 0 "
    assert dsse.pae("application/vnd.ex\u00e4mple+json", b"x").startswith(b"DSSEv1 29 application/vnd.ex\xc3\xa4mple")


def test_signing_gives_the_bytes_of_the_vector() -> None:
    made = dsse.sign(IN_TOTO, base64.b64decode(PAYLOAD), KEYS["A"])
    assert base64.b64encode(made.signatures[0][1]).decode() == SIG_A
    assert made.signatures[0][0] == key_id(TRUSTED["A"])
    assert dsse.Envelope.parse(made.to_bytes()) == made


def test_key_ids_are_hints_and_one_key_under_two_names_counts_once() -> None:
    lying = dsse.Envelope.parse(envelope(PAYLOAD, IN_TOTO, [("B", SIG_A)]))
    assert dsse.verify(lying, TRUSTED, [IN_TOTO]) == {"A"}
    with pytest.raises(SignatureError, match="1 good signatures of trusted keys, 2 due"):
        dsse.verify(lying, {"A": TRUSTED["A"], "again": TRUSTED["A"]}, [IN_TOTO], threshold=2)
    with pytest.raises(SignatureError):
        dsse.verify(lying, {}, [IN_TOTO], threshold=0)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"\xff", envelope(PAYLOAD, IN_TOTO, []), envelope(PAYLOAD, IN_TOTO, [A] * 40),
        envelope("!", IN_TOTO, [A]), envelope("\u00e4", IN_TOTO, [A]), envelope(PAYLOAD, IN_TOTO, [("A", "?")]),
        envelope(PAYLOAD, IN_TOTO, [(1, SIG_A)]), b'{"payload":"","payloadType":"x","signatures":[1]}',
        b'{"payload":1,"payloadType":"x","signatures":[{"sig":""}]}', b'{"payload":"","payload":"","signatures":[]}',
        b" " * 2_000_000,
    ],
    ids=lambda data: repr(data[:40]),
)  # fmt: skip
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(SignatureError, match=r"^envelope"):
        dsse.Envelope.parse(data)
