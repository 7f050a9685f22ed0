"""Sets of 16-bit numbers, small while they hold few: the containers of a compressed bitmap."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPAN: Final = 1 << 16
"""Numbers a set can hold: 0 to 65,535."""
SPARSE: Final = 4096
"""Members up to which a sorted list of 2 bytes each is smaller than a bitmap of 8 KiB (Chambi and others 2016)."""
_BITMAP_BYTES: Final = SPAN // 8


class Bits:
    """A set of 16-bit numbers: a sorted array of at most `SPARSE` members, else a bitmap."""

    def __init__(self) -> None:
        self._members: NDArray[np.uint16] = np.zeros(0, np.uint16)
        self._bitmap: NDArray[np.uint8] | None = None

    @classmethod
    def parse(cls, data: bytes) -> Bits:
        """Read `to_bytes` back.

        Raises:
            ValueError: the bytes are damaged.
        """
        try:
            raw = zlib.decompress(data)
        except zlib.error as error:
            raise ValueError("a bitmap of remembered labels is damaged") from error
        bits = cls()
        if len(raw) == _BITMAP_BYTES:
            bits._bitmap = np.frombuffer(raw, np.uint8).copy()
        elif len(raw) % 2 == 0 and len(raw) <= 2 * SPARSE - 2:
            bits._members = np.frombuffer(raw, "<u2").astype(np.uint16)
        else:
            raise ValueError(f"a bitmap of remembered labels has {len(raw)} bytes")
        return bits

    def to_bytes(self) -> bytes:
        """The smaller form, compressed."""
        raw = self._members.astype("<u2").tobytes() if self._bitmap is None else self._bitmap.tobytes()
        return zlib.compress(raw, 1)

    @property
    def size(self) -> int:
        """Bytes held in memory."""
        return self._members.nbytes if self._bitmap is None else _BITMAP_BYTES

    def __len__(self) -> int:
        return len(self._members) if self._bitmap is None else int(np.unpackbits(self._bitmap).sum())

    def add(self, numbers: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Put (n,) numbers in; (n,) True where one was not in before. Of equal ones the first alone is new."""
        new = np.zeros(len(numbers), np.bool_)
        first = np.unique(numbers, return_index=True)[1]
        if self._bitmap is None:
            new[first] = ~np.isin(numbers[first], self._members, assume_unique=True)
            self._members = np.union1d(self._members, numbers[new])
            # One below the limit: the bytes of a full list would be those of a bitmap.
            if len(self._members) >= SPARSE:
                flags = np.zeros(SPAN, np.uint8)
                flags[self._members] = 1
                self._bitmap = np.packbits(flags, bitorder="little")
                self._members = np.zeros(0, np.uint16)
        else:
            places, masks = numbers[first] >> 3, np.left_shift(1, numbers[first] & 7).astype(np.uint8)
            new[first] = (self._bitmap[places] & masks) == 0
            np.bitwise_or.at(self._bitmap, places, masks)
        return new
