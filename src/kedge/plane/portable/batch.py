"""Batch: what waits for the same target and can run together does. No timer unless bundle or deadline ask for one."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from kedge.errors import Code, RequestError
from kedge.plane.portable.run import execute, expired
from kedge.plane.text import quoted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future

    from kedge.plane.portable.model import Model
    from kedge.plane.portable.route import Target
    from kedge.plane.portable.run import Done, Run, Waiting

_LOOK_EVERY_NS: Final = 5_000_000
"""Deadlines that pass within this time of each other are looked for together."""

_AVERAGE_OVER: Final = 8
"""Runs."""


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
    gather behind them.

    Args:
        model: whose.
        loop: of the serving thread.
        observe: told of every run.
        max_queue: requests that may wait, at most.
    """

    def __init__(
        self,
        model: Model,
        loop: asyncio.AbstractEventLoop,
        observe: Callable[[Target, Run[Waiting]], None],
        max_queue: int,
    ) -> None:
        self._model = model
        self._loop = loop
        self._observe = observe
        self._max_queue = min(max_queue, model.max_queue)
        self._groups: dict[Hashable, _Group] = {}
        self._count = 0
        self._rows = 0
        self._run_ns = 0
        self._handed: dict[Future[Done], list[Waiting]] = {}
        self._scheduled = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0

    def add(self, target: Target, waiting: Waiting, *, large: bool) -> None:
        """Queue a request; its answer gets its outputs, or a `RequestError`.

        Args:
            target: whom it was picked for.
            waiting: the request.
            large: the message is so large that it must not run on the serving thread.

        Raises:
            RequestError: RESOURCE_EXHAUSTED where the queue is full, or too long for the request's deadline.
        """
        if self._count >= self._max_queue:
            raise self._shed(f"full: {self._count} requests wait")
        if not self._in_time(waiting):
            raise self._shed("too long for the deadline; try again later")
        key = (target.arm, target.epoch, waiting.tensors.shape, large)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(target, large=large)
        group.waiting.append(waiting)
        group.rows += waiting.tensors.rows
        self._count += 1
        self._rows += waiting.tensors.rows
        if waiting.deadline is not None:
            self._watch(waiting.deadline)
        self._schedule()

    def close_batches(self) -> None:
        """Run what waits for company now: its route has been replaced."""
        for group in self._groups.values():
            group.closed = True
        self._schedule()

    def _shed(self, why: str) -> RequestError:
        return RequestError(Code.RESOURCE_EXHAUSTED, f"the queue of model {quoted(self._model.handle.model)} is {why}")

    def _in_time(self, waiting: Waiting) -> bool:
        """Whether a request that is queued now will have run by its deadline, as far as runs so far tell.

        First come, first served would otherwise fill the queue up to where every request's turn comes just too late,
        and all runs would be for nothing. A quarter of the time is left for what is not foreseen.
        """
        model, handed = self._model, len(self._handed)
        if waiting.deadline is None or self._count + handed < model.instances:
            return True
        batchable = model.signature.batchable
        runs = (self._rows + waiting.tensors.rows - 1) // model.max_batch if batchable else self._count
        wait = (runs + max(0, handed - model.instances) + 0.5) * self._run_ns / model.instances
        return wait <= 0.75 * (waiting.deadline - time.monotonic_ns() - self._run_ns)

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
        target, model = group.target, self._model
        inline = self._is_inline(group)
        if not inline and not self._has_room(group):
            return
        members = self._take(key, group)
        if members and inline:
            self._finish(target, self._run_here(members))
        elif members:
            work = model.pool.submit(execute, model, members)
            self._handed[work] = members
            work.add_done_callback(partial(self._come_back, target))
        if group.waiting:
            self._schedule()

    def _is_inline(self, group: _Group) -> bool:
        """Does the next batch of this group run on the serving thread."""
        model = self._model
        rows = max(group.waiting[0].tensors.rows, min(group.rows, model.max_batch))
        return not group.large and rows <= model.inline_rows

    def _has_room(self, group: _Group) -> bool:
        """May a batch be handed to the threads: while one is free, and the one after it if waiting could add nothing.

        A thread that ends a run then finds its next one without waiting for this thread.
        """
        return len(self._handed) < self._model.instances * (2 if self._is_full(group) else 1)

    def _is_full(self, group: _Group) -> bool:
        """Nothing that may still come could join the group's next batch."""
        return group.rows >= self._model.max_batch

    def _run_here(self, members: list[Waiting]) -> Done:
        """Run on this thread, and note how long it was held up."""
        before = time.thread_time_ns()
        done = execute(self._model, members)
        busy = time.thread_time_ns() - before
        self._model.note_inline(busy, busy)
        return done

    def _company(self, group: _Group) -> int:
        """Nanoseconds this group still waits for company."""
        model = self._model
        if not model.delay_us or group.closed or self._is_full(group):
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
        model = self._model
        members: list[Waiting] = []
        rows = 0
        # a batch handed over ahead waits for the run before it
        done = time.monotonic_ns() + self._run_ns * (1 if len(self._handed) < model.instances else 2)
        while group.waiting:
            head = group.waiting[0]
            wanted = not head.answer.done()
            if wanted and head.deadline is not None and head.deadline < done and self._count > 1:
                # the last one is always tried: what is known of runs may be wrong, and only runs put it right
                head.answer.set_exception(expired(model))
                wanted = False
            if wanted and members and (not model.signature.batchable or rows + head.tensors.rows > model.max_batch):
                break
            group.waiting.popleft()
            group.rows -= head.tensors.rows
            self._count -= 1
            self._rows -= head.tensors.rows
            if wanted:
                members.append(head)
                rows += head.tensors.rows
        del self._groups[key]
        if group.waiting:
            self._groups[key] = group  # behind the other groups, which get their turn first
        return members

    def _watch(self, deadline: int) -> None:
        """Look for requests whose deadline has passed once this one has; there is one timer, for the earliest."""
        if self._alarm is not None:
            if self._alarm_at <= deadline:
                return
            self._alarm.cancel()
        self._alarm_at = deadline
        self._alarm = self._loop.call_later(max(0, deadline - time.monotonic_ns()) / 1e9, self._give_up)

    def _give_up(self) -> None:
        """Answer the requests whose deadline has passed."""
        self._alarm = None
        now = time.monotonic_ns()
        following: int | None = None
        queued = (member for group in self._groups.values() for member in group.waiting)
        handed = (member for members in self._handed.values() for member in members)
        for member in (*queued, *handed):
            if member.deadline is None or member.answer.done():
                continue
            if member.deadline <= now:
                member.answer.set_exception(expired(self._model))
            elif following is None or member.deadline < following:
                following = member.deadline
        for key, group in list(self._groups.items()):
            self._sweep(key, group)
        if following is not None:
            self._watch(max(following, now + _LOOK_EVERY_NS))

    def _sweep(self, key: Hashable, group: _Group) -> None:
        """Let go of those that nobody waits for any more."""
        wanted = [member for member in group.waiting if not member.answer.done()]
        self._count -= len(group.waiting) - len(wanted)
        self._rows -= group.rows
        group.rows = sum(member.tensors.rows for member in wanted)
        self._rows += group.rows
        group.waiting = deque(wanted)
        if not wanted:
            del self._groups[key]

    def _come_back(self, target: Target, work: Future[Done]) -> None:
        """On the run's own thread: hand the result to the serving thread."""
        with suppress(RuntimeError):  # the plane was stopped meanwhile
            self._loop.call_soon_threadsafe(self._ended, target, work)

    def _ended(self, target: Target, work: Future[Done]) -> None:
        del self._handed[work]
        if self._groups:
            self._turn()  # before the answers: the threads' next run comes first
        done = work.result()
        for run in done[0]:
            self._run_ns += (run.nanoseconds - self._run_ns) // (_AVERAGE_OVER if self._run_ns else 1)
        self._finish(target, done)

    def _finish(self, target: Target, done: Done) -> None:
        """Hand out the answers, then count."""
        runs, failures = done
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
