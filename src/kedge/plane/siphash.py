"""SipHash-2-4, the keyed hash that assigns sticky keys to arms and seals prediction ids (Aumasson and Bernstein 2012).

Both planes use it, so that a key lands on the same arm whichever of them serves, and reads what the other one sealed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MASK: Final = (1 << 64) - 1
KEY_BYTES: Final = 16
WORD_BYTES: Final = 8
_WORD: Final = struct.Struct("<Q")
_ZEROS: Final = bytes(2 * WORD_BYTES)

State = tuple[int, int, int, int]
"""What has been hashed so far, in whole words."""


def siphash24(key: bytes, message: bytes) -> int:
    """The hash, in [0, 2**64).

    Args:
        key: 16 bytes.
        message: any bytes.

    Raises:
        ValueError: the key is not 16 bytes long.
    """
    return finish(start(key), message, 0)


def start(key: bytes) -> State:
    """The state before the first word. Raises `ValueError` where the key is not 16 bytes long."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key must have {KEY_BYTES} bytes, got {len(key)}")
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    return k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573


def absorb(state: State, words: bytes) -> State:
    """The state after these bytes too, a multiple of `WORD_BYTES`: what many messages begin with is hashed once."""
    mask = _MASK
    v0, v1, v2, v3 = state
    for (word,) in _WORD.iter_unpack(words):
        v3 ^= word
        # two rounds, written out: a call for each would cost as much as the round
        v0 = (v0 + v1) & mask
        v1 = ((v1 << 13) & mask | v1 >> 51) ^ v0
        v0 = (v0 << 32) & mask | v0 >> 32
        v2 = (v2 + v3) & mask
        v3 = ((v3 << 16) & mask | v3 >> 48) ^ v2
        v0 = (v0 + v3) & mask
        v3 = ((v3 << 21) & mask | v3 >> 43) ^ v0
        v2 = (v2 + v1) & mask
        v1 = ((v1 << 17) & mask | v1 >> 47) ^ v2
        v2 = (v2 << 32) & mask | v2 >> 32
        v0 = (v0 + v1) & mask
        v1 = ((v1 << 13) & mask | v1 >> 51) ^ v0
        v0 = (v0 << 32) & mask | v0 >> 32
        v2 = (v2 + v3) & mask
        v3 = ((v3 << 16) & mask | v3 >> 48) ^ v2
        v0 = (v0 + v3) & mask
        v3 = ((v3 << 21) & mask | v3 >> 43) ^ v0
        v2 = (v2 + v1) & mask
        v1 = ((v1 << 17) & mask | v1 >> 47) ^ v2
        v2 = (v2 << 32) & mask | v2 >> 32
        v0 ^= word
    return v0, v1, v2, v3


def finish(state: State, rest: bytes, before: int) -> int:
    """The hash of what was absorbed, `before` bytes, and of the rest of the message."""
    length = before + len(rest)
    padding = bytes(WORD_BYTES - 1 - length % WORD_BYTES)
    v0, v1, v2, v3 = absorb(state, b"".join((rest, padding, bytes((length & 0xFF,)))))
    # the last four rounds, as two words of zero
    v0, v1, v2, v3 = absorb((v0, v1, v2 ^ 0xFF, v3), _ZEROS)
    return v0 ^ v1 ^ v2 ^ v3


def siphash24_rows(key: bytes, messages: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """[N] the hash of every row of [N, L] bytes. Raises `ValueError` where the key is not 16 bytes long."""
    rows, length = messages.shape
    padded = np.zeros((rows, (length // WORD_BYTES + 1) * WORD_BYTES), dtype=np.uint8)
    padded[:, :length] = messages
    padded[:, -1] = length & 0xFF
    words = padded.view("<u8").astype(np.uint64)
    v0, v1, v2, v3 = (np.full(rows, value, dtype=np.uint64) for value in start(key))

    def turn(count: int) -> None:
        for _ in range(count):
            for a, b, c, d, by_b, by_d in ((v0, v1, v2, v3, 13, 16), (v2, v1, v0, v3, 17, 21)):
                np.add(a, b, out=a)
                np.add(c, d, out=c)
                b[:] = _rotated(b, by_b) ^ a
                d[:] = _rotated(d, by_d) ^ c
                a[:] = _rotated(a, 32)

    for word in words.T:
        v3 ^= word
        turn(2)
        v0 ^= word
    v2 ^= np.uint64(0xFF)
    turn(4)
    return v0 ^ v1 ^ v2 ^ v3


def _rotated(values: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return (values << np.uint64(bits)) | (values >> np.uint64(64 - bits))
