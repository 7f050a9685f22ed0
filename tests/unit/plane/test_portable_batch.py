"""The queue of the portable plane: who waits is told in time, and threads do not wait for the serving thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import bundles, models

from kedge.bundle.manifest import Batching, Execution, Serving
from kedge.errors import Code, RequestError
from kedge.plane.contract import Arm, LoadOptions
from kedge.plane.portable import model as portable_models
from kedge.plane.portable import run
from kedge.plane.portable.batch import Batcher
from kedge.plane.portable.decode import Tensors
from kedge.plane.portable.route import Target
from kedge.plane.portable.run import Run, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.plane.portable.model import Model


@contextmanager
def loaded(root: Path, *, max_batch: int) -> Iterator[Target]:
    """A model that takes some milliseconds, on one thread."""
    serving = Serving(execution=Execution(mode="pool"), batching=Batching(max_batch=max_batch, max_queue=64))
    directory = bundles.write(bundles.Recipe(models.slow_rows(), "m", serving=serving), root)
    model: Model = portable_models.load(directory, LoadOptions(warm_up=False))
    try:
        yield Target(model, Arm.LIVE, 1, b"")
    finally:
        model.close()


class Queue:
    """A batcher on the running loop, and what it observed."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.runs: list[Run[Waiting]] = []
        loop = asyncio.get_running_loop()
        self.batcher = Batcher(target.model, loop, lambda _, run: self.runs.append(run), 64)

    def add(self, value: float, *, seconds: float | None = None) -> Waiting:
        now = time.monotonic_ns()
        tensors = Tensors([np.full((1, 1), value, np.float32)], 1, ((1,),), True, None)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        deadline = None if seconds is None else now + int(seconds * 1e9)
        one = Waiting(tensors, now, None, answered=False, deadline=deadline, answer=answer)
        self.batcher.add(self.target, one, large=False)
        return one


@pytest.mark.parametrize("max_batch", [1, 8])
def test_a_request_is_told_when_its_deadline_passes_not_when_its_turn_comes(tmp_path: Path, max_batch: int) -> None:
    async def main(target: Target) -> None:
        queue = Queue(target)
        hold = target.model.pool.submit(held.wait)  # the one thread has something else to do
        try:
            first = queue.add(1.0)  # handed to the thread, behind that
            await asyncio.sleep(0)
            late = [queue.add(2.0, seconds=seconds) for seconds in (0.3, 0.2, 0.201, 600.0)]
            with pytest.raises(RequestError, match="deadline passed before model 'm' ran") as error:
                await late[1].answer
            assert error.value.code is Code.DEADLINE_EXCEEDED
            for one in (late[0], late[2]):
                with pytest.raises(RequestError, match="deadline"):
                    await one.answer
            assert not hold.done()
            assert not first.answer.done()
            assert not late[3].answer.done()
        finally:
            held.set()
        assert (await late[3].answer)[0].tolist() == [[2.0]]
        assert (await first.answer)[0].tolist() == [[1.0]]
        await asyncio.sleep(0)
        assert sum(run.rows for run in queue.runs) == 2

    held = Event()
    with loaded(tmp_path, max_batch=max_batch) as target:
        asyncio.run(main(target))


def test_expired_requests_leave_room_in_the_queue(tmp_path: Path) -> None:
    async def main(target: Target) -> None:
        queue = Queue(target)
        hold = target.model.pool.submit(held.wait)
        try:
            expiring = [queue.add(1.0, seconds=0.3) for _ in range(64)]
            with pytest.raises(RequestError, match="full: 64 requests wait"):
                queue.add(2.0)
            await asyncio.wait([one.answer for one in expiring])
            assert all(isinstance(one.answer.exception(), RequestError) for one in expiring)
            for _ in range(63):
                queue.add(2.0)
            last = queue.add(3.0)
            assert not hold.done()
        finally:
            held.set()
        assert (await last.answer)[0].tolist() == [[3.0]]

    held = Event()
    with loaded(tmp_path, max_batch=64) as target:
        asyncio.run(main(target))


@pytest.mark.parametrize(("max_batch", "runs"), [(1, 2), (8, 1)])
def test_a_full_batch_is_handed_over_before_its_thread_is_free(tmp_path: Path, max_batch: int, runs: int) -> None:
    """A thread that ends a run must find the next one though the serving thread is busy; a batch that may still grow
    is kept."""

    async def main(target: Target) -> None:
        queue = Queue(target)
        waiting = [queue.add(1.0)]
        await asyncio.sleep(0)
        waiting += [queue.add(2.0), queue.add(3.0)]
        await asyncio.sleep(0)
        handed = list(queue.batcher._handed)
        assert len(handed) == runs
        # this blocks the serving thread
        assert len(concurrent.futures.wait(handed, timeout=30).done) == runs
        values = [(await one.answer)[0].item() for one in waiting]
        assert values == [1.0, 2.0, 3.0]
        await asyncio.sleep(0)
        assert [run.rows for run in queue.runs] == ([1, 1, 1] if max_batch == 1 else [1, 2])

    with loaded(tmp_path, max_batch=max_batch) as target:
        asyncio.run(main(target))


def test_a_fault_of_our_own_in_a_run_is_an_answer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody may wait for ever for what has ended."""

    async def main(target: Target) -> None:
        queue = Queue(target)
        with monkeypatch.context() as faulty:
            faulty.setattr(run, "run_together", lambda *_: (_ for _ in ()).throw(KeyError("nothing")))
            for rows in (0, 1):  # on a thread, then on the serving thread
                target.model.inline_rows = rows
                failed = queue.add(1.0)
                with pytest.raises(RequestError, match="failed on this request") as error:
                    await asyncio.wait_for(failed.answer, 60)
                assert error.value.code is Code.INTERNAL
        assert (await queue.add(2.0).answer)[0].tolist() == [[2.0]]

    with loaded(tmp_path, max_batch=8) as target:
        asyncio.run(main(target))
    assert "KeyError" in caplog.text
