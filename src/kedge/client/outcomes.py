"""What clients report labels with, and what they are told: values, and how they become messages and back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.errors import Code, RequestError
from kedge.proto import outcomes as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_OUTCOMES: Final = 10_000
"""A server takes no more in one message."""
Label = str | float | int | bool


@dataclass(frozen=True)
class ClassIndex:
    """A label given by the position of the true class among the model's."""

    index: int


@dataclass(frozen=True)
class Reported:
    """What became of labels, in numbers.

    Attributes:
        accepted: counted.
        late: counted apart, because they came after their cohort was closed.
        duplicate: not counted again.
        expired: too old to be counted.
        forged: not of an id of this service.
        unknown_bundle: of a bundle that is not there, or collects no outcomes.
        invalid: not a label of the model; may be reported again, mended.
    """

    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    expired: int = 0
    forged: int = 0
    unknown_bundle: int = 0
    invalid: int = 0

    def __add__(self, other: Reported) -> Reported:
        return Reported(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))


def requests(labels: Iterable[tuple[str, Label | ClassIndex]], batch: int = MAX_OUTCOMES) -> Iterator[pb.ReportRequest]:
    """Messages that report labels, of `batch` at most each.

    Raises:
        RequestError: a label is of another type than those named in `Client.report`.
    """
    message = pb.ReportRequest()
    for prediction_id, label in labels:
        message.outcomes.append(_outcome(prediction_id, label))
        if len(message.outcomes) == batch:
            yield message
            message = pb.ReportRequest()
    if message.outcomes:
        yield message


def reported(answer: pb.ReportResponse) -> Reported:
    """An answer as a value."""
    return Reported(**{field.name: getattr(answer, field.name) for field in fields(Reported)})


def _outcome(prediction_id: str, label: Label | ClassIndex) -> pb.Outcome:
    if isinstance(label, ClassIndex):
        if not 0 <= label.index < 2**32:
            raise RequestError(Code.INVALID_ARGUMENT, f"{label.index} is no position of a class")
        return pb.Outcome(prediction_id=prediction_id, class_index=label.index)
    if isinstance(label, str):
        return pb.Outcome(prediction_id=prediction_id, class_name=label)
    if isinstance(label, int | float | np.number | np.bool_):
        return pb.Outcome(prediction_id=prediction_id, number=float(label))
    raise RequestError(
        Code.INVALID_ARGUMENT, f"a label is a class name, a number or a ClassIndex, not {type(label).__name__}"
    )
