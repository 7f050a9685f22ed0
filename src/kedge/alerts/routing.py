"""From a cause to an owner, and from an owner and a severity to sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedge.alerts.model import Cause, OwnerKind, Severity
from kedge.alerts.settings import LOG

if TYPE_CHECKING:
    from kedge.alerts.settings import AlertsConfig
    from kedge.bundle.manifest import Owners

OWNER_OF: Final[dict[Cause, OwnerKind]] = {
    Cause.INPUT_DRIFT: "data",
    Cause.MISSING: "feature",
    Cause.INVALID: "feature",
    Cause.UNSEEN: "feature",
    Cause.OUT_OF_RANGE: "feature",
    Cause.SCHEMA: "feature",
    Cause.PIPELINE: "feature",
    Cause.PREDICTION_DRIFT: "model",
    Cause.CANARY: "model",
    Cause.ROLLBACK: "model",
    Cause.CONFIDENCE: "model",
    Cause.OUTCOMES: "model",
    Cause.ERRORS: "platform",
    Cause.LATENCY: "platform",
    Cause.SIGNATURE: "compliance",
    Cause.AUDIT: "compliance",
}
"""The world changed: data. What feeds the model broke: feature. The model is worse than another: model. The machinery
fails: platform. Evidence is in doubt: compliance."""

FALLBACK: Final[dict[OwnerKind, tuple[OwnerKind, ...]]] = {
    "data": ("data", "feature", "model", "platform", "compliance"),
    "feature": ("feature", "data", "model", "platform", "compliance"),
    "model": ("model", "data", "feature", "platform", "compliance"),
    "platform": ("platform", "model", "feature", "data", "compliance"),
    "compliance": ("compliance", "model", "platform", "data", "feature"),
}
"""Whom to tell where the bundle leaves an owner empty: the first of these it names. The nearest neighbour comes first;
compliance comes last, because it answers for evidence and not for operation."""


def owner(cause: Cause, owners: Owners) -> tuple[OwnerKind, str]:
    """Who is told: kind and text. Where the bundle names nobody at all: the cause's own kind, and an empty text."""
    kind = OWNER_OF[cause]
    for candidate in FALLBACK[kind]:
        if text := getattr(owners, candidate).strip():
            return candidate, text
    return kind, ""


class Router:
    """Which sinks hear an alert.

    Args:
        config: validated.
    """

    def __init__(self, config: AlertsConfig) -> None:
        self._routes = config.routes
        self._everything = tuple(sink.name for sink in config.sinks) or (LOG,)

    def sinks(self, kind: OwnerKind, severity: Severity) -> tuple[str, ...]:
        """Names, each once, in the order of the routes; the log where no route takes it, so that nothing is unheard."""
        if not self._routes:
            return self._everything
        matching = (
            name
            for route in self._routes
            if kind in route.owners and severity.rank >= route.severity.rank
            for name in route.sinks
        )
        return tuple(dict.fromkeys(matching)) or (LOG,)
