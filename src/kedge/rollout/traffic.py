"""What records about traffic say: which counts were kept, and what was judged on them. Written here, read by replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from kedge.audit.errors import RecordError
from kedge.audit.record import Count, DecimalText, Label, Model, Sha256, Text

if TYPE_CHECKING:
    from kedge.audit.record import Record

DIGEST: Final = "traffic.digest"
VERDICT: Final = "verdict.changed"
QUIET: Final = "quiet"
"""How something stands that is neither WARN nor CRITICAL: it was judged to be fine, or not judged yet."""


_M = TypeVar("_M", bound=Model)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Counted(Model):
    """What one bundle answered in one arm.

    Attributes:
        rows: of inputs.
        answers: of any status.
        counts: digest of the snapshot.
    """

    model: Label
    version: Label
    bundle: Sha256
    arm: Label
    rows: Count
    answers: Count
    counts: Sha256


class Digest(Model):
    """Details of ``traffic.digest``: everything counted in a stretch of time.

    Attributes:
        start, end: seconds since 1970, exactly as they were measured.
        counted: one entry a bundle and arm that answered anything.
        part, parts: of how many records with the same start and end this is one, from 1.
        dropped: snapshots of counts that grew too old, or too many, and were removed before this one.
    """

    start: DecimalText
    end: DecimalText
    counted: Annotated[tuple[Counted, ...], BeforeValidator(_as_tuple)]
    part: Count = 1
    parts: Count = 1
    dropped: Count = 0


class Kept(Model):
    """A window that was judged: seconds since 1970 exactly as measured, rows, digest of its counts."""

    start: DecimalText
    end: DecimalText
    rows: Count
    counts: Sha256


class Claim(Model):
    """What points at the pipeline: of which watched thing, in words."""

    subject: Label
    name: Label
    text: Text


class Units(Model):
    """What was known of changed units and stuck values.

    Attributes:
        claims: of which watched things, in words.
        window: index of the window at which they were renewed.
        memory: digest of what was remembered before that window.
    """

    claims: Annotated[tuple[Claim, ...], BeforeValidator(_as_tuple)]
    window: Count
    memory: Sha256


class Line(Model):
    """One watched thing whose verdict changed; fields as in `kedge.monitor.verdict.Judgement`.

    Attributes:
        before, after: ``quiet``, ``WARN`` or ``CRITICAL``.
        verdict: the judgement's own word, which of what is quiet now is OK.
        windows: indices of the windows it was judged on.
        memory: digest of what else it was judged on: a chart's state, usual run times.
        past: of errors and refusals, bad answers and all answers before.
    """

    subject: Label
    name: Label
    before: Label
    after: Label
    verdict: Label
    cause: Label
    test: Text
    effect: DecimalText
    line: DecimalText
    statistic: DecimalText | None = None
    p_value: DecimalText | None = None
    rows: Count
    windows: Annotated[tuple[Count, ...], BeforeValidator(_as_tuple)]
    memory: Sha256 | None = None
    past: Annotated[tuple[Count, Count] | None, BeforeValidator(_as_tuple)] = None


class Change(Model):
    """Details of ``verdict.changed``: what stands otherwise in one arm of a bundle, and what that was judged on."""

    arm: Label
    windows: Annotated[tuple[Kept, ...], BeforeValidator(_as_tuple)]
    lines: Annotated[tuple[Line, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    units: Units | None = None


def details(value: Model) -> dict[str, Any]:
    """As a draft takes them."""
    return value.model_dump(mode="json", exclude_none=True)


def digest_of(record: Record) -> Digest:
    """The details of a ``traffic.digest``. Raises `RecordError`."""
    return _read(Digest, record)


def change_of(record: Record) -> Change:
    """The details of a ``verdict.changed``. Raises `RecordError`."""
    return _read(Change, record)


def _read(model: type[_M], record: Record) -> _M:
    try:
        return model.model_validate(record.details)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(f"record {record.sequence}: details.{ascii(where)[1:-1]}: {first['msg']}") from error
