"""What one record says: who did what to which bundle, on what grounds, from which state to which."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kedge.audit import canonical
from kedge.audit.clock import Moment, uuid7
from kedge.audit.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = "kedge.audit/1"
MAX_RECORD_BYTES: Final = 64 * 1024
"""Of one record: it is held in memory by every reader, and evidence is digests, never payloads."""
LOG_CREATED: Final = "log.created"
KEY_ROTATED: Final = "log.key_rotated"


def decimal(value: float | Decimal) -> str:
    """A finite number as records write it: the shortest text that reads back as the same number.

    Raises:
        RecordError: NaN and infinity.
    """
    if not math.isfinite(value):
        raise RecordError(f"{value} cannot stand in a record; cap it or leave it out")
    return str(value) if isinstance(value, Decimal) else repr(float(value))


def _as_list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Details without fractions, which have no one spelling: `decimal` writes them."""
    match value:
        case bool() | str() | None:
            return value
        case int() if abs(value) <= canonical.LARGEST_INTEGER:
            return value
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _plain(item) for key, item in value.items()}
    raise ValueError(f"{type(value).__name__} cannot stand in a record; write large or fractional numbers as strings")


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(pattern=r"^\P{Cc}*$", max_length=4096)]
"""No control characters: tools print it, and a terminal would obey them."""
Label = Annotated[str, Field(pattern=r"^\P{Cc}+$", max_length=256)]
Action = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=64)]
DecimalText = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$", max_length=64)]
Count = Annotated[int, Field(ge=0, le=canonical.LARGEST_INTEGER)]
Details = Annotated[dict[str, Any], BeforeValidator(_plain)]


class Model(BaseModel):
    """Base: frozen, closed, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Actor(Model):
    """Who acted.

    Attributes:
        name: of a person or program, or its pseudonym.
        authenticated_by: how that is known: ``token``, ``mtls``, ``unix-user``, ``none``.
    """

    name: Label
    authenticated_by: Label


SYSTEM: Final = Actor(name="kedge", authenticated_by="process")
"""The server itself: guards, timers, restarts."""


class Verdict(Model):
    """What a test said, and on how much evidence."""

    test: Label
    decision: Label
    e_value: DecimalText | None = None
    n: Count | None = None


class Draft(Model):
    """What the one who decides knows; the log adds place, time and identity.

    Attributes:
        action: dotted, as ``rollout.promoted``.
        actor: who.
        model: name of the model concerned.
        bundle: id of the bundle concerned.
        snapshots: SHA-256 of the data snapshots that the decision rests on.
        policy: SHA-256 of the plan or policy that was followed.
        verdict: the test that decided.
        previous_state: state before; None where nothing changed state.
        next_state: state after.
        epoch: of the route table.
        rationale: why, for a person.
        details: what else is needed to follow the decision, without personal data: digests, counts, keys.
    """

    action: Action
    actor: Actor
    model: Label | None = None
    bundle: Sha256 | None = None
    snapshots: Annotated[tuple[Sha256, ...], BeforeValidator(_as_list)] = ()
    policy: Sha256 | None = None
    verdict: Verdict | None = None
    previous_state: Label | None = None
    next_state: Label | None = None
    epoch: Count | None = None
    rationale: Text = ""
    details: Details = {}


class Time(Model):
    """When, and by which clock: RFC 3339 in UTC."""

    at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
    clock: Label


class Record(Draft):
    """A draft in its place.

    Attributes:
        format: of the record.
        sequence: its index in the tree, from 0.
        id: UUID version 7.
        time: when it was appended.
        software: version or digest of what wrote it.
    """

    format: Literal["kedge.audit/1"] = FORMAT
    sequence: Count
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    time: Time
    software: Label

    def to_bytes(self) -> bytes:
        """RFC 8785 canonical JSON; fields that are None are left out. These bytes are the entry of the tree.

        Raises:
            RecordError: it is too long, or a value has no canonical form.
        """
        data = canonical.encode_record(self.model_dump(mode="json", exclude_none=True))
        if len(data) > MAX_RECORD_BYTES:
            raise RecordError(f"a record of {len(data)} bytes, limit {MAX_RECORD_BYTES}; keep digests, not payloads")
        return data

    @classmethod
    def parse(cls, data: bytes, what: str = "record") -> Record:
        """Read a record back. Raises `RecordError` if these are not the canonical bytes of one."""
        value = canonical.decode_record(data, what)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise RecordError(f"{what}: {_first(error)}") from error


def compose(**fields: Any) -> Draft:
    """A draft from what a user said.

    Raises:
        RecordError: a field cannot stand in a record: control characters, too long, not a digest.
    """
    try:
        return Draft.model_validate(fields)
    except ValidationError as error:
        raise RecordError(_first(error)) from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))[:100]
    return f"{ascii(where)[1:-1]}: {ascii(first['msg'])[1:-1]}"


def place(draft: Draft, sequence: int, moment: Moment, random: bytes, software: str) -> Record:
    """The record that a draft becomes.

    Args:
        draft: what to record.
        sequence: its index in the tree.
        moment: now.
        random: 10 random bytes, for its UUID.
        software: version or digest of what writes it.

    Raises:
        RecordError: the draft was changed into something that a record cannot say.
    """
    fields = {name: getattr(draft, name) for name in Draft.model_fields}
    try:
        return Record(
            **fields,
            sequence=sequence,
            id=uuid7(moment, random),
            time=Time(at=moment.text(), clock=moment.source),
            software=software,
        )
    except ValidationError as error:
        raise RecordError(_first(error)) from error


class Pseudonyms:
    """Replaces names of actors, so that no personal data enters the log. Without the secret they cannot be led back.

    Args:
        secret: at least 16 bytes, kept beside the log and never in it; destroying it makes the pseudonyms anonymous.
        given: pseudonyms chosen by hand, by name.
    """

    def __init__(self, secret: bytes, given: Mapping[str, str] | None = None) -> None:
        if len(secret) < 16:
            raise RecordError("the secret of pseudonyms needs at least 16 bytes")
        self._secret = secret
        self._given = dict(given or {})

    def of(self, actor: Actor) -> Actor:
        """The actor under a pseudonym; the same one every time."""
        name = self._given.get(actor.name)
        if name is None:
            name = "actor-" + hmac.digest(self._secret, actor.name.encode(), hashlib.sha256).hex()[:16]
        return actor.model_copy(update={"name": name})

    def hide(self, draft: Draft) -> Draft:
        """The draft with its actor under a pseudonym, in the rationale too. The server itself keeps its name.

        Other people whom a rationale names are not known here: reasons should name none.
        """
        if draft.actor == SYSTEM:
            return draft
        actor = self.of(draft.actor)
        whole = rf"(?<!\w){re.escape(draft.actor.name)}(?!\w)"
        rationale = re.sub(whole, lambda _: actor.name, draft.rationale)
        return draft.model_copy(update={"actor": actor, "rationale": rationale})
