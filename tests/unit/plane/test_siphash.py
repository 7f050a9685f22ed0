"""SipHash-2-4 against its authors' vectors: key 00 01 .. 0f, message 00 01 .. n-1."""

import pytest

from kedge.plane.siphash import siphash24

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


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        siphash24(b"short", b"")
