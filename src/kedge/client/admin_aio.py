"""The asynchronous client of the admin port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, cast

import grpc
import grpc.aio

from kedge.client.admin_port import (
    NOBODY,
    Attempts,
    Credentials,
    M,
    Source,
    channel,
    fresh,
    gather,
    plan_text,
    stream,
)
from kedge.client.audit import AsyncAuditClient
from kedge.client.calls import ADMIN, REPORTS, failure, method
from kedge.proto import admin as pb
from kedge.proto import outcomes_report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from google.protobuf.message import Message


class AsyncAdminClient:
    """As `AdminClient`, for asyncio. Make it inside the event loop that uses it."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 30.0,
        command_timeout: float = 600.0,
        credentials: Credentials = NOBODY,
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._command_timeout = command_timeout
        self._metadata = credentials.metadata()
        self._channel = channel(address, credentials, grpc.aio)
        self.audit = AsyncAuditClient(address, self._channel, self._metadata, timeout)

    async def status(self, model: str = "") -> pb.ServerStatus:
        """What is live and how its rollout stands, of one model or all."""
        return await self._call("GetStatus", pb.GetStatusRequest(model=model), pb.ServerStatus)

    async def outcomes(self, model: str = "") -> outcomes_report.OutcomesReports:
        """What labels say of every bundle that answers, of one model or all: ``outcomes_report.proto``."""
        message = outcomes_report.GetOutcomesReportRequest(model=model)
        return await self._call("GetOutcomesReport", message, outcomes_report.OutcomesReports, REPORTS)

    async def drift(self, model: str, since: float = 0.0) -> pb.DriftReport:
        """Traffic since a moment (seconds since 1970; 0: all remembered) against the live bundle's reference."""
        return await self._call("GetDriftReport", pb.GetDriftReportRequest(model=model, since=since), pb.DriftReport)

    def watch(self, model: str = "") -> AsyncIterator[pb.Verdicts]:
        """How everything stands, then every change, until the caller stops or the server ends."""
        return self._stream("WatchVerdicts", pb.WatchVerdictsRequest(model=model), pb.Verdicts)

    def events(self, model: str = "", *, after: int = 0, once: bool = False) -> AsyncIterator[pb.Event]:
        """What happened after an event, by its sequence; then, unless `once`, what happens until the caller stops."""
        return self._stream("WatchEvents", pb.WatchEventsRequest(model=model, after=after, once=once), pb.Event)

    async def bundles(self, model: str = "") -> pb.ListBundlesResponse:
        """Bundles in the store, of one model or all."""
        return await self._call("ListBundles", pb.ListBundlesRequest(model=model), pb.ListBundlesResponse)

    async def bundle(self, reference: str) -> pb.GetBundleResponse:
        """One bundle, by id, prefix of it or NAME-VERSION."""
        return await self._call("GetBundle", pb.GetBundleRequest(reference=reference), pb.GetBundleResponse)

    async def upload(
        self, archive: Path, *, reason: str = "", advance: Callable[[int], None] | None = None
    ) -> pb.Bundle:
        """Send an archive, and the attestations beside it, to the store. Goes on where an earlier attempt broke off.

        Args:
            archive: the file.
            reason: why, for the audit log.
            advance: told the bytes that were sent, as they are.

        Raises:
            OSError: the file cannot be read.
        """
        source, attempts = await asyncio.to_thread(Source, archive, reason, advance), Attempts()
        query = pb.QueryUploadRequest(sha256=source.sha256)
        call = gather(self._channel, ADMIN + "UploadBundle", pb.UploadBundleResponse)
        while True:
            try:
                answer = await self._raw("QueryUpload", query, pb.QueryUploadResponse, self._timeout)
                attempts.offset = answer.offset
                sent = await call(source.messages(attempts.offset), metadata=self._metadata)
                return cast("pb.Bundle", sent.bundle)
            except grpc.RpcError as error:
                pause = attempts.pause(error)
                if pause is None:
                    raise failure(error, self.address, ADMIN) from error
            await asyncio.sleep(pause)

    async def deploy(
        self,
        reference: str,
        *,
        strategy: str = "",
        plan: Mapping[str, Any] | None = None,
        reason: str = "",
        key: str = "",
    ) -> pb.ModelStatus:
        """Bring a stored bundle into service by a rollout.

        Args:
            reference: id, prefix of it or NAME-VERSION.
            strategy: ``swap``, ``shadow`` or ``canary``; empty: as the plan or the bundle says.
            plan: as in its YAML file; None: the bundle's own or the default.
            reason: why, for the audit log.
            key: idempotency key.
        """
        request = pb.DeployRequest(
            reference=reference, strategy=strategy, plan=plan_text(plan), reason=reason, idempotency_key=fresh(key)
        )
        return (await self._command("Deploy", request, pb.CommandResponse)).model

    async def promote(
        self, model: str, *, reason: str = "", key: str = "", expected: int | None = None
    ) -> pb.ModelStatus:
        """Go to the next step of the rollout now."""
        return await self._rollout("Promote", model, reason, key, expected)

    async def pause(
        self, model: str, *, reason: str = "", key: str = "", expected: int | None = None
    ) -> pb.ModelStatus:
        """Hold the rollout where it is."""
        return await self._rollout("Pause", model, reason, key, expected)

    async def resume(
        self, model: str, *, reason: str = "", key: str = "", expected: int | None = None
    ) -> pb.ModelStatus:
        """Go on with a paused rollout."""
        return await self._rollout("Resume", model, reason, key, expected)

    async def abort(
        self, model: str, *, reason: str = "", key: str = "", expected: int | None = None
    ) -> pb.ModelStatus:
        """End the rollout; its candidate may be deployed again."""
        return await self._rollout("Abort", model, reason, key, expected)

    async def rollback(
        self, model: str, *, to: str = "", reason: str, key: str = "", expected: int | None = None
    ) -> pb.ModelStatus:
        """Serve the last good bundle again, or the one that `to` names, at once."""
        request = pb.RollbackRequest(
            model=model, to=to, reason=reason, idempotency_key=fresh(key), expected_revision=expected
        )
        return (await self._command("Rollback", request, pb.CommandResponse)).model

    async def recommend(self, model: str) -> pb.RecommendRollbackResponse:
        """Which retained bundle fits today's traffic best; changes nothing."""
        request = pb.RecommendRollbackRequest(model=model)
        return await self._command("RecommendRollback", request, pb.RecommendRollbackResponse)

    async def clear_quarantine(self, reference: str, *, reason: str, key: str = "") -> str:
        """Allow a rolled back bundle to be deployed again. Returns its id."""
        request = pb.ClearQuarantineRequest(reference=reference, reason=reason, idempotency_key=fresh(key))
        return (await self._command("ClearQuarantine", request, pb.ClearQuarantineResponse)).bundle

    async def delete(self, reference: str, *, reason: str, key: str = "") -> str:
        """Remove a bundle from the store. Returns its id."""
        request = pb.DeleteBundleRequest(reference=reference, reason=reason, idempotency_key=fresh(key))
        return (await self._command("DeleteBundle", request, pb.DeleteBundleResponse)).bundle

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _rollout(self, name: str, model: str, reason: str, key: str, expected: int | None) -> pb.ModelStatus:
        request = pb.CommandRequest(model=model, reason=reason, idempotency_key=fresh(key), expected_revision=expected)
        return (await self._command(name, request, pb.CommandResponse)).model

    async def _call(self, name: str, message: Message, response: type[M], service: str = ADMIN) -> M:
        try:
            return await self._raw(name, message, response, self._timeout, service)
        except grpc.RpcError as error:
            raise failure(error, self.address, service) from error

    async def _command(self, name: str, message: Message, response: type[M]) -> M:
        try:
            return await self._raw(name, message, response, self._command_timeout)
        except grpc.RpcError as error:
            raise failure(error, self.address, ADMIN) from error

    async def _raw(self, name: str, message: Message, response: type[M], timeout: float, service: str = ADMIN) -> M:
        call = method(self._channel, service + name, response)
        return cast("M", await call(message, timeout=timeout, metadata=self._metadata))

    async def _stream(self, name: str, message: Message, response: type[M]) -> AsyncIterator[M]:
        call = stream(self._channel, ADMIN + name, response)(message, metadata=self._metadata)
        try:
            async for message_ in call:
                yield message_
        except grpc.RpcError as error:
            raise failure(error, self.address, ADMIN) from error
        finally:
            call.cancel()
