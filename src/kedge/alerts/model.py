"""What an alert is: a problem that somebody owns, from the moment it was found until it is over."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from kedge.bundle.manifest import Owners  # noqa: TC001 - a field of a public value

OwnerKind = Literal["data", "feature", "model", "platform", "compliance"]
OWNER_KINDS: Final[tuple[OwnerKind, ...]] = ("data", "feature", "model", "platform", "compliance")

SUMMARY_CHARS: Final = 512
DESCRIPTION_CHARS: Final = 8192
"""Longer texts are cut: a bundle may name 4,096 features, and PagerDuty refuses summaries past 1,024 characters."""


class Severity(Enum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return list(Severity).index(self)


class Cause(Enum):
    """What kind of trouble was found. Whose trouble it is: `kedge.alerts.routing.OWNER_OF`."""

    INPUT_DRIFT = "input-drift"
    MISSING = "missing"
    INVALID = "invalid"
    UNSEEN = "unseen"
    OUT_OF_RANGE = "out-of-range"
    SCHEMA = "schema"
    PIPELINE = "pipeline"
    PREDICTION_DRIFT = "prediction-drift"
    CANARY = "canary"
    ROLLBACK = "rollback"
    CONFIDENCE = "confidence"
    OUTCOMES = "outcomes"
    ERRORS = "errors"
    LATENCY = "latency"
    SIGNATURE = "signature"
    AUDIT = "audit"


@dataclass(frozen=True)
class Origin:
    """Whose traffic or artefact a finding is about.

    Attributes:
        model, version: names as in the bundle; of the server itself: ``kedge`` and its version.
        bundle: bundle id, 64 hex digits; empty where no bundle is concerned.
        owners: from the bundle's manifest.
    """

    model: str
    version: str
    bundle: str
    owners: Owners


@dataclass(frozen=True)
class Finding:
    """One problem as an evaluator sees it now.

    Attributes:
        cause: what kind.
        subject: what it is about, such as ``feature temp``; with the cause, unique within a bundle.
        severity: how bad.
        summary: one line.
        description: the reasons in words; may have several lines.
    """

    cause: Cause
    subject: str
    severity: Severity
    summary: str
    description: str = ""


class Alert(BaseModel):
    """A problem with an owner and a history. Times are seconds since 1970.

    Attributes:
        key: stable fingerprint of model, bundle, cause and subject.
        model, version, bundle, cause, subject: where and what.
        owner_kind, owner: who is told, after fallbacks; the text is empty where the bundle names nobody.
        severity: the worst since it began, so that flapping between two severities is no news.
        summary, description: as last found, printable, of bounded length.
        labels: those that every alert of this server carries, from its settings.
        started, ended: the latter None while it goes on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    model: str
    version: str
    bundle: str
    cause: Cause
    subject: str
    owner_kind: OwnerKind
    owner: str
    severity: Severity
    summary: str
    description: str
    labels: dict[str, str]
    started: float
    ended: float | None = None


class Kind(Enum):
    """Why somebody is told."""

    FIRING = "firing"
    ESCALATED = "escalated"
    REPEATED = "repeated"
    RESOLVED = "resolved"


class Notification(BaseModel):
    """One message about an alert, for one sink.

    Attributes:
        id: idempotency key; equal in every attempt to deliver it.
        kind: why it is sent.
        sink: name of the sink.
        alert: as it stood then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: Kind
    sink: str
    alert: Alert


def fingerprint(model: str, bundle: str, cause: Cause, subject: str) -> str:
    """32 hex digits, equal for the same problem of the same bundle on every replica and after every restart."""
    return hashlib.sha256(json.dumps([model, bundle, cause.value, subject]).encode("ascii")).hexdigest()[:32]


def printable(text: str, limit: int, *, lines: bool = False) -> str:
    """The text without control characters and lone surrogates, cut to `limit` characters; line breaks kept if asked."""
    if len(text) <= limit and (text.replace("\n", "") if lines else text).isprintable():
        return text.strip()
    clean = "".join(
        char if (lines and char == "\n") or unicodedata.category(char) not in {"Cc", "Cs"} else " " for char in text
    ).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def rfc3339(seconds: float) -> str:
    """A moment (seconds since 1970) in UTC, to the millisecond: ``2026-11-23T02:16:01.735Z``."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
