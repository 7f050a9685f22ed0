"""A rollout's plan: which stages a candidate goes through, what each asks, and which guards watch.

A plan is YAML in which everything may be left out::

    strategy: canary            # or shadow, or swap
    steps:
      - {share: 5%, units: 1000, min_seconds: 10m}
      - {share: 50%, units: 5000, min_seconds: 30m, approval: true}
    guards:
      slow: {margin: 2%, tolerance: 2}
      refusals: {enabled: false}

Shares and margins are numbers in [0, 1] or per cent, times are seconds or text such as ``90s``, ``10m``, ``1h30m``.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from kedge import strict_yaml
from kedge.bundle import canonical
from kedge.complaints import first_complaint
from kedge.errors import Code, KedgeError
from kedge.rollout.guard_plan import Guards
from kedge.rollout.units import seconds, share

if TYPE_CHECKING:
    from collections.abc import Mapping

Strategy = Literal["swap", "shadow", "canary"]
STRATEGIES: Final[tuple[Strategy, ...]] = ("swap", "shadow", "canary")
MAX_STEPS: Final = 12
"""The numbers of every guard and stage must fit one audit record."""
MAX_PLAN_BYTES: Final = 64 * 1024


class PlanError(KedgeError):
    """A plan says something that is not allowed."""

    code = Code.INVALID_ARGUMENT


class Model(BaseModel):
    """Base: frozen, closed, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Inside = Annotated[float, BeforeValidator(share), Field(gt=0, lt=1)]
"""A share of requests that leaves some for the other arm."""
Units = Annotated[int, Field(ge=0)]
Time = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
Deadline = Annotated[float, BeforeValidator(seconds), Field(gt=0)]


class ShadowStep(Model):
    """The candidate beside the live bundle, answering nobody.

    Attributes:
        sample: share of live requests that it is given too, in (0, 1].
        pairs: compared requests to wait for.
        min_seconds, max_seconds: how long at least, and when to pause; None: only the plan's deadline.
        approval: wait for a person to say `promote` before any client sees the candidate.
    """

    sample: Annotated[float, BeforeValidator(share), Field(gt=0, le=1)] = 1.0
    pairs: Units = 1000
    min_seconds: Time = 600.0
    max_seconds: Deadline | None = None
    approval: bool = False


class Step(Model):
    """A share of clients for the candidate.

    Attributes:
        share: of units (requests, or keys where requests carry one), above 0 and below 1.
        units: of the candidate in this step to wait for.
        min_seconds, max_seconds: how long at least, and when to pause; None: only the plan's deadline.
        approval: when everything else is met, wait for a person to say `promote`.
        proof: go on only when every required guard has proved that harm is below its margin. The last step is one
            unless the plan says ``proof: false``.
    """

    share: Inside
    units: Units = 1000
    min_seconds: Time = 600.0
    max_seconds: Deadline | None = None
    approval: bool = False
    proof: bool = False


class Baking(Model):
    """After promotion: the previous bundle keeps a share as concurrent control, so that guards still compare.

    Attributes:
        keep: share of units the previous bundle keeps.
        seconds: how long at least.
        units: of the previous bundle in this time to wait for.
        max_seconds: when to pause; None: only the plan's deadline.
    """

    keep: Inside = 0.05
    seconds: Time = 3600.0
    units: Units = 1000
    max_seconds: Deadline | None = None


DEFAULT_STEPS: Final = (
    Step(share=0.05, units=1000, min_seconds=600.0),
    Step(share=0.25, units=2500, min_seconds=600.0),
    Step(share=0.50, units=5000, min_seconds=1800.0, proof=True),
)


class Plan(Model):
    """A whole plan.

    Attributes:
        strategy: ``canary``: the steps, then baking. ``shadow``: a shadow, a person's yes, then the same. ``swap``: all
            traffic at once, and `baking` only where the plan has it.
        shadow: what comes before the first step; None: nothing. `shadow` plans have one always.
        steps: shares in increasing order; none in a `swap`.
        baking: what comes after the last step; None: straight to LIVE.
        guards: what is watched, and how.
        sticky_for: seconds a key keeps its arm.
        alpha: probability of a false rollback that the whole rollout may have, split over the guards that act.
        deadline: seconds from the start of the rollout after which it is paused, with what was found, and a person
            decides.
    """

    strategy: Strategy = "canary"
    shadow: ShadowStep | None = None
    steps: Annotated[tuple[Step, ...], Field(max_length=MAX_STEPS)] = DEFAULT_STEPS
    baking: Baking | None = Baking()
    guards: Guards = Guards()
    sticky_for: Annotated[int, BeforeValidator(seconds), Field(ge=1, le=30 * 86400)] = 3600
    alpha: Annotated[float, BeforeValidator(share), Field(gt=0, le=0.5)] = 0.01
    deadline: Deadline = 86400.0

    @model_validator(mode="before")
    @classmethod
    def _by_strategy(cls, value: Any) -> Any:
        """Fill what the strategy implies and the plan does not say."""
        if not isinstance(value, dict):
            return value
        plan = dict(value)
        strategy = plan.get("strategy", "canary")
        if strategy == "swap":
            plan.setdefault("steps", ())
            plan.setdefault("baking", None)
        if strategy == "shadow" and plan.get("shadow") is None:
            plan["shadow"] = {}
        if strategy == "shadow" and isinstance(plan["shadow"], dict):
            plan["shadow"] = {"approval": True, **plan["shadow"]}
        steps = plan.get("steps")
        if isinstance(steps, list | tuple) and steps and isinstance(steps[-1], dict):
            plan["steps"] = [*steps[:-1], {"proof": True, **steps[-1]}]
        return plan

    @field_validator("steps")
    @classmethod
    def _increasing(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        for earlier, later in itertools.pairwise(steps):
            if later.share <= earlier.share:
                raise ValueError(
                    f"shares must grow from step to step, but {later.share:g} comes after {earlier.share:g}"
                )
        return steps

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if self.strategy == "swap" and (self.steps or self.shadow):
            raise ValueError("a swap has neither a shadow nor steps; take strategy 'canary' or 'shadow' for those")
        if self.strategy == "canary" and not self.steps:
            raise ValueError("a canary needs at least one step; take strategy 'swap' for none")
        return self

    @classmethod
    def default(cls, strategy: Strategy = "canary") -> Plan:
        """The plan where none is given."""
        return cls.model_validate({"strategy": strategy})

    @property
    def guard_alpha(self) -> float:
        """The part of `alpha` of each guard that may roll back; guards that hold are judged at the same level."""
        return self.alpha / max(1, len(self.guards.gates()))

    @property
    def stages(self) -> int:
        """Stages with two arms: the steps, and baking."""
        return max(1, len(self.steps) + (self.baking is not None))

    def digest(self) -> str:
        """SHA-256 of its canonical JSON, with all defaults written out: 64 hex digits."""
        return hashlib.sha256(canonical.encode(self)).hexdigest()


def read(source: Path | Mapping[str, Any]) -> Plan:
    """The plan in a YAML file, or in a mapping such as a bundle's `serving.rollout`.

    Raises:
        PlanError: one line with the place, what was found and what is allowed.
    """
    if isinstance(source, Path):
        where = f"plan '{source}'"
        value = strict_yaml.read(source, "plan", MAX_PLAN_BYTES, PlanError)
    else:
        where, value = "rollout plan", dict(source)
    try:
        return Plan.model_validate({} if value is None else value)
    except ValidationError as error:
        raise PlanError(f"{where}: {first_complaint(error, Plan, 'the plan')}") from error
