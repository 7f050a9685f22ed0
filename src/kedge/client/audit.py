"""Clients of the audit log. What they get is to be verified, with `kedge.audit.merkle` and `kedge.audit.note`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import grpc

from kedge.client.admin_port import M, stream
from kedge.client.calls import AUDIT, failure, method
from kedge.proto import audit as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from google.protobuf.message import Message


class AuditClient:
    """Records, checkpoints and proofs of one server, over a channel of `AdminClient`, which closes it.

    Answers are the messages of ``protos/kedge/v1/audit.proto``. Every method raises as those of `AdminClient`.
    """

    def __init__(self, address: str, channel: Any, metadata: tuple[tuple[str, str], ...], timeout: float) -> None:
        self._address = address
        self._channel = channel
        self._metadata = metadata
        self._timeout = timeout

    def entries(self, first: int = 0, limit: int = 0) -> pb.ListEntriesResponse:
        """A page of records from `first` on, at most `limit` (0: 100)."""
        return self._call("ListEntries", pb.ListEntriesRequest(first=first, limit=limit), pb.ListEntriesResponse)

    def checkpoint(self) -> pb.AuditCheckpoint:
        """The newest checkpoint, signed."""
        return self._call("GetCheckpoint", pb.GetCheckpointRequest(), pb.AuditCheckpoint)

    def inclusion_proof(self, sequence: int, size: int) -> list[bytes]:
        """Proof for `kedge.audit.merkle.verify_inclusion` that a record is in the tree of `size` records."""
        request = pb.GetInclusionProofRequest(sequence=sequence, size=size)
        return list(self._call("GetInclusionProof", request, pb.AuditProof).hashes)

    def consistency_proof(self, first: int, second: int) -> list[bytes]:
        """Proof for `kedge.audit.merkle.verify_consistency` that the tree of one size begins that of the other."""
        request = pb.GetConsistencyProofRequest(first=first, second=second)
        return list(self._call("GetConsistencyProof", request, pb.AuditProof).hashes)

    def watch(self, first: int = 0) -> Iterator[pb.AuditEntry]:
        """Records from `first` on, then every new one, until the caller stops or the server ends."""
        request = pb.WatchEntriesRequest(first=first)
        call = stream(self._channel, AUDIT + "WatchEntries", pb.AuditEntry)(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise failure(error, self._address, AUDIT) from error
        finally:
            call.cancel()

    def _call(self, name: str, message: Message, response: type[M]) -> M:
        call = method(self._channel, AUDIT + name, response)
        try:
            return cast("M", call(message, timeout=self._timeout, metadata=self._metadata))
        except grpc.RpcError as error:
            raise failure(error, self._address, AUDIT) from error


class AsyncAuditClient:
    """As `AuditClient`, for asyncio, over a channel of `AsyncAdminClient`."""

    def __init__(self, address: str, channel: Any, metadata: tuple[tuple[str, str], ...], timeout: float) -> None:
        self._address = address
        self._channel = channel
        self._metadata = metadata
        self._timeout = timeout

    async def entries(self, first: int = 0, limit: int = 0) -> pb.ListEntriesResponse:
        """A page of records from `first` on, at most `limit` (0: 100)."""
        return await self._call("ListEntries", pb.ListEntriesRequest(first=first, limit=limit), pb.ListEntriesResponse)

    async def checkpoint(self) -> pb.AuditCheckpoint:
        """The newest checkpoint, signed."""
        return await self._call("GetCheckpoint", pb.GetCheckpointRequest(), pb.AuditCheckpoint)

    async def inclusion_proof(self, sequence: int, size: int) -> list[bytes]:
        """Proof for `kedge.audit.merkle.verify_inclusion` that a record is in the tree of `size` records."""
        request = pb.GetInclusionProofRequest(sequence=sequence, size=size)
        return list((await self._call("GetInclusionProof", request, pb.AuditProof)).hashes)

    async def consistency_proof(self, first: int, second: int) -> list[bytes]:
        """Proof for `kedge.audit.merkle.verify_consistency` that the tree of one size begins that of the other."""
        request = pb.GetConsistencyProofRequest(first=first, second=second)
        return list((await self._call("GetConsistencyProof", request, pb.AuditProof)).hashes)

    async def watch(self, first: int = 0) -> AsyncIterator[pb.AuditEntry]:
        """Records from `first` on, then every new one, until the caller stops or the server ends."""
        request = pb.WatchEntriesRequest(first=first)
        call = stream(self._channel, AUDIT + "WatchEntries", pb.AuditEntry)(request, metadata=self._metadata)
        try:
            async for entry in call:
                yield entry
        except grpc.RpcError as error:
            raise failure(error, self._address, AUDIT) from error
        finally:
            call.cancel()

    async def _call(self, name: str, message: Message, response: type[M]) -> M:
        call = method(self._channel, AUDIT + name, response)
        try:
            return cast("M", await call(message, timeout=self._timeout, metadata=self._metadata))
        except grpc.RpcError as error:
            raise failure(error, self._address, AUDIT) from error
