"""The snapshot of a plane: the kernel's counts of every (bundle, arm, epoch), in one container.

Format, version 1, little-endian: magic ``KDGP``, uint16 version, uint16 zero, uint32 number of cells; then for each
cell, sorted: bundle id (32 bytes), uint8 arm, 7 zero bytes, uint64 epoch, uint64 size, the kernel's snapshot.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from kedge.errors import SnapshotError
from kedge.plane.contract import Arm

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"KDGP"
VERSION: Final = 1
FOLDED: Final = 0
"""Epoch under which epochs closed long ago are added up; routes count theirs from 1."""
_HEADER: Final = struct.Struct("<4sHHI")
_CELL: Final = struct.Struct("<32sB7sQQ")

CellKey = tuple[str, Arm, int]
"""Bundle id (64 hex digits), arm, epoch."""


def encode(cells: Mapping[CellKey, bytes]) -> bytes:
    """The container of these cells; equal cells give equal bytes."""
    parts = [_HEADER.pack(MAGIC, VERSION, 0, len(cells))]
    for (bundle, arm, epoch), counts in sorted(cells.items()):
        parts += (_CELL.pack(bytes.fromhex(bundle), arm, bytes(7), epoch, len(counts)), counts)
    return b"".join(parts)


def decode(data: bytes) -> dict[CellKey, bytes]:
    """The cells of a container; what is in each is for `kedge.kernel.snapshot.Counts.parse` to say.

    Raises:
        SnapshotError: the bytes are damaged, cut short, or of another version.
    """
    if len(data) < _HEADER.size:
        raise SnapshotError(f"plane snapshot: {len(data)} bytes, its header alone has {_HEADER.size}")
    magic, version, zero, count = _HEADER.unpack_from(data)
    if magic != MAGIC or zero != 0:
        raise SnapshotError("plane snapshot: these bytes are not one")
    if version != VERSION:
        raise SnapshotError(f"plane snapshot: version {version}, this program reads {VERSION}")
    cells: dict[CellKey, bytes] = {}
    at = _HEADER.size
    for _ in range(count):
        if len(data) - at < _CELL.size:
            raise SnapshotError(f"plane snapshot: cut short in cell {len(cells)} of {count}")
        bundle, arm, padding, epoch, size = _CELL.unpack_from(data, at)
        at += _CELL.size
        if size > len(data) - at:
            raise SnapshotError(f"plane snapshot: cut short in cell {len(cells)} of {count}")
        if arm > max(Arm) or padding != bytes(7):
            raise SnapshotError(f"plane snapshot: damaged in cell {len(cells)} of {count}")
        key = (bundle.hex(), Arm(arm), epoch)
        if key in cells:
            raise SnapshotError(f"plane snapshot: cell {len(cells)} of {count} appears twice")
        cells[key] = data[at : at + size]
        at += size
    if at != len(data):
        raise SnapshotError(f"plane snapshot: {len(data) - at} bytes after the last cell")
    return cells
