"""A loaded bundle: its session, what requests must look like, and how fast it runs."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.bundle import golden
from kedge.bundle.contents import Bundle
from kedge.errors import KedgeError, ModelLoadError, PlaneError
from kedge.plane import limits
from kedge.plane.contract import Handle, LoadOptions
from kedge.plane.portable import confidence
from kedge.plane.portable.confidence import Calibration
from kedge.plane.portable.session import RunError, Session, from_runtime, to_runtime
from kedge.plane.portable.signature import Signature
from kedge.plane.portable.slicer import Slicer
from kedge.plane.portable.watch import Suspects, Watch
from kedge.plane.replay import replay
from kedge.plane.reservoir import Reservoir
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_MEASURED_RUNS: Final = 30
_ATTEMPTS: Final = 10
_WINDOW: Final = 32
_LATE_RUN_NS: Final = 4 * limits.INLINE_RUN_NS
_LONG_RUN_NS: Final = 20_000_000
_numbers = itertools.count(1)


class Model:
    """A bundle that can answer.

    Attributes:
        handle: how callers name it.
        bundle: its files.
        signature: what requests must look like.
        session: runs it.
        watch: what of its inputs and outputs is counted.
        slicer: which slice a row is in.
        reservoir: a sample of the rows it was asked about.
        suspects: rows on which it failed without an error.
        calibration: how sure its predictions are; None where `no_confidence` says why that cannot be told.
        max_batch, max_queue, delay_us: of the bundle's serving config.
        instances: runs at a time.
        inline_rows: batches up to this many rows run on the serving thread; 0 for none.
        timed: the CPU time of inline runs is to be read.
        active: requests under way; touched by the serving thread alone.
        published: it has been in a route table.
        unwatchable: its outputs are not what its bundle says.
    """

    def __init__(self, bundle: Bundle, options: LoadOptions) -> None:
        serving = bundle.serving
        self.handle = Handle(bundle.id, bundle.name, bundle.version, next(_numbers))
        self.bundle = bundle
        self.signature = Signature.of(bundle.manifest)
        threads = options.intra_op_threads or serving.execution.intra_op_threads
        self.session = Session(bundle.model_path, self.signature, serving.execution.providers, threads)
        self.watch = Watch.of(bundle)
        self.slicer = Slicer(bundle)
        self.reservoir = Reservoir(limits.RESERVOIR_ROWS, limits.RESERVOIR_BYTES)
        self.suspects = Suspects(self.signature)
        self.calibration = Calibration.of(bundle)
        self.no_confidence = confidence.why_not(bundle)
        self.max_batch = serving.batching.max_batch if self.signature.batchable else 1
        self.max_queue = serving.batching.max_queue
        self.delay_us = serving.batching.max_queue_delay_us if self.signature.batchable else 0
        self.instances = serving.execution.instances
        self.inline_rows = 0
        self.timed = False
        self.active = 0
        self.published = False
        self.unwatchable = False
        self._inline_runs = 0
        self._inline_over = 0
        self._inline_long = 0
        self._pool: ThreadPoolExecutor | None = None
        self._outside = 0
        self._lock = threading.Lock()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for runs that are not inline; made at first use, by the serving thread."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.instances, thread_name_prefix=f"kedge-run-{self.handle.model[:32]}")
        return self._pool

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return self.active == 0 and self._outside == 0

    def enter(self) -> None:
        """A run off the request path begins; from any thread."""
        with self._lock:
            self._outside += 1

    def leave(self) -> None:
        """It has ended."""
        with self._lock:
            self._outside -= 1

    def note_inline(self, nanoseconds: int, busy: int | None) -> None:
        """Note the time of an inline run; a model that is slower than it was at load moves to its own threads.

        On a busy machine a run takes several times as long as at load, and the clock of a virtual machine counts what
        its host took away; a run in a thread would then be slower still. So most of a window's runs must be well over
        the bound, or several far over it. CPU time is read from the first run on that took long by the clock.

        Args:
            nanoseconds: it took.
            busy: of them on the CPU; None where that was not read.
        """
        if busy is None:
            if nanoseconds <= _LATE_RUN_NS:
                return
            self.timed, busy = True, nanoseconds
        self._inline_runs += 1
        self._inline_over += busy > _LATE_RUN_NS
        self._inline_long += busy > _LONG_RUN_NS
        if self._inline_long >= _WINDOW // 8 or self._inline_over > _WINDOW // 2:
            if self.bundle.serving.execution.mode == "auto":
                self.inline_rows = 0
        elif self._inline_runs >= _WINDOW:
            self._inline_runs = self._inline_over = self._inline_long = 0
            self.timed = False

    def run(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run off the request path: arrays by input name, BYTES as object arrays of `bytes`.

        Raises:
            PlaneError: inputs are missing or do not fit, or the model failed.
        """
        of_model = f"model {quoted(self.handle.model)}"
        if set(tensors) != set(self.signature.inputs):
            raise PlaneError(f"{of_model} takes inputs {', '.join(map(quoted, self.signature.inputs))}")
        self.enter()
        try:
            feeds = [to_runtime(tensor, tensors[name]) for name, tensor in self.signature.inputs.items()]
            outputs = self.session.run(feeds)
        except (RunError, UnicodeDecodeError, TypeError, ValueError) as error:
            raise PlaneError(f"{of_model} failed on these rows: {error}") from None
        finally:
            self.leave()
        return {
            tensor.name: from_runtime(tensor, array)
            for tensor, array in zip(self.signature.outputs.values(), outputs, strict=True)
        }

    def close(self) -> None:
        """End the threads and let go of the session."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        del self.session


def load(directory: Path, options: LoadOptions) -> Model:
    """Load a bundle's directory: golden rows replayed, warmed up, measured.

    Raises:
        ModelLoadError: saying why it may not serve; nothing is left behind.
    """
    try:
        bundle = Bundle.read(directory)
        model = Model(bundle, options)
        expected = bundle.golden
        if options.golden and expected is not None:
            replay(bundle, model.run)
    except ModelLoadError:
        raise
    except KedgeError as error:
        raise ModelLoadError(f"cannot load '{directory.name}': {error}") from error
    if options.warm_up:
        _warm_up(model)
    return model


def _warm_up(model: Model) -> None:
    """Run every batch size in powers of two up to max_batch, and find out up to which size runs are short enough."""
    mode = model.bundle.serving.execution.mode
    rows = 1
    inline = mode != "pool"
    while True:
        feeds = _sample(model, rows)
        if feeds is None:
            return
        try:
            # larger batches are warmed up all the same, so that the first of them is not slow
            model.session.run(feeds)
            taken = _run_time(model.session, feeds) if inline else 0
        except RunError:
            return  # rows made up of zeros need not be legal ones
        inline = inline and taken <= limits.INLINE_RUN_NS
        if inline:
            model.inline_rows = rows if model.signature.batchable else _first_extent(feeds)
        if rows >= model.max_batch:
            break
        rows = min(rows * 2, model.max_batch)
    if mode == "inline":
        model.inline_rows = max(model.max_batch, model.inline_rows)


def _run_time(session: Session, feeds: list[NDArray[Any]]) -> int:
    """The longest of some runs, in nanoseconds of CPU time; of several attempts, the one least disturbed.

    The clock of a virtual machine counts what its host took away, so an attempt on a busy one may be useless.
    """
    best = _LONG_RUN_NS
    for _ in range(_ATTEMPTS):
        longest = 0
        for _ in range(_MEASURED_RUNS):
            before = time.thread_time_ns()
            session.run(feeds)
            longest = max(longest, time.thread_time_ns() - before)
            if longest > 10 * limits.INLINE_RUN_NS:
                break
        best = min(best, longest)
        if best <= limits.INLINE_RUN_NS:
            break
    return best


def _first_extent(feeds: list[NDArray[Any]]) -> int:
    return feeds[0].shape[0] if feeds[0].ndim else 1


def _sample(model: Model, rows: int) -> list[NDArray[Any]] | None:
    """Inputs of so many rows: golden ones repeated, else zeros; None where there can be none of that size."""
    feeds = []
    stated = {tensor.name: tensor for tensor in model.bundle.golden.inputs} if model.bundle.golden else {}
    for name, tensor in model.signature.inputs.items():
        if name in stated:
            array = to_runtime(tensor, golden.decode(stated[name]))
        else:
            shape = tuple(1 if extent == -1 else extent for extent in tensor.shape)
            array = np.full(shape, "", dtype=object) if not tensor.dtype.size else np.zeros(shape, tensor.dtype.numpy)
        if model.signature.batchable:
            if not array.shape[0]:
                return None
            array = np.resize(array, (rows, *array.shape[1:]))
        feeds.append(array)
    return feeds
