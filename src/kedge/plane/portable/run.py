"""Run: one ONNX Runtime call a batch; where it fails, each request again alone, so that only the guilty one fails."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np

from kedge.errors import Code, RequestError
from kedge.plane.portable.session import RunError
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.plane.portable.decode import Tensors
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.units import Keyed

_log: Final = logging.getLogger("kedge.plane")
_WARN_EVERY_NS: Final = 1_000_000_000
_last_warning = [0]


@dataclass(slots=True, eq=False)
class Job:
    """What is to be run.

    Attributes:
        tensors: its inputs.
        arrived: when it was received, monotonic nanoseconds.
    """

    tensors: Tensors
    arrived: int


@dataclass(slots=True, eq=False)
class Waiting(Job):
    """A request that waits for its run.

    Attributes:
        deadline: monotonic nanoseconds after which nobody wants the answer, or None.
        unit: whom it belongs to where it was drawn by its sticky key, else None.
        answer: set to its outputs, in the model's order; cancelled when the client is gone.
        answered: it got its outputs.
    """

    deadline: int | None
    unit: Keyed | None
    answer: Future[list[NDArray[Any]]]
    answered: bool = False


_J = TypeVar("_J", bound=Job)


@dataclass(slots=True)
class Run(Generic[_J]):
    """A run that succeeded.

    Attributes:
        members: the requests in it, in order.
        feeds, outputs: of the whole run, in the model's order.
        rows: in all.
        queue_ns: [members] time from arrival to the start of the run.
        nanoseconds: of the run.
    """

    members: Sequence[_J]
    feeds: list[NDArray[Any]]
    outputs: list[NDArray[Any]]
    rows: int
    queue_ns: NDArray[np.int64]
    nanoseconds: int

    def split(self) -> list[list[NDArray[Any]]]:
        """The outputs of each member."""
        if len(self.members) == 1:
            return [self.outputs]
        parts, start = [], 0
        for member in self.members:
            end = start + member.tensors.rows
            parts.append([output[start:end] for output in self.outputs])
            start = end
        return parts


def execute(model: Model, members: Sequence[Waiting]) -> tuple[list[Run[Waiting]], list[tuple[Waiting, RequestError]]]:
    """Run these requests together; on the serving thread or on one of the model's own.

    Returns:
        The runs that succeeded, and the requests that did not with the error each is to be told.
    """
    try:
        return [run_together(model, members)], []
    except (RunError, MemoryError) as error:
        if len(members) == 1:
            return [], [(members[0], _failed(model, error))]
    runs: list[Run[Waiting]] = []
    failures: list[tuple[Waiting, RequestError]] = []
    for member in members:
        if member.answer.done():
            continue
        try:
            runs.append(run_together(model, [member]))
        except (RunError, MemoryError) as error:
            failures.append((member, _failed(model, error)))
    return runs, failures


def run_together(model: Model, members: Sequence[_J]) -> Run[_J]:
    """One run of all of these, whose shapes allow it. Raises `RunError` or `MemoryError` where it fails."""
    if len(members) == 1:
        feeds, rows = members[0].tensors.arrays, members[0].tensors.rows
    else:
        feeds = [np.concatenate(parts) for parts in zip(*(member.tensors.arrays for member in members), strict=True)]
        rows = sum(member.tensors.rows for member in members)
    before = time.monotonic_ns()
    outputs = _empty(model) if rows == 0 else None
    if outputs is None:
        outputs = model.session.run(feeds)
    after = time.monotonic_ns()
    if model.signature.batchable:
        for tensor, output in zip(model.signature.outputs.values(), outputs, strict=True):
            if not output.ndim or output.shape[0] != rows:
                raise RunError(f"output {quoted(tensor.name)} has shape {list(output.shape)} for {rows} rows")
    queue = np.array([before - member.arrived for member in members], dtype=np.int64)
    return Run(members, feeds, outputs, rows, queue, after - before)


def _empty(model: Model) -> list[NDArray[Any]] | None:
    """Outputs for zero rows, where they are known without a run: many models cannot run none."""
    if not model.signature.batchable:
        return None
    outputs: list[NDArray[Any]] = []
    for tensor in model.signature.outputs.values():
        shape = tensor.empty_shape()
        if shape is None:
            return None
        outputs.append(np.empty(shape, dtype=tensor.dtype.numpy))
    return outputs


def _failed(model: Model, error: Exception) -> RequestError:
    """What the client is told; what the runtime said goes to the log, at most once a second."""
    now = time.monotonic_ns()
    if now - _last_warning[0] >= _WARN_EVERY_NS:
        _last_warning[0] = now
        _log.warning("model %s version %s failed: %s", model.handle.model, model.handle.version, error)
    return RequestError(
        Code.INTERNAL,
        f"model {quoted(model.handle.model)} version {quoted(model.handle.version)} failed on this request",
    )
