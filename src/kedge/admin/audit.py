"""`kedge.v1.Audit`: the log as it is stored, and the proofs over it. Reads the database by connections of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from kedge.admin.handlers import Method, Places
from kedge.audit.errors import AuditError
from kedge.audit.merkle import Tree, leaf_hash
from kedge.audit.reader import Reader
from kedge.errors import Code, RequestError
from kedge.proto import audit as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.admin.handlers import Call

PAGE: Final = 100
MOST: Final = 1000
"""Records of a page."""
PAGE_BYTES: Final = 1024 * 1024
"""Of records, after which a page ends: it is held in memory."""
WATCHERS: Final = 8
"""At once; each holds a thread of the admin port."""
PATIENCE: Final = 1.0
"""Seconds between two looks for new records."""


class Audit:
    """All methods of the service. Thread-safe.

    Args:
        database: the state database, which holds the log.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._tree = Tree()
        self._places = Places(WATCHERS, "watch the audit log")
        self._stopped = threading.Event()

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "ListEntries": Method(pb.ListEntriesRequest, self.entries),
            "GetCheckpoint": Method(pb.GetCheckpointRequest, self.checkpoint),
            "GetInclusionProof": Method(pb.GetInclusionProofRequest, self.inclusion),
            "GetConsistencyProof": Method(pb.GetConsistencyProofRequest, self.consistency),
            "WatchEntries": Method(pb.WatchEntriesRequest, self.watch, streams=True),
        }

    def stop(self) -> None:
        """End every stream within a second."""
        self._stopped.set()

    def entries(self, request: pb.ListEntriesRequest, _call: Call) -> pb.ListEntriesResponse:
        """Answer ListEntries."""
        if request.limit > MOST:
            raise RequestError(Code.INVALID_ARGUMENT, f"a page has at most {MOST} records, not {request.limit}")
        with Reader(self._database) as log:
            entries = list(_page(log, request.first, request.limit or PAGE))
            return pb.ListEntriesResponse(entries=entries, size=log.size())

    def checkpoint(self, _request: pb.GetCheckpointRequest, _call: Call) -> pb.AuditCheckpoint:
        """Answer GetCheckpoint."""
        with Reader(self._database) as log:
            size, note = log.last_checkpoint()
        return pb.AuditCheckpoint(note=note, size=size)

    def inclusion(self, request: pb.GetInclusionProofRequest, _call: Call) -> pb.AuditProof:
        """Answer GetInclusionProof."""
        return self._proof(lambda tree: tree.inclusion_proof(request.sequence, request.size))

    def consistency(self, request: pb.GetConsistencyProofRequest, _call: Call) -> pb.AuditProof:
        """Answer GetConsistencyProof."""
        return self._proof(lambda tree: tree.consistency_proof(request.first, request.second))

    def watch(self, request: pb.WatchEntriesRequest, call: Call) -> Iterator[pb.AuditEntry]:
        """Answer WatchEntries."""
        first = request.first
        with self._places.one():
            while call.active() and not self._stopped.is_set():
                with Reader(self._database) as log:
                    entries = list(_page(log, first, MOST))
                yield from entries
                if entries:
                    first = entries[-1].sequence + 1
                else:
                    self._stopped.wait(PATIENCE)

    def _proof(self, prove: Callable[[Tree], list[bytes]]) -> pb.AuditProof:
        """A proof from the tree, which is kept in memory (64 bytes a record) and grown by what is new."""
        with self._lock, Reader(self._database) as log:
            for entry in _page(log, len(self._tree), None):
                self._tree.append(leaf_hash(entry.record))
            try:
                return pb.AuditProof(hashes=prove(self._tree))
            except IndexError as error:
                raise RequestError(Code.INVALID_ARGUMENT, f"{error}; the log has {len(self._tree)} records") from error


def _page(log: Reader, first: int, most: int | None) -> Iterator[pb.AuditEntry]:
    """Records from `first` on; with `most` a page of them."""
    if first > log.size():
        return
    left = PAGE_BYTES
    for position, (found, data) in enumerate(log.records(first), first):
        if found != position or not isinstance(data, bytes):
            raise AuditError(f"record {position} of the audit log is damaged; run: kedge audit verify")
        if most is not None and (position - first >= most or left <= 0):
            return
        left -= len(data)
        yield pb.AuditEntry(sequence=position, record=data)
