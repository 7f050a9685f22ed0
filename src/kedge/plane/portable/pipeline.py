"""The request path: receive, decode, pick, add, run, encode, send, observe."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from kedge.errors import Code, RequestError
from kedge.plane import limits
from kedge.plane.portable import answer, decode, encode, route
from kedge.plane.portable.batch import Batcher
from kedge.plane.portable.envelope import Envelopes
from kedge.plane.portable.observe import Observer
from kedge.plane.portable.run import Request, Waiting, expired, failed, run_together
from kedge.plane.portable.seal import Sealing
from kedge.plane.portable.session import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel
    from kedge.plane.portable.envelope import Asked
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.route import Table, Target
    from kedge.plane.portable.run import Run
    from kedge.plane.portable.units import Keyed

    KeyOfHeader = Callable[[], str | None]

_CANCELLED = Code.CANCELLED.value
_OBSERVE_EVERY = 0.01
"""Seconds that runs are collected before they are counted together: a call to count costs more than a row."""
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
        self._envelopes = Envelopes()
        self._batchers: dict[int, Batcher] = {}
        self._loop = asyncio.get_running_loop()
        self._not_ready = not_ready

    async def infer(self, payload: bytes, time_remaining: float | None, key_of_header: KeyOfHeader) -> bytes:
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
        asked = self._envelopes.read(payload)
        target, unit = self._pick(asked.model, asked.version, asked.parameters.key, key_of_header)
        model = target.model
        request: Request | None = None
        self.active += 1
        model.active += 1
        try:
            _check(asked, model)
            if asked.parameters.timeout_us:
                own = arrived + asked.parameters.timeout_us * 1000
                deadline = own if deadline is None else min(deadline, own)
            tensors = self._envelopes.tensors(asked, payload, model.signature, no_ids=self.sealing.why_not(model))
            if deadline is not None and time.monotonic_ns() >= deadline:
                raise expired(model)
            large = len(payload) > limits.INLINE_MESSAGE_BYTES
            if self.active == 1 and tensors.rows <= model.inline_rows and not large and not model.delay_us:
                # nobody else is here: it runs at once, for want of company, without a queue and a future
                request = Request(tensors, arrived, unit, False)
                outputs = self._run_now(target, request)
            else:
                request = waiting = Waiting(
                    tensors, arrived, unit, answered=False, deadline=deadline, answer=self._loop.create_future()
                )
                self._batcher(model).add(target, waiting, large=large)
                outputs = await waiting.answer
            confident = asked.parameters.confidence
            carried, prediction_id = answer.compose(self.sealing, target, unit, tensors, outputs, confident=confident)
            return encode.response(
                target.constant, asked.id, carried, raw=tensors.raw, final=asked.final, prediction_id=prediction_id
            )
        except RequestError as error:
            if isinstance(error, decode.SchemaError):
                self.observer.violation(target, error.kind, error.name)
            if request is not None:
                request.answered = False  # it is counted here, not with its run
            self.observer.status(target, error.code.value, unit)
            raise
        except asyncio.CancelledError:
            if request is None or not request.answered:  # else it is counted with its run
                late = deadline is not None and time.monotonic_ns() >= deadline
                self.observer.status(target, _EXPIRED if late else _CANCELLED, unit)
            raise
        finally:
            self.active -= 1
            model.active -= 1

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
        self._envelopes.forget()
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
        self, model: str, version: str, key: str | None, key_of_header: KeyOfHeader
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

    def _run_now(self, target: Target, request: Request) -> list[NDArray[Any]]:
        """Run a request on this thread, and note how long that was held up. Raises `RequestError` where it fails."""
        model = target.model
        before = time.thread_time_ns() if model.timed else None
        try:
            run = run_together(model, (request,))
        except (RunError, MemoryError) as error:
            raise failed(model, error) from None
        model.note_inline(run.nanoseconds, None if before is None else time.thread_time_ns() - before)
        request.answered = True
        self._observe(target, run)
        return run.outputs

    def _batcher(self, model: Model) -> Batcher:
        batcher = self._batchers.get(model.handle.key)
        if batcher is None:
            batcher = self._batchers[model.handle.key] = Batcher(model, self._loop, self._observe, self.max_queue)
        return batcher

    def _observe(self, target: Target, run: Run[Request]) -> None:
        """Count a run soon: by then its answers have left."""
        observer = self.observer
        if observer.idle:
            self._loop.call_later(_OBSERVE_EVERY, observer.flush)
        observer.run(target, run)


def _check(asked: Asked, model: Model) -> None:
    """Refuse what no model takes, or not this one. Raises `RequestError`."""
    if asked.refusal is not None:
        raise asked.refusal
    if len(asked.id) > limits.MAX_ID_BYTES:
        raise RequestError(
            Code.INVALID_ARGUMENT, f"id: expected at most {limits.MAX_ID_BYTES} characters, got {len(asked.id)}"
        )
    if asked.parameters.confidence and model.no_confidence:
        raise RequestError(
            Code.INVALID_ARGUMENT,
            f"parameter 'kedge_confidence' is not available {model.signature.of_model}: {model.no_confidence}",
        )
