"""What a plan asks for, one stage after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.rollout.states import State

if TYPE_CHECKING:
    from kedge.rollout.plan import Plan


@dataclass(frozen=True)
class Stage:
    """A stretch of a rollout in which traffic does not change.

    Attributes:
        state: of the candidate.
        step: of the canary, from 0; baking and what comes after it count on.
        share: of requests that the candidate answers.
    """

    state: State
    step: int
    share: float

    def __str__(self) -> str:
        match self.state:
            case State.CANARY:
                return f"canary step {self.step + 1} ({100 * self.share:g} %)"
            case State.BAKING:
                return f"baking ({100 * self.share:g} %)"
            case _:
                return self.state.lower()


def stages(plan: Plan) -> tuple[Stage, ...]:
    """All of them, in order; the last one is LIVE."""
    found = [Stage(State.SHADOW, 0, 0.0)] if plan.shadow is not None else []
    found += [Stage(State.CANARY, index, step.share) for index, step in enumerate(plan.steps)]
    if plan.baking is not None:
        found.append(Stage(State.BAKING, len(plan.steps), 1.0 - plan.baking.keep))
    return (*found, Stage(State.LIVE, len(plan.steps) + 1, 1.0))


def following(plan: Plan, state: State, step: int) -> Stage:
    """The stage after this one."""
    found = stages(plan)
    return found[1 + next(i for i, stage in enumerate(found) if stage.state == state and _same(stage, step))]


def _same(stage: Stage, step: int) -> bool:
    return stage.state is not State.CANARY or stage.step == step
