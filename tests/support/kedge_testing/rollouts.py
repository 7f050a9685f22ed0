"""Counts of rollouts, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.plane import evidence as at
from kedge.plane.evidence import KINDS, WORDS, Evidence
from kedge.rollout.reading import Judged, StepEvidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

import numpy as np


def evidence(
    units: int = 0,
    events: Mapping[str, int] | None = None,
    *,
    scores: Mapping[int, int] | None = None,
    agreement: Mapping[tuple[int, int], int] | None = None,
    differences: Mapping[int, int] | None = None,
    failed: int = 0,
    judged: int = 0,
) -> Evidence:
    """The cell of an arm, or of a shadow.

    Args:
        units: answered.
        events: units by kind whose first request was one, and that have no other.
        scores: units by score slot.
        agreement: pairs by live and shadow class.
        differences: pairs by bin.
        failed: in the shadow.
        judged: units that ran in batches of a size with a line.
    """
    words = np.zeros(WORDS, dtype=np.int64)
    words[at.UNITS] = units
    for kind, count in (events or {}).items():
        place = [*KINDS].index(kind)  # type: ignore[arg-type]
        words[at.FIRST][place] = words[at.REQUEST][place] = count
    for slot, count in (scores or {}).items():
        words[at.SCORES][slot] = count
    for (live, other), count in (agreement or {}).items():
        words[at.AGREEMENT][at.AGREEMENT_CLASSES * live + other] = count
        words[at.DISAGREED] += count * (live != other)
    for place, count in (differences or {}).items():
        words[at.DIFFERENCES][place] = count
    words[at.JUDGED] = judged
    words[at.FAILED] = failed
    words[at.COMPARED] = max(sum((agreement or {}).values()), sum((differences or {}).values()))
    words[at.OFFERED] = words[at.FAILED] + words[at.COMPARED]
    return Evidence(words)


def step(
    share: float, canary: Evidence | Sequence[int], control: Evidence | Sequence[int], index: int = 0
) -> StepEvidence:
    """A stage, looked at once; an arm may be given as (units, errors), all of them judged."""
    one, other = (
        arm if isinstance(arm, Evidence) else evidence(arm[0], {"errors": arm[1] if len(arm) > 1 else 0}, judged=arm[0])
        for arm in (canary, control)
    )
    return StepEvidence(index, share, one, other, judged(one, other), (one.ran, one.judged))


def judged(canary: Evidence, control: Evidence, expected: float | None = None, together: int = 1) -> tuple[Judged, ...]:
    """Units judged under one set of lines and looked at once, or with so many slow ones expected on the canary."""
    arms = [(arm.judged, arm.request_events("slow")) for arm in (canary, control)]
    both, slow = (sum(counts) for counts in zip(*arms, strict=True))
    if not both:
        return ()
    return (Judged(*arms[0], *arms[1], slow * arms[0][0] / both if expected is None else expected, together),)
