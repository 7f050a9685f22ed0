"""What a plan says of its guards: which watch, what they tolerate, and what they may do."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kedge.rollout.units import share

Action = Literal["hold", "gate"]
"""``gate``: roll back. ``hold``: do not go on until a person has looked."""


class _Guard(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Margin = Annotated[float, BeforeValidator(share), Field(gt=0, le=1)]


class HarmGuard(_Guard):
    """Events that are harm, canary against control.

    Attributes:
        enabled: watch at all.
        margin: the harm (canary rate less control rate) that must be excluded at a proof step.
        tolerance: the ratio of canary to control rate that is still no harm.
        required: a proof step waits for the proof.
        action: what a verdict of harm does.
    """

    enabled: bool = True
    margin: Margin = 0.005
    tolerance: Annotated[float, Field(ge=1, le=100)] = 1.0
    required: bool = True
    action: Action = "gate"

    @model_validator(mode="after")
    def _possible(self) -> HarmGuard:
        if self.required and not self.enabled:
            raise ValueError("a guard that is not enabled cannot prove anything; write 'required: false' as well")
        return self


class DriftGuard(_Guard):
    """A difference that is not known to be harm.

    Attributes:
        enabled: watch at all.
        tolerance: how far apart the arms may lie: for distributions the largest difference of distribution functions,
            for disagreement and failures the share of pairs, for scores the mean difference.
        action: what a verdict does.
    """

    enabled: bool = True
    tolerance: Annotated[float, BeforeValidator(share), Field(gt=0, lt=1)] = 0.1
    action: Action = "hold"


class RatioGuard(_Guard):
    """Whether units arrive in the ratio that was drawn; if not, nothing about the arms can be believed."""

    enabled: bool = True
    action: Action = "hold"


def _said(value: Any, implied: dict[str, Any]) -> Any:
    """Defaults of one guard that differ from those of its class."""
    if not isinstance(value, dict):
        return value
    if value.get("enabled") is False and "required" not in value:
        implied = {**implied, "required": False} if "required" in implied or "margin" in implied else implied
    return {**implied, **value}


IMPLIED: Final[dict[str, dict[str, Any]]] = {
    "errors": {"margin": 0.005},
    "timeouts": {"margin": 0.005},
    "refusals": {"margin": 0.005, "required": False},
    "invalid": {"margin": 0.005},
    "slow": {"margin": 0.01, "tolerance": 1.5},
    "outcomes": {"margin": 0.02, "required": False},
    "failed": {"tolerance": 0.005},
}


class Guards(_Guard):
    """All guards.

    Attributes:
        errors, timeouts, refusals, invalid, slow: events as `kedge.plane.evidence` defines them.
        outcomes: wrong predictions, where labels come; `required` only where they come in time.
        sample_ratio: units per arm against the share.
        distribution: scores of the arms. confidence: top probability of the arms; it counts rows, not units, so it can
            only hold.
        disagreement, difference, failed: a shadow beside the live bundle: other class, mean |score difference|, failed
            in the model. They count requests, not units.
    """

    errors: HarmGuard = HarmGuard(**IMPLIED["errors"])
    timeouts: HarmGuard = HarmGuard(**IMPLIED["timeouts"])
    refusals: HarmGuard = HarmGuard(**IMPLIED["refusals"])
    invalid: HarmGuard = HarmGuard(**IMPLIED["invalid"])
    slow: HarmGuard = HarmGuard(**IMPLIED["slow"])
    outcomes: HarmGuard = HarmGuard(**IMPLIED["outcomes"])
    sample_ratio: RatioGuard = RatioGuard()
    distribution: DriftGuard = DriftGuard()
    confidence: DriftGuard = DriftGuard()
    disagreement: DriftGuard = DriftGuard()
    difference: DriftGuard = DriftGuard()
    failed: DriftGuard = DriftGuard(**IMPLIED["failed"])

    @model_validator(mode="before")
    @classmethod
    def _implied(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: _said(guard, IMPLIED.get(name, {})) for name, guard in value.items()}

    @model_validator(mode="after")
    def _on_units(self) -> Guards:
        if self.confidence.action == "gate":
            raise ValueError(
                "confidence counts rows, and one bad request of many rows would roll back a good canary: it can hold, "
                "not gate"
            )
        return self

    def gates(self) -> tuple[str, ...]:
        """Names of the guards that may roll back; the plan's alpha is split over them."""
        return tuple(
            name
            for name in type(self).model_fields
            if (guard := getattr(self, name)).enabled and guard.action == "gate"
        )

    def required(self) -> tuple[str, ...]:
        """Names of the guards a proof step waits for."""
        return tuple(name for name in type(self).model_fields if getattr(getattr(self, name), "required", False))
