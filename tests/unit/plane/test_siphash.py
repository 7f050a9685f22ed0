"""SipHash-2-4 against its authors' vectors: key 00 01 .. 0f, message 00 01 .. n-1."""

import numpy as np
import pytest

from kedge.plane.siphash import absorb, finish, siphash24, siphash24_rows, start

KEY = bytes(range(16))
VECTORS = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    7: 0xAB0200F58B01D137,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
    63: 0x958A324CEB064572,
}


@pytest.mark.parametrize("length", VECTORS)
def test_reference_vectors(length: int) -> None:
    assert siphash24(KEY, bytes(range(length))) == VECTORS[length]


@pytest.mark.parametrize("length", VECTORS)
def test_many_at_once_hash_as_one_by_one(length: int) -> None:
    rows = np.arange(5 * length, dtype=np.uint8).reshape(5, length)
    rows[0] = range(length)
    hashes = siphash24_rows(KEY, rows).tolist()
    assert hashes == [siphash24(KEY, row.tobytes()) for row in rows]
    assert hashes[0] == VECTORS[length]


def test_what_messages_begin_with_may_be_hashed_once() -> None:
    message = bytes(range(63))
    assert finish(absorb(start(KEY), message[:24]), message[24:], 24) == VECTORS[63]


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        siphash24(b"short", b"")
