"""`RecommendRollback`: loads every bundle that could be gone back to, one after the other, and asks for advice."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from kedge.admin.handlers import Method, Places
from kedge.plane.contract import LoadOptions
from kedge.proto import admin as pb
from kedge.rollout import states
from kedge.rollout.advise import Retained, advise
from kedge.rollout.states import WITH_TRAFFIC, Event, State

if TYPE_CHECKING:
    from kedge.admin.handlers import Call
    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Store
    from kedge.kernel.contract import Kernel
    from kedge.plane.contract import DataPlane, Handle
    from kedge.rollout.advise import Score
    from kedge.rollout.manager import Rollouts
    from kedge.rollout.replay import Tensors
    from kedge.rollout.values import BundleState, ModelState

AT_ONCE: Final = 1
"""It loads models and runs them beside those that serve."""
GRACE: Final = 5.0
"""Seconds that a model which was loaded for advice may take to be idle again."""


class Recommendations:
    """RecommendRollback.

    Args:
        rollouts: what may be gone back to, and what answers now.
        store: where bundles stand.
        plane: has rows of current requests, and runs models.
        kernel: what counts.
    """

    def __init__(self, rollouts: Rollouts, store: Store, plane: DataPlane, kernel: Kernel) -> None:
        self._rollouts = rollouts
        self._store = store
        self._plane = plane
        self._kernel = kernel
        self._places = Places(AT_ONCE, "recommendation is being made")

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {"RecommendRollback": Method(pb.RecommendRollbackRequest, self.recommend)}

    def recommend(self, request: pb.RecommendRollbackRequest, _call: Call) -> pb.RecommendRollbackResponse:
        """Answer RecommendRollback."""
        live = self._rollouts.get(request.model)
        (state,) = self._rollouts.status(request.model)
        last_good = _plain_target(state)
        whole = {entry.id for entry in self._store.list()}
        with self._places.one(), ExitStack() as loaded:
            retained = [
                Retained(bundle, _Runner(self._plane, bundle, loaded).run, known.since if _was_live(known) else 0.0)
                for known in self._rollouts.bundles().values()
                if known.model == request.model and known.id in whole and _may_return(known, state)
                for bundle in (self._store.get(known.id),)
                if self._rollouts.permits(bundle)
            ]
            advice = advise(retained, self._plane.reservoir(live.handle), self._kernel, last_good)
        return pb.RecommendRollbackResponse(
            best=advice.best or "",
            words=advice.words,
            rows=advice.rows,
            bundles=[_message(score, last_good) for score in advice.scores],
        )


class _Runner:
    """A bundle's model, loaded when it is first run."""

    def __init__(self, plane: DataPlane, bundle: Bundle, loaded: ExitStack) -> None:
        self._plane = plane
        self._bundle = bundle
        self._loaded = loaded
        self._handle: Handle | None = None

    def run(self, tensors: Tensors) -> Tensors:
        """Outputs for these rows. Raises `PlaneError`."""
        if self._handle is None:
            self._loaded.pop_all().close()  # one at a time: what was loaded before has said what it had to say
            self._handle = self._plane.load(self._bundle.directory, LoadOptions())
            self._loaded.callback(self._plane.retire, self._handle, GRACE)
        return self._plane.run(self._handle, tensors)


def _plain_target(state: ModelState) -> str:
    """Id of the bundle that a rollback without `to` serves; empty where there is none."""
    if state.rollout is not None and state.rollout.state in WITH_TRAFFIC:
        return state.live.id if state.live else ""
    return state.last_good.id if state.last_good else ""


def _may_return(known: BundleState, state: ModelState) -> bool:
    """Whether a rollback may go to this bundle."""
    if known.state is State.LIVE:
        return known.id == _plain_target(state)
    return bool(states.targets(known.state, Event.RESTORED))


def _was_live(known: BundleState) -> bool:
    return known.state in {State.LIVE, State.SUPERSEDED}


def _message(score: Score, last_good: str) -> pb.Recommendation:
    metric = score.metric
    return pb.Recommendation(
        bundle=score.bundle,
        version=score.version,
        last_good=score.bundle == last_good,
        fits=score.fits,
        rows_fitting=score.replay.fitted,
        inputs=score.inputs.level,
        predictions=score.predictions.level,
        mean_psi=score.inputs.mean_psi,
        metric=metric.name if metric else "",
        metric_value=metric.value if metric else 0.0,
        words=score.words,
    )
