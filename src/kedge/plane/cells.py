"""The snapshot of a plane: the counts of every (bundle, arm, epoch), in one container.

Format, version 3, little-endian: magic ``KDGP``, uint16 version, uint16 zero, uint32 number of cells; then for each
cell, sorted: bundle id (32 bytes), uint8 arm, 7 zero bytes, uint64 epoch, uint64 size of the kernel's snapshot, uint64
size of the evidence, and both.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.errors import SnapshotError
from kedge.plane.contract import Arm

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"KDGP"
VERSION: Final = 3
FOLDED: Final = 0
"""Epoch under which all but the newest of a bundle and arm are added up; routes count theirs from 1. An epoch with
requests under way stays apart until they are answered."""
_HEADER: Final = struct.Struct("<4sHHI")
_CELL: Final = struct.Struct("<32sB7sQQQ")

CellKey = tuple[str, Arm, int]
"""Bundle id (64 hex digits), arm, epoch."""


@dataclass(frozen=True)
class Cell:
    """What one cell holds.

    Attributes:
        counts: the kernel's snapshot, for `kedge.kernel.snapshot.Counts.parse`.
        evidence: for `kedge.plane.evidence.Evidence.parse`; empty where nothing was counted.
    """

    counts: bytes | memoryview
    evidence: bytes | memoryview = b""


def encode(cells: Mapping[CellKey, Cell]) -> bytes:
    """The container of these cells; equal cells give equal bytes."""
    parts: list[bytes | memoryview] = [_HEADER.pack(MAGIC, VERSION, 0, len(cells))]
    for (bundle, arm, epoch), cell in sorted(cells.items(), key=lambda item: item[0]):
        sizes = len(cell.counts), len(cell.evidence)
        parts += (_CELL.pack(bytes.fromhex(bundle), arm, bytes(7), epoch, *sizes), cell.counts, cell.evidence)
    return b"".join(parts)


def decode(data: bytes) -> dict[CellKey, Cell]:
    """The cells of a container, as views of it: a cell of latencies is large, and looked at each second.

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
    cells: dict[CellKey, Cell] = {}
    view = memoryview(data)
    at = _HEADER.size
    for _ in range(count):
        if len(data) - at < _CELL.size:
            raise SnapshotError(f"plane snapshot: cut short in cell {len(cells)} of {count}")
        bundle, arm, padding, epoch, counts, evidence = _CELL.unpack_from(data, at)
        at += _CELL.size
        if counts + evidence > len(data) - at:
            raise SnapshotError(f"plane snapshot: cut short in cell {len(cells)} of {count}")
        if arm > max(Arm) or padding != bytes(7):
            raise SnapshotError(f"plane snapshot: damaged in cell {len(cells)} of {count}")
        key = (bundle.hex(), Arm(arm), epoch)
        if key in cells:
            raise SnapshotError(f"plane snapshot: cell {len(cells)} of {count} appears twice")
        cells[key] = Cell(view[at : at + counts], view[at + counts : at + counts + evidence])
        at += counts + evidence
    if at != len(data):
        raise SnapshotError(f"plane snapshot: {len(data) - at} bytes after the last cell")
    return cells
