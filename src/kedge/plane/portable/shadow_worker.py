"""The thread of a shadow: it runs what it is given and counts what it said beside what was answered."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.errors import Code
from kedge.plane import evidence as ev
from kedge.plane import limits
from kedge.plane.portable.cells import count_rows
from kedge.plane.portable.run import Job, run_together
from kedge.plane.portable.session import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from kedge.plane.cells import CellKey
    from kedge.plane.portable.cells import Cells
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.predictions import RowPrediction
    from kedge.plane.portable.run import Run

_NICE: Final = 10

_log: Final = logging.getLogger("kedge.plane")


@dataclass(slots=True, eq=False)
class Pair(Job):
    """A request that waits for its shadow, and what it was answered."""

    cell: CellKey
    size: int
    live: RowPrediction
    live_ns: int


class Worker:
    """The thread of one shadow, and its queue.

    The serving thread shares no lock with it: one of low priority that holds a lock delays whoever waits for it. The
    model is in use for as long as the thread lives.

    Args:
        model: the shadow's.
        cells: where it counts, under `lock`.
    """

    def __init__(self, model: Model, cells: Cells, lock: threading.Lock) -> None:
        self._model = model
        self._cells = cells
        self._lock = lock
        self._queue: queue.SimpleQueue[Pair | None] = queue.SimpleQueue()
        self._next: Pair | None = None
        self._bytes_in = 0  # written by the serving thread
        self._bytes_out = 0  # written by this one
        self._closed = False
        self._trouble = ""
        model.enter()
        self._thread = threading.Thread(target=self._work, name="kedge-shadow", daemon=True)
        self._thread.start()

    def put(self, pair: Pair) -> bool:
        """Queue a pair; False where there is no room."""
        waiting = self._bytes_in - self._bytes_out
        if self._queue.qsize() >= limits.SHADOW_REQUESTS or waiting + pair.size > limits.SHADOW_BYTES:
            return False
        self._bytes_in += pair.size
        self._queue.put(pair)
        return True

    def close(self) -> None:
        """End the thread after what it runs; what waits is dropped. Nothing may be put any more."""
        self._closed = True
        self._queue.put(None)

    @property
    def lives(self) -> bool:
        """The thread has not ended."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait for the thread of a closed shadow."""
        self._thread.join()

    def _work(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            while pairs := self._take():
                self._compare(pairs)
        finally:
            self._model.leave()

    def _failed(self, pairs: Sequence[Pair], error: Exception) -> None:
        if repr(error) != self._trouble:  # it may come with every pair
            bundle = self._model.handle.bundle[:12]
            _log.error("pairs of shadow %s cannot be compared and count as failed", bundle, exc_info=error)
        self._trouble = repr(error)
        with self._lock:
            for pair in pairs:
                self._cells.of(pair.cell, self._model.watch.layout)[1][ev.FAILED] += 1

    def _take(self) -> list[Pair]:
        """What waits and can run together; nothing when closed, and all that waited is dropped."""
        first = self._next
        self._next = None
        if first is None and not self._closed:
            first = self._queue.get()
        if first is None or self._closed:
            self._drop(first)
            return []
        pairs = [first]
        rows = first.tensors.rows
        with suppress(queue.Empty):
            while (other := self._queue.get_nowait()) is not None:
                if not self._joins(first, other, rows):
                    self._next = other
                    break
                rows += other.tensors.rows
                pairs.append(other)
        self._bytes_out += sum(pair.size for pair in pairs)
        return pairs

    def _drop(self, pair: Pair | None) -> None:
        with self._lock, suppress(queue.Empty):
            while True:
                if pair is not None:
                    self._cells.of(pair.cell, self._model.watch.layout)[1][ev.DROPPED] += 1
                pair = self._queue.get_nowait()

    def _joins(self, first: Pair, other: Pair, rows: int) -> bool:
        return (
            self._model.signature.batchable
            and other.cell == first.cell
            and other.tensors.shape == first.tensors.shape
            and rows + other.tensors.rows <= self._model.max_batch
        )

    def _compare(self, pairs: Sequence[Pair]) -> None:
        """Run and count pairs: each is compared or failed."""
        try:
            self._run(pairs)
        except Exception as error:  # noqa: BLE001 - a fault of ours with these must not end the comparison
            self._failed(pairs, error)

    def _run(self, pairs: Sequence[Pair]) -> None:
        """Run pairs together; where that fails, each alone."""
        try:
            run = run_together(self._model, pairs)
        except (RunError, MemoryError):
            if len(pairs) > 1:
                for pair in pairs:
                    self._compare([pair])
                return
            with self._lock:
                sketch, words = self._cells.of(pairs[0].cell, self._model.watch.layout)
                sketch.observe_status(Code.INTERNAL.value)
                words[ev.FAILED] += 1
            return
        with self._lock:
            words = self._cells.of(run.members[0].cell, self._model.watch.layout)[1]
            before = words.copy()
            try:
                self._count(run)
            except Exception:
                words[:] = before  # they fail: none of them was compared
                raise

    def _count(self, run: Run[Pair]) -> None:
        model = self._model
        sketch, words = self._cells.of(run.members[0].cell, model.watch.layout)
        sketch.observe_status(0, len(run.members))
        sketch.observe_batch(run.queue_ns(), run.nanoseconds, run.rows)
        predictions = count_rows(model, sketch, run.feeds, run.outputs, run.rows)
        row = 0
        for pair in run.members:
            here = model.watch.score.read(predictions, row)
            compare(words, pair.live, here, model.watch.score.span)
            words[ev.LIVE_NS] += pair.live_ns
            words[ev.SHADOW_NS] += run.nanoseconds
            row += pair.tensors.rows


def compare(words: NDArray[np.int64], live: RowPrediction, shadow: RowPrediction, span: float) -> None:
    """Count one pair.

    Args:
        words: of the shadow's evidence.
        live: what was answered.
        shadow: what its shadow predicted.
        span: what a difference of scores of 1 stands for.
    """
    words[ev.COMPARED] += 1
    if live[0] is not None and shadow[0] is not None:
        last = ev.AGREEMENT_CLASSES - 1
        row, column = (label if 0 <= label < last else last for label in (live[0], shadow[0]))
        words[ev.AGREEMENT.start + row * ev.AGREEMENT_CLASSES + column] += 1
        words[ev.DISAGREED] += live[0] != shadow[0]
    if live[1] is not None and shadow[1] is not None:
        difference = abs(live[1] - shadow[1]) / span
        # NaN is not below 1 either
        at = int(difference * ev.DIFFERENCE_BINS) if difference < 1.0 else ev.DIFFERENCE_BINS - 1
        words[ev.DIFFERENCES.start + at] += 1
