"""The request path: receive, decode, pick, add, run, encode, send, observe."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from kedge.errors import Code, RequestError
from kedge.plane import limits
from kedge.plane.portable import answer, decode, encode, parameters, route
from kedge.plane.portable.batch import Batcher, expired
from kedge.plane.portable.observe import Observer
from kedge.plane.portable.run import Waiting
from kedge.plane.portable.seal import Sealing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kedge.kernel.contract import Kernel
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.route import Table, Target
    from kedge.plane.portable.run import Run
    from kedge.plane.portable.units import Keyed

_CANCELLED = Code.CANCELLED.value
_OBSERVE_EVERY = 0.002
"""Seconds that runs are collected before they are counted together."""
_EXPIRED = Code.DEADLINE_EXCEEDED.value


class Pipeline:
    """Answers requests from the table in force. Everything in it is touched by the serving thread alone.

    Args:
        kernel: counts.
        clock: seconds since 1970, for the periods of sticky keys.
        not_ready: names and versions of bundles that are loading, or loaded and never routed to.

    Attributes:
        table: in force.
        max_queue: requests that may wait for a model.
        leaving: answers "not ready", and serves.
        drain_begins: set when new requests are refused.
        active, streams: requests and streams under way.
        observer: the counts.
        sealing: the prediction ids.
    """

    def __init__(
        self, kernel: Kernel, clock: Callable[[], float], not_ready: Callable[[], Iterable[tuple[str, str]]]
    ) -> None:
        self.table: Table = route.EMPTY
        self.max_queue = 0
        self.leaving = False
        self.drain_begins = asyncio.Event()
        self.active = 0
        self.streams = 0
        self.observer = Observer(kernel)
        self.sealing = Sealing(clock)
        self._clock = clock
        self._batchers: dict[int, Batcher] = {}
        self._loop = asyncio.get_running_loop()
        self._not_ready = not_ready

    async def infer(
        self, payload: bytes, time_remaining: float | None, key_of_header: Callable[[], str | None]
    ) -> bytes:
        """Answer one ModelInfer message.

        Args:
            payload: the serialized request.
            time_remaining: seconds until the caller's deadline, or None.
            key_of_header: the sticky key of the call's metadata, asked for only where it matters.

        Returns:
            The serialized answer.

        Raises:
            RequestError: what the client is to be told.
            CancelledError: the client is gone.
        """
        arrived = time.monotonic_ns()
        deadline = None if time_remaining is None else arrived + int(time_remaining * 1e9)
        request = decode.message(payload)
        try:
            asked = parameters.parse(request.parameters) if request.parameters else parameters.NONE
            refusal = None
        except RequestError as error:
            asked, refusal = parameters.NONE, error
        target, unit = self._pick(request.model_name, request.model_version, asked.key, key_of_header)
        waiting: Waiting | None = None
        self.active += 1
        target.model.active += 1
        try:
            if refusal is not None:
                raise refusal
            if len(request.id) > limits.MAX_ID_BYTES:
                raise RequestError(
                    Code.INVALID_ARGUMENT,
                    f"id: expected at most {limits.MAX_ID_BYTES} characters, got {len(request.id)}",
                )
            if asked.timeout_us:
                own = arrived + asked.timeout_us * 1000
                deadline = own if deadline is None else min(deadline, own)
            model = target.model
            if asked.confidence and model.no_confidence:
                raise RequestError(
                    Code.INVALID_ARGUMENT,
                    f"parameter 'kedge_confidence' is not available {model.signature.of_model}: {model.no_confidence}",
                )
            tensors = decode.tensors(request, model.signature, no_ids=self.sealing.why_not(model))
            if deadline is not None and time.monotonic_ns() >= deadline:
                raise expired(request.model_name)
            large = len(payload) > limits.INLINE_MESSAGE_BYTES
            waiting = Waiting(tensors, arrived, deadline, unit, self._loop.create_future())
            self._batcher(model).add(target, waiting, large=large, alone=self.active == 1)
            outputs = await waiting.answer
            carried, prediction_id = answer.compose(
                self.sealing, target, unit, tensors, outputs, confident=asked.confidence
            )
            return encode.response(target.constant, request, carried, raw=tensors.raw, prediction_id=prediction_id)
        except RequestError as error:
            if isinstance(error, decode.SchemaError):
                self.observer.violation(target, error.kind, error.name)
            if waiting is not None:
                waiting.answered = False  # it is counted here, not with its run
            self.observer.status(target, error.code.value, unit)
            raise
        except asyncio.CancelledError:
            if waiting is None or not waiting.answered:  # else it is counted with its run
                late = deadline is not None and time.monotonic_ns() >= deadline
                self.observer.status(target, _EXPIRED if late else _CANCELLED, unit)
            raise
        finally:
            self.active -= 1
            target.model.active -= 1

    def ready(self, model: str = "", version: str = "") -> bool:
        """Would a request for this model and version be run now; without a model, would any."""
        if self.leaving or not self.table.entries:
            return False
        entry = self.table.entries.get(model)
        return not model or (entry is not None and (not version or version in entry.versions))

    def publish(self, table: Table) -> int:
        """Put a table in force; returns the nanoseconds until requests are picked from it."""
        before = time.monotonic_ns()
        self.table = table
        for batcher in self._batchers.values():
            batcher.close_batches()
        taken = time.monotonic_ns() - before
        self.observer.shadows.route(route.model for route in table.shadows())
        open_cells = {
            (target.model.handle.bundle, target.arm, target.epoch)
            for entry in table.entries.values()
            for target in (*entry.arms, *entry.versions.values())
        }
        # an epoch may be folded while its last requests are under way: they open its cell again, and it folds again
        self.observer.fold(open_cells)
        return taken

    def drain(self) -> None:
        """Refuse new requests from now on; streams end once they have answered what they have read."""
        self.leaving = True
        self.drain_begins.set()

    def forget(self, model: Model) -> None:
        """Let go of what was kept for a model that is retired."""
        self._batchers.pop(model.handle.key, None)

    def _pick(
        self, model: str, version: str, key: str | None, key_of_header: Callable[[], str | None]
    ) -> tuple[Target, Keyed | None]:
        if self.drain_begins.is_set():
            raise RequestError(Code.UNAVAILABLE, "the server is draining; ask another one")
        table = self.table
        if version or not table.needs_key(model, sealing=self.sealing.on):
            key = None
        elif key is None:
            key = key_of_header()
        picked = table.pick(model, version, key or None, self._clock)
        if picked is None:
            if any(model == name and version in ("", number) for name, number in self._not_ready()):
                raise route.not_ready(model, version)
            raise route.not_found(model, version)
        return picked

    def _batcher(self, model: Model) -> Batcher:
        batcher = self._batchers.get(model.handle.key)
        if batcher is None:
            batcher = self._batchers[model.handle.key] = Batcher(self._loop, self._observe, self.max_queue)
        return batcher

    def _observe(self, target: Target, run: Run[Waiting]) -> None:
        """Count a run soon: by then its answers have left."""
        if self.observer.idle:
            self._loop.call_later(_OBSERVE_EVERY, self.observer.flush)
        self.observer.run(target, run)
