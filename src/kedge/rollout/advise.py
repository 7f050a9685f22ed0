"""Which bundle to go back to: rollback is not rollforward, and the last good bundle may not fit today's traffic.

Every retained bundle is put to the rows that clients send now: whether they fit its inputs, how far they lie from its
own reference, and what it predicts of them, which is compared with its own reference too. The rules, in this order:

1. a bundle that current rows do not fit, that fails on them or gives invalid predictions comes last;
2. then what moved: no input past its line, some, or some past the critical line; likewise its predictions. A bundle
   without a reference, or judged on too few rows, stands with those that moved somewhat;
3. then the better figure, where both were evaluated on the same data;
4. then the smaller drift over all inputs, and what was live last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from kedge.monitor.frame import Frame
from kedge.monitor.measure import measure
from kedge.rollout.replay import Replay, Run, Tensors, replay

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import Metric
    from kedge.kernel.contract import Kernel

Level = Literal["none", "some", "critical", "unknown"]
HIGHER_IS_BETTER: Final = ("auc", "r2", "accuracy")
LOWER_IS_BETTER: Final = ("log_loss", "rmse", "mae")
LEAST_FIT: Final = 0.99
"""Share of current rows that must fit a bundle's inputs, and of its predictions that must be valid: a few clients may
be on their way to another schema."""
_RANK: Final[dict[Level, int]] = {"none": 0, "some": 1, "unknown": 1, "critical": 2}
_BY_INPUTS: Final = (1.0, 0.6, 0.35)
_BY_PREDICTIONS: Final = (1.0, 0.85, 0.7)
_MISFIT: Final = 0.2
"""Of scores: by the ranks of inputs and predictions, multiplied; a bundle that does not fit has at most the last, less
than 0.35 x 0.7."""


@dataclass(frozen=True)
class Retained:
    """A bundle that may be gone back to.

    Attributes:
        bundle: opened.
        run: its model, loaded for this.
        last_live: when it was live last, seconds since 1970; 0 if never.
    """

    bundle: Bundle
    run: Run
    last_live: float = 0.0


@dataclass(frozen=True)
class Drift:
    """How far rows lie from a reference.

    Attributes:
        level: none past its line, some, some past the critical line, or unknown.
        moved, of: distributions past their line, of how many.
        worst, psi: the one furthest off, and its PSI*; empty and 0 where there is none.
        mean_psi: over all of them.
    """

    level: Level
    moved: int = 0
    of: int = 0
    worst: str = ""
    psi: float = 0.0
    mean_psi: float = 0.0


@dataclass(frozen=True)
class Score:
    """One bundle.

    Attributes:
        bundle, model, version: which.
        fits: current rows fit it, it answers them, and validly.
        replay: what became of the rows.
        inputs, predictions: against its own reference.
        metric: the figure it is known by; None where nothing was evaluated.
        score: in [0, 1], larger fits better; it falls in the order of the ranks above, and is equal where they are.
        reasons: what speaks for it and against it, for a person.
    """

    bundle: str
    model: str
    version: str
    fits: bool
    replay: Replay
    inputs: Drift
    predictions: Drift
    metric: Metric | None
    score: float
    reasons: tuple[str, ...]

    @property
    def words(self) -> str:
        """All of it on one line."""
        return f"{self.model} {self.version}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        scores: best first.
        best: bundle id to go back to; None where none fits.
        rows: of current traffic it rests on.
        words: for a person, one line.
    """

    scores: tuple[Score, ...]
    best: str | None
    rows: int
    words: str


def advise(candidates: Sequence[Retained], rows: Sequence[Tensors], kernel: Kernel, last_good: str = "") -> Advice:
    """Rank bundles by how they fit current traffic.

    Args:
        candidates: that may be deployed: none is quarantined.
        rows: a sample of current requests' rows, each a mapping of tensor name to an array of first extent 1.
        kernel: what counts.
        last_good: id of the bundle that a plain rollback takes.
    """
    scored = [(item, _score(item, rows, kernel)) for item in candidates]
    same_data = len({_evaluated_on(item.bundle) for item in candidates}) == 1

    def key(pair: tuple[Retained, Score]) -> tuple[float, ...]:
        item, score = pair
        figure = _goodness(score.metric) if same_data else 0.0
        return (
            not score.fits,
            0 if score.fits else -score.replay.fitted,
            _RANK[score.inputs.level],
            _RANK[score.predictions.level],
            -figure,
            round(score.inputs.mean_psi, 3),
            -item.last_live,
        )

    scores = tuple(score for _, score in sorted(scored, key=key))
    best = scores[0] if scores and scores[0].fits and rows else None
    return Advice(scores, best.bundle if best else None, len(rows), _advice(scores, best, len(rows), last_good))


