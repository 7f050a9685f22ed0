"""Shadow: a bundle that is given what another one was asked, on a thread of its own, and answers nobody."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.plane import evidence as ev
from kedge.plane.contract import Arm
from kedge.plane.portable.cells import Cells
from kedge.plane.portable.shadow_worker import Pair, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel, Layout
    from kedge.plane.cells import Cell, CellKey
    from kedge.plane.portable.decode import Tensors
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.predictions import RowPrediction

_OBJECT_BYTES: Final = 64
Sent = dict["CellKey", tuple["Layout", "NDArray[np.int64]"]]
"""Evidence by cell, with the layout the cell has."""


@dataclass(frozen=True, slots=True)
class ShadowRoute:
    """How the requests of one arm go to a shadow.

    Attributes:
        model: the shadow's.
        cell: where it is counted.
        sample: share of the requests it is given.
        order: for each input of its model the position among the arm's; None where the arm has no such input.
    """

    model: Model
    cell: CellKey
    sample: float
    order: tuple[int, ...] | None

    @classmethod
    def of(cls, model: Model, epoch: int, sample: float, arm: Model) -> ShadowRoute:
        """The way from an arm's model to a shadow's."""
        theirs = {(tensor.name, tensor.dtype): tensor.position for tensor in arm.signature.inputs.values()}
        order = [theirs.get((tensor.name, tensor.dtype)) for tensor in model.signature.inputs.values()]
        known = tuple(position for position in order if position is not None)
        cell = (model.handle.bundle, Arm.SHADOW, epoch)
        return cls(model, cell, sample, known if len(known) == len(order) else None)

    def drawn(self) -> bool:
        """Is the next request one of the sample."""
        return self.sample >= 1.0 or random.random() < self.sample  # noqa: S311  a draw


class Shadows:
    """The shadows of a plane. What does not say otherwise is called on the serving thread.

    Args:
        kernel: makes their sketches.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._cells = Cells(kernel)
        self._lock = threading.Lock()
        self._workers: dict[int, Worker] = {}
        self._closed: list[Worker] = []
        self._sent: Sent = {}

    def route(self, models: Iterable[Model]) -> None:
        """Keep a thread for each of these models, and for no other."""
        wanted = {model.handle.key: model for model in models}
        for key in self._workers.keys() - wanted.keys():
            worker = self._workers.pop(key)
            worker.close()
            self._closed.append(worker)
        self._closed = [worker for worker in self._closed if worker.lives]  # others hold models that may be retired
        for key in wanted.keys() - self._workers.keys():
            self._workers[key] = Worker(wanted[key], self._cells, self._lock)

    def offer(self, route: ShadowRoute, tensors: Tensors, live: RowPrediction, live_ns: int) -> None:
        """Give a request of at least one row, and its answer, to a shadow.

        Args:
            route: from who answered.
            tensors: its inputs, in the order of whoever answered.
            live: prediction of its first row.
            live_ns: run time of its batch.
        """
        if route.cell not in self._sent:
            self._sent[route.cell] = route.model.watch.layout, np.zeros(ev.WORDS, dtype=np.int64)
        words = self._sent[route.cell][1]
        words[ev.OFFERED] += 1
        if route.order is None:
            words[ev.FAILED] += 1
            return
        arrays = [tensors.arrays[position] for position in route.order]
        given = tensors.reordered(arrays)
        pair = Pair(given, time.monotonic_ns(), route.cell, sum(map(_size, arrays)), live, live_ns)
        worker = self._workers.get(route.model.handle.key)
        if worker is None or not worker.put(pair):
            words[ev.DROPPED] += 1

    def sent(self) -> Sent:
        """What was counted on the serving thread since the last call, for `snapshot` or `fold`."""
        sent, self._sent = self._sent, {}
        return sent

    def snapshot(self, sent: Sent) -> dict[CellKey, Cell]:
        """The cells of every shadow there was; not on the serving thread, since it waits for theirs."""
        with self._lock:
            self._add(sent)
            return self._cells.snapshot()

    def fold(self, open_epochs: set[CellKey], sent: Sent) -> None:
        """See `Cells.fold`; not on the serving thread, as `snapshot`."""
        with self._lock:
            self._add(sent)
            self._cells.fold(open_epochs)

    def forget(self, bundle: str, sent: Sent) -> None:
        """Drop what a bundle counted; not on the serving thread, as `snapshot`."""
        with self._lock:
            self._add(sent)
            self._cells.forget(bundle)

    def join(self) -> None:
        """Wait, on any thread, for those whose models no route has any more."""
        for worker in self._closed:
            worker.join()

    def _add(self, sent: Sent) -> None:
        for key, (layout, words) in sent.items():
            total = self._cells.of(key, layout)[1]
            total += words


def _size(array: NDArray[np.generic]) -> int:
    """Bytes of an input, about."""
    if array.dtype != object:
        return int(array.nbytes)
    return sum(len(text) + _OBJECT_BYTES for text in array.ravel().tolist())
