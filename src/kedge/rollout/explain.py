"""Readings and decisions in words, with the numbers a person needs and no more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from kedge.rollout.frozen import ENOUGH
from kedge.rollout.reading import LEAST_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.rollout.guard_harm import Stage
    from kedge.rollout.reading import Reading

WHAT: Final = {
    "errors": "server errors",
    "timeouts": "timeouts",
    "refusals": "refused requests",
    "invalid": "invalid outputs",
    "slow": "slow runs",
    "outcomes": "wrong predictions",
    "labels": "labels by arm",
    "sample_ratio": "sample ratio",
    "distribution": "scores",
    "confidence": "confidence",
    "disagreement": "disagreement with the live bundle",
    "difference": "score difference from the live bundle",
    "failed": "failures in the shadow",
}


def harm(reading: Reading, stages: Sequence[Stage], *, blind: bool) -> str:
    """One sentence on events of canary against control, from a reading without words and the counts behind it."""
    what = WHAT[reading.guard]
    if reading.verdict == "off":
        return f"{what}: not watched"
    if blind:
        known = f"the control has not made {ENOUGH:,} runs of any batch size yet"
        return f"{what}: cannot be seen, as {known}"
    canary, control = (
        f"{sum(arm.bad for arm in arms):,} of {sum(arm.units for arm in arms):,}"
        for arms in ([stage.canary for stage in stages], [stage.control for stage in stages])
    )
    judged = "judged " if reading.guard == "slow" else ""
    seen = f"{what}: {canary} {judged}canary units, {control} {judged}control units"
    match reading.verdict:
        case "harm":
            return f"{seen}; more than chance explains ({evidence(reading)})"
        case "proven":
            return f"{seen}; harm is at most {bound(reading)}, below the margin of {points(reading.margin)}"
        case "insufficient":
            return f"{seen}; too few units to tell"
        case _:
            return f"{seen}; harm may still be up to {bound(reading)}, margin {points(reading.margin)}"


def uncovered(ran: int, judged: int, wanted: float) -> str:
    """One sentence on slow runs of a canary most of whose batches are of sizes that nothing is known of."""
    seen = f"{judged:,} of {ran:,} canary units of this step ran in batches of a size with a line"
    return (
        f"{WHAT['slow']}: {seen}; {100 * wanted:g} % of at least {LEAST_UNITS:,} are needed to say that none is slower"
    )


def ratio(reading: Reading, counts: Sequence[tuple[float, int, int]]) -> str:
    """One sentence on units per arm."""
    what = WHAT[reading.guard]
    if reading.verdict == "off":
        return f"{what}: not watched"
    canary = sum(row[1] for row in counts)
    expected = sum(row[0] * (row[1] + row[2]) for row in counts)
    seen = f"{what}: {canary:,} of {reading.n:,} units on the canary, {expected:,.0f} expected"
    if not reading.fired:
        return f"{seen}; as drawn"
    return f"{seen}; the arms are not what was drawn, so nothing about them can be believed ({evidence(reading)})"


def apart(reading: Reading) -> str:
    """One sentence on two distributions."""
    what = WHAT[reading.guard]
    if reading.verdict == "off":
        return f"{what}: not watched"
    if reading.upper is None:
        return f"{what}: too few units to tell"
    if reading.fired:
        return f"{what}: the arms lie at least {reading.lower:.3g} apart, tolerance {reading.margin:g}"
    return f"{what}: the arms lie at most {reading.upper:.3g} apart, tolerance {reading.margin:g}"


def mean(reading: Reading, seen: float) -> str:
    """One sentence on a shadow's pairs."""
    what = WHAT[reading.guard]
    if reading.verdict == "off":
        return f"{what}: not watched"
    said = (
        f"{what}: {seen:.3g} of {reading.n:,} requests"
        if reading.guard == "difference"
        else (f"{what}: {100 * seen:.3g} % of {reading.n:,} requests")
    )
    if reading.fired:
        return f"{said}; surely above the tolerance of {reading.margin:g} ({evidence(reading)})"
    return f"{said}; at most {reading.upper:.3g}, tolerance {reading.margin:g}"


def evidence(reading: Reading) -> str:
    """How strong a verdict is."""
    return f"E {odds(reading.log_e or 0.0)}, fires at {odds(reading.threshold)}"


def bound(reading: Reading) -> str:
    """The upper bound of harm."""
    return points(1.0 if reading.upper is None else reading.upper)


def still(reading: Reading) -> str:
    """The smallest harm that the evidence of a guard without a verdict could have shown so far."""
    if reading.log_e is None or (reading.verdict == "insufficient" and reading.numbers.get("ran")):
        return reading.words
    excluded = "" if reading.upper is None or reading.upper >= 1.0 else f"harm above {bound(reading)} is excluded"
    ratio = reading.detectable
    shown = "" if ratio is None else f"{ratio:.3g} times the control's rate would have been shown"
    said = ", and ".join(filter(None, (excluded, shown))) or "no harm could have been shown yet"
    return f"{WHAT[reading.guard]}: {said} (margin {points(reading.margin)}, {reading.n:,} events)"


def odds(log_e: float) -> str:
    """An e-value for people: it may be past the float range."""
    return f"{math.exp(log_e):,.3g}" if log_e < 30 else f"10^{log_e / math.log(10):.0f}"


def points(rate: float) -> str:
    """A difference of rates in percentage points."""
    return f"{100 * rate:.3g} points"
