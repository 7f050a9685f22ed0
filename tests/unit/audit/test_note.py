"""C2SP signed notes, checkpoints and cosignatures, on the vectors of their specifications and of sumdb/note."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge.audit.checkpoint import Checkpoint
from kedge.audit.errors import SignatureError
from kedge.audit.note import COSIGNATURE, Note, Signer, Verifier, open_note

VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    TEXT
    + (
        "\n\u2014 PeterNeumann "
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    ).encode()
)
SPEC_NOTE = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u00e8 subito sera.\n\n"
    "\u2014 quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
).encode()
SPEC_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()

MakeSigner = Callable[[str, int], Signer]


def test_the_note_of_the_reference_implementation() -> None:
    signer = Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(SEED))
    verifier = Verifier.parse(VKEY)
    assert signer.verifier == verifier
    assert verifier.vkey == VKEY
    assert Note(TEXT, (signer.sign(TEXT),)).to_bytes() == NOTE
    note, signed = open_note(NOTE, [verifier])
    assert (note.text, signed) == (TEXT, (verifier,))


@pytest.mark.parametrize("data", [SPEC_NOTE, SPEC_CHECKPOINT])
def test_the_examples_of_the_specifications_parse_and_print(data: bytes) -> None:
    assert Note.parse(data).to_bytes() == data


def test_a_text_may_hold_blank_lines() -> None:
    assert Note.parse(SPEC_NOTE).text.endswith("\n\ned \u00e8 subito sera.\n".encode())


def test_the_checkpoint_of_the_specification() -> None:
    note = Note.parse(SPEC_CHECKPOINT)
    head = Checkpoint.parse(note.text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert head.root == base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    witness = note.signatures[1]
    assert int.from_bytes(witness.value[:8], "big") == 1679315147
    assert len(witness.value) == 72


def test_every_bit_of_a_note_counts() -> None:
    for at in range(len(NOTE)):
        for bit in range(8):
            changed = bytearray(NOTE)
            changed[at] ^= 1 << bit
            with pytest.raises(SignatureError):
                open_note(bytes(changed), [Verifier.parse(VKEY)])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"\n\n", TEXT, TEXT + b"\n", NOTE[:-1],
        NOTE + b"\n", NOTE + b"x", b"a\x01b\n" + NOTE, b"\xff" + NOTE,
        NOTE.replace("\u2014".encode(), b"-"), NOTE.replace(b" PeterNeumann ", b" Peter Neumann "),
        NOTE.replace(b" PeterNeumann ", b" Peter+Neumann "), NOTE.replace(b" PeterNeumann ", b"  "),
        NOTE.replace(b"nAM=", b"nAM"), NOTE.replace(b"nAM=", b"nAN="), NOTE.replace(b"x08go", b"x08 go"),
        TEXT + b"\n" + "\u2014 PeterNeumann AAAA\n".encode(), TEXT + NOTE[len(TEXT):] + NOTE[len(TEXT) + 1:] * 40,
        b"x" * 70_000 + NOTE,
    ],
    ids=lambda data: repr(data[-30:]),
)  # fmt: skip
def test_malformed_notes_are_refused(data: bytes) -> None:
    with pytest.raises(SignatureError):
        open_note(data, [Verifier.parse(VKEY)])


def test_unknown_signatures_are_ignored_and_bad_known_ones_are_not(make_signer: MakeSigner) -> None:
    verifier = Verifier.parse(VKEY)
    stranger = make_signer("stranger", 1).sign(TEXT)
    note = Note.parse(NOTE)
    assert open_note(Note(TEXT, (stranger, *note.signatures)).to_bytes(), [verifier])[1] == (verifier,)
    with pytest.raises(SignatureError, match="none of which is a trusted key"):
        open_note(Note(TEXT, (stranger,)).to_bytes(), [verifier])
    other = make_signer("other", 2)
    bad = other.sign(b"another text\n")
    with pytest.raises(SignatureError, match="does not fit"):
        open_note(Note(TEXT, (*note.signatures, bad)).to_bytes(), [verifier, other.verifier])


def test_manglings_of_a_verifier_key_are_refused() -> None:
    for begin in range(0, len(VKEY), 3):
        for end in range(begin + 1, len(VKEY) + 1, 3):
            if (begin, end) != (0, len(VKEY)):
                with pytest.raises(SignatureError):
                    Verifier.parse(VKEY[begin:end])
    for bad in (
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter\u00a0Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "\ud800+\ud800+\ud800",
    ):
        with pytest.raises(SignatureError):
            Verifier.parse(bad)


def test_a_cosignature_is_a_timestamped_signature_of_another_message(make_signer: MakeSigner) -> None:
    witness = make_signer("witness.example.com/w1", 3)
    text = Note.parse(SPEC_CHECKPOINT).text
    signature = witness.cosign(text, 1679315147)
    public = witness.private.public_key().public_bytes_raw()
    assert signature.key_id == hashlib.sha256(b"witness.example.com/w1\n\x04" + public).digest()[:4]
    message = b"cosignature/v1\ntime 1679315147\n" + text
    witness.private.public_key().verify(signature.value[8:], message)
    assert Verifier.parse(witness.witness.vkey).kind == COSIGNATURE
    assert witness.witness.verifies(Note(text, ()), signature)
    later = type(signature)(signature.name, signature.key_id, (1679315148).to_bytes(8, "big") + signature.value[8:])
    for bad in (later, type(signature)(signature.name, signature.key_id, signature.value[8:]), witness.sign(text)):
        assert not witness.witness.verifies(Note(text, ()), bad)
        assert not witness.verifier.verifies(Note(text, ()), signature)


def test_a_checkpoint_has_one_spelling(make_signer: MakeSigner) -> None:
    root = bytes(32)
    head = Checkpoint("example.com/log", 7, root)
    signer = make_signer("example.com/log", 4)
    note, _ = open_note(head.sign(signer).to_bytes(), [signer.verifier])
    assert Checkpoint.parse(note.text) == head
    good = head.text()
    encoded = base64.b64encode(root)
    for bad in (
        good.replace(b"\n7\n", b"\n07\n"), good.replace(b"\n7\n", b"\n-7\n"), good.replace(b"\n7\n", b"\n\xd9\xa7\n"),
        good.replace(b"\n7\n", b"\n" + b"9" * 30 + b"\n"), good + b"extension\n", good[:-1], b"", b"\n\n\n",
        good.replace(encoded, base64.b64encode(bytes(31))), good.replace(encoded, encoded[:-2] + b"B="),
        good.replace(b"example.com/log", b""), b"\xff" + good,
    ):  # fmt: skip
        with pytest.raises(SignatureError):
            Checkpoint.parse(bad)
