"""Control charts on standardised values: CUSUM, EWMA, Western Electric rules, Page-Hinkley.

Every chart takes `x` of shape (..., time), in units of the in-control standard deviation from the in-control mean, and
returns arrays of that shape; leading axes are features. NaN is a window without rows: sums stay as they are, and no
rule counts it. No time at all gives empty arrays. No chart resets itself at an alarm: that is the caller's decision.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from ._counts import Bools, Floats

RULES = {1: (1, 1, 3.0), 2: (2, 3, 2.0), 3: (4, 5, 1.0), 4: (8, 8, 0.0)}
"""Western Electric rules by number: `hits` of the last `window` points beyond `sigmas` on one side."""


class TwoSided(NamedTuple):
    """Path of a two-sided chart; each field has the shape of the input.

    Attributes:
        up: evidence for a rise, at least 0.
        down: evidence for a fall, at least 0.
        alarm: where either is above its limit.
    """

    up: Floats
    down: Floats
    alarm: Bools


class Ewma(NamedTuple):
    """Path of an EWMA chart.

    Attributes:
        value: the moving average, of the shape of the input.
        limit: the control limit, on both sides of 0.
        alarm: where the value is beyond the limit.
    """

    value: Floats
    limit: float
    alarm: Bools


def cusum(x: ArrayLike, k: float = 0.5, h: float = 5.0, start: tuple[ArrayLike, ArrayLike] = (0.0, 0.0)) -> TwoSided:
    """Run a two-sided cumulative sum chart.

    C+ <- max(0, C+ + x - k), C- <- max(0, C- - x - k); alarm where either is above h. `cusum_arl(k, h, shift)` is its
    run length from zero.

    Args:
        x: (..., time) standardised values; NaN leaves the sums.
        k: allowance, at least 0: half the shift to be found.
        h: decision limit, at least 0; `cusum_limit` finds it for a run length.
        start: (C+, C-) before the first value, each (...), to go on from an earlier run.

    Raises:
        ValueError: k or h is negative.

    Source: Page 1954; Montgomery, "Introduction to statistical quality control", chapter 9.
    """
    values = np.atleast_1d(np.asarray(x, dtype=np.float64))
    if k < 0 or h < 0:
        raise ValueError(f"k and h must be at least 0, got {k} and {h}")
    high = np.broadcast_to(np.asarray(start[0], dtype=np.float64), values.shape[:-1])
    low = np.broadcast_to(np.asarray(start[1], dtype=np.float64), values.shape[:-1])
    up, down = np.empty_like(values), np.empty_like(values)
    for time in range(values.shape[-1]):
        now = values[..., time]
        seen = ~np.isnan(now)
        high = np.where(seen, np.maximum(0.0, high + now - k), high)
        low = np.where(seen, np.maximum(0.0, low - now - k), low)
        up[..., time], down[..., time] = high, low
    return TwoSided(up, down, (up > h) | (down > h))


def ewma(x: ArrayLike, lam: float, L: float, start: ArrayLike = 0.0) -> Ewma:  # noqa: N803
    """Run an exponentially weighted moving average chart with its asymptotic limits.

    Z <- (1 - lam) Z + lam x; alarm where |Z| > L sqrt(lam / (2 - lam)). `ewma_arl(lam, L, shift)` is its run length.

    Args:
        x: (..., time) standardised values; NaN leaves the average.
        lam: weight of the newest value, in (0, 1].
        L: width of the limits in standard deviations of Z, above 0.
        start: (...) Z before the first value.

    Raises:
        ValueError: outside that domain.

    Source: Roberts 1959; Lucas and Saccucci 1990.
    """
    values = np.atleast_1d(np.asarray(x, dtype=np.float64))
    limit = ewma_limit(lam, L)
    average = np.broadcast_to(np.asarray(start, dtype=np.float64), values.shape[:-1])
    path = np.empty_like(values)
    for time in range(values.shape[-1]):
        now = values[..., time]
        average = np.where(np.isnan(now), average, (1.0 - lam) * average + lam * now)
        path[..., time] = average
    return Ewma(path, limit, np.abs(path) > limit)


def ewma_limit(lam: float, L: float) -> float:  # noqa: N803
    """Return the asymptotic limit L sqrt(lam / (2 - lam)) of an EWMA chart.

    Raises:
        ValueError: lam is outside (0, 1] or L is not above 0.
    """
    if not 0.0 < lam <= 1.0:
        raise ValueError(f"lam must lie in (0, 1], got {lam}")
    if not L > 0.0:
        raise ValueError(f"L must be above 0, got {L}")
    return L * math.sqrt(lam / (2.0 - lam))


def western_electric(x: ArrayLike, rules: Sequence[int] = (1, 2, 3, 4)) -> Bools:
    """Return where each Western Electric rule signals on a Shewhart chart.

    Rule 1: a point beyond 3 sigma. 2: two of three beyond 2. 3: four of five beyond 1. 4: eight running on one side of
    the centre. Rules 2 to 4 ask all their points on one side. "Beyond" excludes the line itself.
    `shewhart_arl(rules, shift)` is the run length to any of them.

    Args:
        x: (..., time) standardised values; NaN is beyond nothing.
        rules: numbers from 1 to 4.

    Returns:
        (rules, ..., time): true where the rule is met by points up to and with that one.

    Raises:
        ValueError: an unknown rule.

    Source: Western Electric 1956; numbered as in Champ and Woodall 1987.
    """
    values = np.atleast_1d(np.asarray(x, dtype=np.float64))
    signals = np.zeros((len(rules), *values.shape), dtype=np.bool_)
    for row, rule in enumerate(rules):
        hits, window, sigmas = _rule(rule)
        for side in (values, -values):
            beyond = np.cumsum(side > sigmas, axis=-1)
            earlier = np.zeros_like(beyond)
            earlier[..., window:] = beyond[..., :-window]
            signals[row] |= beyond - earlier >= hits
    return signals


def _rule(rule: int) -> tuple[int, int, float]:
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule}; choose from {sorted(RULES)}")
    return RULES[rule]


def page_hinkley(x: ArrayLike, delta: float = 0.005, threshold: float = 50.0) -> TwoSided:
    """Run a two-sided Page-Hinkley test, which learns the mean as it goes.

    With xbar_t the mean of x_1..x_t: U_t = sum (x_i - xbar_i - delta), up = U_t - min U; D_t = sum (x_i - xbar_i +
    delta), down = max D - D_t, both extremes taken from U_0 = D_0 = 0 on. Alarm where either is above `threshold`.

    Args:
        x: (..., time) values in any unit; NaN leaves everything.
        delta: tolerated change, in the unit of x.
        threshold: above 0, in the unit of x.

    Raises:
        ValueError: threshold is not above 0.

    Source: Page 1954; Hinkley 1971; Gama and others 2013, "On evaluating stream learning algorithms".
    """
    values = np.atleast_1d(np.asarray(x, dtype=np.float64))
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0, got {threshold}")
    seen = ~np.isnan(values)
    filled = np.where(seen, values, 0.0)
    mean = np.cumsum(filled, axis=-1) / np.maximum(np.cumsum(seen, axis=-1), 1)
    rise = np.cumsum(np.where(seen, filled - mean - delta, 0.0), axis=-1)
    fall = np.cumsum(np.where(seen, filled - mean + delta, 0.0), axis=-1)
    up = rise - np.minimum(np.minimum.accumulate(rise, axis=-1), 0.0)
    down = np.maximum(np.maximum.accumulate(fall, axis=-1), 0.0) - fall
    return TwoSided(up, down, (up > threshold) | (down > threshold))


def residual_scale(residuals: ArrayLike, days: int = 7) -> Floats:
    """Return the standard deviation to divide residuals from "the mean of this hour over the last `days` days" by.

    s sqrt(1 + 1 / days) sqrt((1 + phi) / (1 - phi)): s and phi are standard deviation and lag-1 correlation of the
    warm-up residuals. The second factor is the noise of the hourly mean itself, the third makes a chart for independent
    values keep its run length on correlated ones. phi is clipped to [0, 0.95].

    Args:
        residuals: (..., time) of the warm-up, in order; NaN is left out.
        days: number of days in the hourly mean, at least 1.

    Returns:
        (...) in the unit of the residuals; 0 where they are constant or fewer than two.

    Source: Johnson and Bagshaw 1974 (CUSUM on first-order autoregressive values).
    """
    values = np.atleast_1d(np.asarray(residuals, dtype=np.float64))
    seen = ~np.isnan(values)
    size = seen.sum(axis=-1, keepdims=True)
    filled = np.where(seen, values, 0.0)
    centred = np.where(seen, filled - filled.sum(axis=-1, keepdims=True) / np.maximum(size, 1), 0.0)
    squares = (centred**2).sum(axis=-1)
    products = (centred[..., 1:] * centred[..., :-1]).sum(axis=-1)
    phi = np.clip(np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0), 0.0, 0.95)
    variance = squares / np.maximum(size[..., 0] - 1, 1)
    return np.asarray(np.sqrt(variance * (1.0 + 1.0 / days) * (1.0 + phi) / (1.0 - phi)))[()]
