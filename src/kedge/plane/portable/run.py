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
class Request(Job):
    """What a client asked.

    Attributes:
        unit: whom it belongs to where it was drawn by its sticky key, else None.
        answered: it got its outputs.
    """

    unit: Keyed | None
    answered: bool


@dataclass(slots=True, eq=False)
class Waiting(Request):
    """A request that waits for its run.

    Attributes:
        deadline: monotonic nanoseconds after which nobody wants the answer, or None.
        answer: set to its outputs, in the model's order; cancelled when the client is gone.
    """

    deadline: int | None
    answer: Future[list[NDArray[Any]]]


_J_co = TypeVar("_J_co", bound=Job, covariant=True)
_J = TypeVar("_J", bound=Job)


@dataclass(slots=True)
class Run(Generic[_J_co]):
    """A run that succeeded.

    Attributes:
        members: the requests in it, in order.
        feeds, outputs: of the whole run, in the model's order.
        rows: in all.
        started: monotonic nanoseconds.
        nanoseconds: it took.
    """

    members: Sequence[_J_co]
    feeds: list[NDArray[Any]]
    outputs: list[NDArray[Any]]
    rows: int
    started: int
    nanoseconds: int

    def queue_ns(self) -> NDArray[np.int64]:
        """[members] time from arrival to the start of the run."""
        return np.array([self.started - member.arrived for member in self.members], dtype=np.int64)

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


Done = tuple[list[Run[Waiting]], list[tuple[Waiting, RequestError]]]
"""Runs that succeeded, and requests that did not with the error each is to be told."""


def execute(model: Model, members: Sequence[Waiting]) -> Done:
    """Run these requests together, but for those nobody waits for; on the serving thread or one of the model's own.

    Whatever goes wrong is an answer to those that wait: they would wait for ever otherwise.
    """
    try:
        return _execute(model, members)
    except Exception as error:  # noqa: BLE001 - a fault of ours
        _log.exception("runs of model %s version %s failed in the server", model.handle.model, model.handle.version)
        return [], [(member, failed(model, error)) for member in members]


def _execute(model: Model, members: Sequence[Waiting]) -> Done:
    now = time.monotonic_ns()
    wanted: list[Waiting] = []
    failures: list[tuple[Waiting, RequestError]] = []
    for member in members:
        if member.deadline is not None and now >= member.deadline:
            failures.append((member, expired(model)))
        elif not member.answer.done():
            wanted.append(member)
    if not wanted:
        return [], failures
    try:
        return [run_together(model, wanted)], failures
    except (RunError, MemoryError) as error:
        if len(wanted) == 1:
            return [], [*failures, (wanted[0], failed(model, error))]
    runs: list[Run[Waiting]] = []
    for member in wanted:
        if member.answer.done():
            continue
        try:
            runs.append(run_together(model, [member]))
        except (RunError, MemoryError) as error:
            failures.append((member, failed(model, error)))
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
    return Run(members, feeds, outputs, rows, before, after - before)


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


def expired(model: Model) -> RequestError:
    """What a request whose deadline passed before its run is told."""
    name = quoted(model.handle.model)
    return RequestError(Code.DEADLINE_EXCEEDED, f"the deadline passed before model {name} ran this request")


def failed(model: Model, error: Exception) -> RequestError:
    """What the client is told; what the runtime said goes to the log, at most once a second."""
    now = time.monotonic_ns()
    if now - _last_warning[0] >= _WARN_EVERY_NS:
        _last_warning[0] = now
        _log.warning("model %s version %s failed: %s", model.handle.model, model.handle.version, error)
    return RequestError(
        Code.INTERNAL,
        f"model {quoted(model.handle.model)} version {quoted(model.handle.version)} failed on this request",
    )
