"""Which labels were taken: a compressed bitmap in bounded memory, over the database that holds all of it.

A key names a set of 65,536 numbers: ``L``, boot (8 bytes), shard (2) and block (4) for the sequence numbers of
predictions; ``U`` or ``W``, rollout (8), period (8) and high bits (1) for units of a split that have a label, or a
wrong one.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.monitor.outcomes.bits import Bits
from kedge.monitor.outcomes.file import OutcomesError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kedge.monitor.outcomes.database import Database

MAX_CACHED_BYTES: Final = 32 * 1024 * 1024
"""Of sets kept in memory; the rest is read again when a label needs it (labels of a month's predictions at random)."""
OVERHEAD: Final = 256
"""Bytes a set takes beside its members, about."""
_LABELS: Final = struct.Struct(">cQHI")
_UNITS: Final = struct.Struct(">c8sqB")


def label_key(boot: int, shard: int, block: int) -> bytes:
    """Key of the labels of one block of sequence numbers."""
    return _LABELS.pack(b"L", boot, shard, block)


def unit_key(rollout: bytes, period: int, high: int, *, wrong: bool) -> bytes:
    """Key of the units of a rollout and period whose key bits begin with `high`."""
    return _UNITS.pack(b"W" if wrong else b"U", rollout, period, high)


@dataclass
class _Entry:
    bits: Bits
    newest: int


class Ledger:
    """Sets of what was counted. Used by one thread.

    What was added is in memory until `write` puts it into the transaction under way; `discard` forgets it.

    Args:
        database: where sets are kept.
        capacity: bytes of sets to keep in memory.
    """

    def __init__(self, database: Database, capacity: int = MAX_CACHED_BYTES) -> None:
        self._database = database
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._changed: set[bytes] = set()
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._bytes

    def add(self, key: bytes, numbers: NDArray[np.uint16], newest: int) -> NDArray[np.bool_]:
        """Put (n,) numbers into a set; (n,) True where one was not in it.

        Args:
            key: of the set.
            numbers: the members.
            newest: seconds since 1970 of the youngest prediction among them.

        Raises:
            OutcomesError: the database cannot be read.
        """
        entry = self._entry(key)
        before = entry.bits.size
        new = entry.bits.add(numbers)
        if new.any():
            self._changed.add(key)
            entry.newest = max(entry.newest, newest)
            self._bytes += entry.bits.size - before
        return new

    def write(self) -> None:
        """Put every changed set into the transaction under way."""
        for key in self._changed:
            entry = self._entries[key]
            self._database.remember(key, entry.bits.to_bytes(), entry.newest)

    def settle(self) -> None:
        """What was written is there to stay; make room."""
        self._changed.clear()
        while self._bytes > self._capacity and self._entries:
            _, entry = self._entries.popitem(last=False)
            self._bytes -= entry.bits.size + OVERHEAD

    def discard(self) -> None:
        """Forget every change since the last `settle`."""
        for key in self._changed:
            self._bytes -= self._entries.pop(key).bits.size + OVERHEAD
        self._changed.clear()

    def _entry(self, key: bytes) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            stored = self._database.remembered(key)
            try:
                entry = _Entry(Bits(), 0) if stored is None else _Entry(Bits.parse(stored[0]), stored[1])
            except ValueError as error:
                raise OutcomesError(f"{error}; restore the file of outcomes from a backup, or remove it") from error
            self._entries[key] = entry
            self._bytes += entry.bits.size + OVERHEAD
        self._entries.move_to_end(key)
        return entry
