"""From the numbers of a reading to what they prove: the same code when a guard reads and when a record is checked.

A reading's numbers are flat, whole numbers and text, so that an audit record can hold them; fractions are text that
reads back as the same float64, and a histogram is its counts with spaces between. ``method`` says what is done:

- ``harm``: events of canary against control, by `kedge.stats.harm_e_steps` and `harm_upper`;
- ``ratio``: units per arm against the share, by `kedge.stats.beta_binomial_e`;
- ``bands``: two distributions, by `kedge.stats.band_excess`, each stage for itself;
- ``mean``: the mean of values in [0, 1], by `kedge.stats.betting_log_e` and `betting_confidence_sequence`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kedge.errors import Code, KedgeError
from kedge.stats import (
    band_excess,
    beta_binomial_e,
    betting_confidence_sequence,
    betting_log_e,
    empirical_process_radius,
    harm_e_steps,
    harm_upper,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

Numbers = dict[str, str | int]
PROOF_ALPHA = 0.05
"""Of the bounds that promotion rests on; not split, since all of them must pass."""


class NumbersError(KedgeError):
    """These are not the numbers of a reading."""

    code = Code.INVALID_ARGUMENT


class Proof(NamedTuple):
    """What numbers prove.

    Attributes:
        log_e: natural logarithm of the e-value; None where the method has bounds alone.
        upper: upper bound of the harm or difference, valid at all times at once with probability 0.95; None where
            there is none.
        lower: lower bound of the difference at the guard's alpha; None where the method has none.
    """

    log_e: float | None
    upper: float | None
    lower: float | None = None


NOTHING = Proof(None, None)


def recompute(numbers: Mapping[str, str | int]) -> Proof:
    """What the numbers of a reading prove.

    Raises:
        NumbersError: a number is missing or is none.
    """
    try:
        return _METHODS[str(numbers["method"])](numbers)
    except (KeyError, ValueError) as error:
        raise NumbersError(f"these numbers cannot be recomputed: {error}") from error


def text(counts: Iterable[int]) -> str:
    """A histogram as numbers hold it."""
    return " ".join(str(int(count)) for count in counts)


def _harm(numbers: Mapping[str, str | int]) -> Proof:
    """Counts are divided by ``together``, the most units that one cause strikes at once.

    With at most c such units, a of the canary and b of the control, the factor of one cause is
    exp((a (g - L) - b L) / c), L = ln(1 + rho0 (e^g - 1)). By convexity it is at most
    (a/c) e^(g - L) + (b/c) e^-L + 1 - (a + b)/c, whose mean is at most 1 where each unit was drawn for itself. So the
    e-value stays one; undivided, an equal canary in batches of 16 is condemned in a fifth of runs. The same holds for
    the bound, whose factors are divided likewise. A stage may have a ``together`` of its own, known before it began.
    ``expected`` events on the canary, where the numbers have them, stand for the share of all events: see
    `kedge.rollout.guard_slow`.
    """

    def together(stage: int) -> int:
        return int(numbers.get(f"{stage}.together", numbers["together"]))

    def of(stage: int, name: str) -> float:
        return int(numbers[f"{stage}.{name}"]) / together(stage)

    stages = [(i, float(numbers[f"{i}.share"])) for i in range(int(numbers["stages"]))]
    events = []
    for i, share in stages:
        n = of(i, "canary.ever") + of(i, "control.ever")
        expected = float(numbers.get(f"{i}.expected", share * n * together(i))) / together(i)
        events.append((of(i, "canary.ever"), n, min(1.0, expected / n) if n else share))
    rates = [
        (
            of(i, "canary.bad"),
            of(i, "canary.units") - of(i, "canary.bad"),
            of(i, "control.bad"),
            of(i, "control.units") - of(i, "control.bad"),
            share,
        )
        for i, share in stages
    ]
    return Proof(
        float(harm_e_steps(events, float(numbers["tolerance"]))), harm_upper(rates, float(numbers["rate"]), PROOF_ALPHA)
    )


def _ratio(numbers: Mapping[str, str | int]) -> Proof:
    """Each stage has its own prior, centred on its share; e-values of stages that follow each other multiply."""
    weight = float(numbers["prior"])
    log_e = 0.0
    for i in range(int(numbers["stages"])):
        share, canary = float(numbers[f"{i}.share"]), int(numbers[f"{i}.canary.units"])
        both = canary + int(numbers[f"{i}.control.units"])
        log_e += float(beta_binomial_e(canary, both, share, weight * share, weight * (1.0 - share)))
    return Proof(log_e, None)


def _bands(numbers: Mapping[str, str | int]) -> Proof:
    """Stages apart, since traffic that moves while shares change would set two equal arms apart; alpha is split."""
    alpha = float(numbers["alpha"]) / int(numbers["planned"])
    lower, upper, most = -math.inf, None, 0
    for i in range(int(numbers["stages"])):
        canary, control = _histogram(numbers[f"{i}.canary"]), _histogram(numbers[f"{i}.control"])
        units = min(int(canary.sum()), int(control.sum()))
        excess = float(band_excess(canary, control, alpha))
        lower = max(lower, excess)
        if units > most and math.isfinite(excess):
            radii = (float(empirical_process_radius(int(arm.sum()), alpha / 2.0)) for arm in (canary, control))
            most, upper = units, min(1.0, excess + 2.0 * sum(radii))
    return Proof(None, upper, lower if math.isfinite(lower) else None)


def _mean(numbers: Mapping[str, str | int]) -> Proof:
    counts = _histogram(numbers["counts"])
    low, high = (np.array([float(value) for value in str(numbers[key]).split()]) for key in ("low", "high"))
    if not low.size == high.size == counts.size:
        raise ValueError("low, high and counts have different lengths")
    seen = counts > 0
    low, high, counts = low[seen], high[seen], counts[seen]
    if not counts.size:
        return Proof(0.0, 1.0, 0.0)
    _, upper = betting_confidence_sequence(high, counts, 2.0 * PROOF_ALPHA)
    lower, _ = betting_confidence_sequence(low, counts, 2.0 * float(numbers["alpha"]))
    return Proof(float(betting_log_e(low, counts, float(numbers["tolerance"]))), float(upper), float(lower))


def _histogram(value: str | int) -> NDArray[np.int64]:
    return np.array([int(part) for part in str(value).split()], dtype=np.int64)


_METHODS: dict[str, Callable[[Mapping[str, str | int]], Proof]] = {
    "harm": _harm,
    "ratio": _ratio,
    "bands": _bands,
    "mean": _mean,
}