def _score(item: Retained, rows: Sequence[Tensors], kernel: Kernel) -> Score:
    bundle = item.bundle
    seen = replay(bundle, rows, item.run, kernel)
    frame = Frame.of(bundle)
    inputs = _drift(frame, seen, frame.features)
    predictions = _drift(frame, seen, ~frame.features)
    fits = (
        not seen.failure and seen.fitted >= LEAST_FIT * seen.rows and seen.invalid <= (1 - LEAST_FIT) * seen.predicted
    )
    metric = _metric(bundle)
    level = _BY_INPUTS[_RANK[inputs.level]] * _BY_PREDICTIONS[_RANK[predictions.level]]
    score = level if fits else _MISFIT * seen.fitted / max(1, seen.rows)
    reasons = tuple(
        part
        for part in (
            _fit_words(seen),
            _drift_words("inputs", inputs),
            _drift_words("predictions", predictions) if seen.predicted else "",
            f"{metric.name} {metric.value:.4g} when built" if metric else "nothing was evaluated when it was built",
        )
        if part
    )
    return Score(bundle.id, bundle.name, bundle.version, fits, seen, inputs, predictions, metric, score, reasons)


def _drift(frame: Frame, seen: Replay, chosen: NDArray[np.bool_]) -> Drift:
    found = measure(frame, seen.counts.words)
    lines = [line for line in range(len(frame.sides)) if chosen[line] and found.rows[line] >= frame.needed[line]]
    if not lines:
        return Drift("unknown")
    worst = max(lines, key=lambda line: float(found.psi[line]))
    moved = [line for line in lines if found.psi[line] >= frame.warn[line]]
    critical = any(found.psi[line] >= frame.critical[line] for line in moved)
    return Drift(
        level="critical" if critical else "some" if moved else "none",
        moved=len(moved),
        of=len(lines),
        worst=frame.sides[worst].name,
        psi=float(found.psi[worst]),
        mean_psi=float(found.psi[lines].mean()),
    )


def _metric(bundle: Bundle) -> Metric | None:
    """The figure over all rows that people know such a model by."""
    measured = {metric.name: metric for metric in bundle.metrics.metrics if metric.slice is None}
    return next((measured[name] for name in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER) if name in measured), None)


def _goodness(metric: Metric | None) -> float:
    if metric is None:
        return -math.inf
    return metric.value if metric.name in HIGHER_IS_BETTER else -metric.value


def _evaluated_on(bundle: Bundle) -> tuple[str, ...]:
    """Digests of the evaluation data, and by which figure: two figures compare only where both are the same."""
    metric = _metric(bundle)
    data = sorted(item.sha256 for item in bundle.snapshots.snapshots if item.role == "evaluation")
    return (metric.name if metric else "", *data)


def _fit_words(seen: Replay) -> str:
    if seen.failure:
        return f"fails on current rows: {seen.failure}"
    if seen.fitted < seen.rows:
        return f"{seen.fitted:,} of {seen.rows:,} current rows fit it: {seen.misfit}"
    invalid = f", {seen.invalid:,} predictions of {seen.predicted:,} invalid" if seen.invalid else ""
    return f"all {seen.rows:,} current rows fit it{invalid}"


def _drift_words(what: str, drift: Drift) -> str:
    match drift.level:
        case "unknown":
            return f"{what} cannot be judged, without a reference or on so few rows"
        case "none":
            return f"{what} as in its reference"
        case _:
            worst = f"'{drift.worst}' (PSI {drift.psi:.2f})"
            return f"{drift.moved} of {drift.of} {what} moved from its reference, most {worst}"


def _advice(scores: tuple[Score, ...], best: Score | None, rows: int, last_good: str) -> str:
    if not scores:
        return "no bundle is retained to go back to"
    if not rows:
        return "no current rows are known to judge by; a plain rollback takes the last good bundle"
    if best is None:
        return f"no retained bundle fits current traffic; closest: {scores[0].words}"
    plain = next((score for score in scores if score.bundle == last_good), None)
    if plain is None or plain.bundle == best.bundle:
        return f"go back to {best.words}"
    return f"go back to {best.words}; better than the last good one, {plain.words}"
