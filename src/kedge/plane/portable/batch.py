"""Batch: what waits for the same target and can run together does. No timer unless the bundle asks for one."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from kedge.errors import Code, RequestError
from kedge.plane.portable.run import Run, Waiting, execute
from kedge.plane.text import quoted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from kedge.plane.portable.route import Target


class _Group:
    """Requests that may run together: equal target, and equal shapes but for the rows."""

    def __init__(self, target: Target, *, large: bool) -> None:
        self.target = target
        self.large = large
        self.waiting: deque[Waiting] = deque()
        self.rows = 0
        self.closed = False
        self.timed = False


class Batcher:
    """The queue of one model. Touched by the serving thread alone.

    Requests that one turn of the loop brings run together in the next; while the model's threads are busy, requests
    gather behind them. A request that is alone in the plane runs at once, for want of company.

    Args:
        loop: of the serving thread.
        observe: told of every run.
        max_queue: requests that may wait, at most.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        observe: Callable[[Target, Run[Waiting]], None],
        max_queue: int,
    ) -> None:
        self._loop = loop
        self._observe = observe
        self._max_queue = max_queue
        self._groups: dict[Hashable, _Group] = {}
        self._count = 0
        self._running = 0
        self._scheduled = False

    def add(self, target: Target, waiting: Waiting, *, large: bool, alone: bool) -> None:
        """Queue a request; its answer gets its outputs, or a `RequestError`.

        Args:
            target: whom it was picked for.
            waiting: the request.
            large: the message is so large that it must not run on the serving thread.
            alone: no other request is under way.

        Raises:
            RequestError: RESOURCE_EXHAUSTED where the queue is full.
        """
        model = target.model
        if self._count >= min(self._max_queue, model.max_queue):
            raise RequestError(
                Code.RESOURCE_EXHAUSTED,
                f"the queue of model {quoted(model.handle.model)} is full: {self._count} requests wait",
            )
        key = (target.model.handle.key, target.arm, target.epoch, waiting.tensors.shape, large)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(target, large=large)
        group.waiting.append(waiting)
        group.rows += waiting.tensors.rows
        self._count += 1
        if alone and not model.delay_us and self._is_inline(group):
            self._start(key, group)
        else:
            self._schedule()

    def close_batches(self) -> None:
        """Run what waits for company now: its route has been replaced."""
        for group in self._groups.values():
            group.closed = True
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            # whatever the loop decodes in this turn is in the batch of the next
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Start one batch of every group that may run now."""
        self._scheduled = False
        for key, group in list(self._groups.items()):
            remaining = self._company(group)
            if remaining > 0:
                self._look_again(group, remaining)
            else:
                self._start(key, group)

    def _start(self, key: Hashable, group: _Group) -> None:
        """Run the next batch of a group, here or in a thread; a group whose threads are busy comes again later."""
        target, model = group.target, group.target.model
        inline = self._is_inline(group)
        if not inline and self._running >= model.instances:
            return
        members = self._take(key, group)
        if members and inline:
            self._finish(target, *self._timed(target, members))
        elif members:
            self._running += 1
            model.pool.submit(execute, model, members).add_done_callback(partial(self._come_back, target))
        if group.waiting:
            self._schedule()

    def _is_inline(self, group: _Group) -> bool:
        """Does the next batch of this group run on the serving thread."""
        model = group.target.model
        rows = max(group.waiting[0].tensors.rows, min(group.rows, model.max_batch))
        return not group.large and rows <= model.inline_rows

    def _timed(
        self, target: Target, members: list[Waiting]
    ) -> tuple[list[Run[Waiting]], list[tuple[Waiting, RequestError]]]:
        """Run on this thread, and note how long it was held up."""
        before = time.thread_time_ns()
        done = execute(target.model, members)
        target.model.note_inline(time.thread_time_ns() - before)
        return done

    def _company(self, group: _Group) -> int:
        """Nanoseconds this group still waits for company."""
        model = group.target.model
        if not model.delay_us or group.closed or group.rows >= model.max_batch:
            return 0
        return group.waiting[0].arrived + model.delay_us * 1000 - time.monotonic_ns()

    def _look_again(self, group: _Group, nanoseconds: int) -> None:
        """Take a turn after this time, whatever comes until then."""
        if not group.timed:
            group.timed = True
            self._loop.call_later(nanoseconds / 1e9, self._time_is_up, group)

    def _time_is_up(self, group: _Group) -> None:
        group.timed = False
        if self._groups:
            self._schedule()

    def _take(self, key: Hashable, group: _Group) -> list[Waiting]:
        """The next batch of a group, without those that nobody waits for any more."""
        model = group.target.model
        members: list[Waiting] = []
        rows = 0
        now = time.monotonic_ns()
        while group.waiting:
            head = group.waiting[0]
            wanted = not head.answer.done()
            if wanted and members and (not model.signature.batchable or rows + head.tensors.rows > model.max_batch):
                break
            group.waiting.popleft()
            group.rows -= head.tensors.rows
            self._count -= 1
            if not wanted:
                continue
            if head.deadline is not None and now >= head.deadline:
                head.answer.set_exception(expired(model.handle.model))
                continue
            members.append(head)
            rows += head.tensors.rows
        del self._groups[key]
        if group.waiting:
            self._groups[key] = group  # behind the other groups, which get their turn first
        return members

    def _come_back(self, target: Target, done: Any) -> None:
        """On the run's own thread: hand the result to the serving thread."""
        with suppress(RuntimeError):  # the plane was stopped meanwhile
            self._loop.call_soon_threadsafe(self._ended, target, done)

    def _ended(self, target: Target, done: Any) -> None:
        self._running -= 1
        self._finish(target, *done.result())
        if self._groups:
            self._schedule()

    def _finish(self, target: Target, runs: list[Run[Waiting]], failures: list[tuple[Waiting, RequestError]]) -> None:
        """Hand out the answers, then count."""
        for run in runs:
            for member, outputs in zip(run.members, run.split(), strict=True):
                if not member.answer.done():
                    member.answered = True
                    member.answer.set_result(outputs)
        for member, error in failures:
            if not member.answer.done():
                member.answer.set_exception(error)
        for run in runs:
            self._observe(target, run)


def expired(model: str) -> RequestError:
    """What a request whose deadline passed before its run is told."""
    return RequestError(Code.DEADLINE_EXCEEDED, f"the deadline passed before model {quoted(model)} ran this request")
