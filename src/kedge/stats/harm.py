"""Is the canary worse: e-values and bounds on its harm that may be looked at after every unit.

All of it is on counts of *units* (what was randomised), never rows. E-values are returned as natural logarithms.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from ._counts import Floats, level, unwrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

_TILTS = 0.1 * 2.0 ** np.arange(6)
_BETS = 0.9 * 2.0 ** -np.arange(10)


def _null_share(rho: Floats, tolerance: float) -> Floats:
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    return np.asarray(rho * tolerance / (1.0 - rho + rho * tolerance))


def _tilted(k: ArrayLike, n: ArrayLike, rho: ArrayLike, tolerance: float) -> Floats:
    """Log likelihood ratios (..., tilts), before they are averaged over tilts."""
    events = np.asarray(k, dtype=np.float64)
    total = np.asarray(n, dtype=np.float64)
    share = np.asarray(rho, dtype=np.float64)
    if not ((events >= 0) & (events <= total)).all():
        raise ValueError("need 0 <= k <= n")
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError("rho must lie in [0, 1]")
    null = _null_share(share, tolerance)
    exponents: Floats = events[..., None] * _TILTS - total[..., None] * np.log1p(null[..., None] * np.expm1(_TILTS))
    return exponents


def _averaged(exponents: Floats) -> Floats:
    return np.asarray(logsumexp(exponents, axis=-1) - math.log(_TILTS.size))


def harm_e(k: ArrayLike, n: ArrayLike, rho: ArrayLike, tolerance: float = 1.0) -> Floats:
    """Return log E against "the canary's event rate is at most `tolerance` times the control's".

    rho0 = rho t / (1 - rho + rho t) and g_j = 0.1 x 2^j, j = 0..5:
    log E = logsumexp_j[k g_j - n ln(1 + rho0 (e^{g_j} - 1))] - ln 6. Given that an event happened, it fell on the
    canary with probability at most rho0 whatever traffic and error rates do over time, so E is a test supermartingale.
    It is one-sided: a better canary never fires.

    Args:
        k: (...) events on the canary, at least 0; one a unit.
        n: (...) events on both arms, at least k.
        rho: (...) the canary's share of units in [0, 1].
        tolerance: t, above 0; the rate ratio that is still no harm.

    Returns:
        (...) log E; 0 for n = 0. Fire at log E >= ln(1 / alpha).

    Raises:
        ValueError: outside that domain.

    Source: mixture over tilts of the binomial likelihood ratio; Robbins 1970, Ramdas and others 2023.
    """
    return unwrap(_averaged(_tilted(k, n, rho, tolerance)))


def harm_e_steps(steps: Iterable[tuple[ArrayLike, ArrayLike, ArrayLike]], tolerance: float = 1.0) -> Floats:
    """Return log E of `harm_e` over rollout steps with different shares, one e-process through all of them.

    The exponents k g_j - n ln(1 + rho0 (e^{g_j} - 1)) add over steps for each j before the average over j.

    Args:
        steps: (k, n, rho) of each step, counted apart; each (...) as in `harm_e`.
        tolerance: as in `harm_e`.

    Returns:
        (...) log E; 0 for no steps.

    Raises:
        ValueError: outside the domain of `harm_e`.
    """
    exponents: Floats = np.zeros(_TILTS.size)
    for k, n, rho in steps:
        exponents = exponents + _tilted(k, n, rho, tolerance)
    return unwrap(_averaged(exponents))


def smallest_detectable_ratio(n: float, rho: float, alpha: float, tolerance: float = 1.0) -> float:
    """Return the ratio of canary to control event rate that `n` events would expose, for reports at a deadline.

    theta >= tolerance with n KL(p(theta) || rho0) = ln(6 / alpha), p(theta) = rho theta / (1 - rho + rho theta) and
    rho0 = p(tolerance).

    Args:
        n: events on both arms.
        rho: the canary's share, strictly between 0 and 1.
        alpha: the guard's error budget, strictly between 0 and 1.
        tolerance: as in `harm_e`.

    Returns:
        theta; infinity where even n events all on the canary would not do, and so for n = 0.

    Raises:
        ValueError: outside that domain.
    """
    return smallest_ratio([(n, rho)], alpha, tolerance)


def smallest_ratio(steps: Iterable[tuple[float, float]], alpha: float, tolerance: float = 1.0) -> float:
    """Return `smallest_detectable_ratio` of rollout steps with different shares: their evidence adds.

    Args:
        steps: (n, rho) of each step.
        alpha: the guard's error budget, strictly between 0 and 1.
        tolerance: as in `harm_e`.

    Returns:
        theta; infinity where no ratio would be exposed, and so for no steps.

    Raises:
        ValueError: outside that domain.
    """
    table = [(n, float(_null_share(np.asarray(level(rho, "rho")), tolerance))) for n, rho in steps]
    needed = math.log(_TILTS.size / level(alpha))
    if sum(n * -math.log(null) for n, null in table) <= needed:
        return math.inf

    def short(log_ratio: float) -> float:
        """Evidence still missing at theta = tolerance x exp(log_ratio)."""
        missing = needed
        for n, null in table:
            log_norm = math.log1p(null * math.expm1(log_ratio))
            share = null * math.exp(log_ratio - log_norm)
            missing -= n * (share * log_ratio - log_norm)
        return missing

    high = 1.0
    while short(high) > 0:
        high *= 2.0
        # The limit itself is above `needed`, but may be reached only past the float64 range.
        if high > 512.0:
            return math.inf
    return tolerance * math.exp(float(brentq(short, 0.0, high, xtol=1e-14)))


class _Capital:
    """Capital of the bettor against "the harm is at least m", from four counts a step."""

    def __init__(self, steps: Sequence[tuple[float, float, float, float, float]], c: float) -> None:
        table = np.asarray(list(steps), dtype=np.float64).reshape(-1, 5)
        self.counts, rho = table[:, :4], table[:, 4]
        if table.size and not ((self.counts >= 0).all() and ((rho > 0) & (rho < 1)).all()):
            raise ValueError("each step is four counts of at least 0 and a share strictly between 0 and 1")
        if not 0.0 <= c <= 1.0:
            raise ValueError(f"c is a rate in [0, 1], got {c}")
        self.values = np.stack([(1 - c) / rho, -c / rho, -(1 - c) / (1 - rho), c / (1 - rho)], axis=-1)
        self.bets = np.minimum(rho, 1 - rho)[:, None] * _BETS
        # Below this some factor would be negative and the product no longer a martingale; it is below 0 always.
        edges = self.values.max(axis=-1, initial=-np.inf) - 1.0 / self.bets[:, 0]
        self.lowest = max(-1.0, float(edges.max(initial=-1.0)))

    def log_k(self, m: float) -> float:
        factors = 1.0 + self.bets[:, :, None] * (m - self.values[:, None, :])
        # A factor of 0 or less ruins the bettor if its outcome was seen, and is of no account if it was not.
        logs = np.log(factors, out=np.full_like(factors, -np.inf), where=factors > 0)
        seen = self.counts[:, None, :] > 0
        weighted = np.where(seen, self.counts[:, None, :] * np.where(seen, logs, 0.0), 0.0)
        # The ufunc and not scipy's logsumexp, whose overhead is many times the work on ten numbers.
        return float(np.logaddexp.reduce(weighted.sum(axis=(0, 2)))) - math.log(_BETS.size)


def harm_log_k(steps: Sequence[tuple[float, float, float, float, float]], m: float, c: float = 0.0) -> float:
    """Return log K(m), the evidence against "the harm is `m` or more".

    With Y the event, A the canary arm and c the control's rate frozen before the rollout,
    X = (Y - c)(A - rho) / (rho (1 - rho)) has the harm (canary rate less control rate) as its mean.
    l_j = 0.9 min(rho, 1 - rho) 2^-j, j = 0..9: log K(m) = logsumexp_j sum ln(1 + l_j (m - X)) - ln 10, increasing in m.

    Args:
        steps: (canary events, canary rest, control events, control rest, rho) of each step, counted apart.
        m: the harm tested, in [-1, 1]; meaningful for m >= 0, where no factor can be negative.
        c: the control's rate in [0, 1]; 0 if unknown. It buys power, never validity.

    Returns:
        log K(m); 0 for no steps or no units.

    Raises:
        ValueError: outside that domain.

    Source: Waudby-Smith and Ramdas 2024; Karampatziakis, Mineiro and Ramdas 2021.
    """
    return _Capital(steps, c).log_k(m)


def harm_upper(steps: Sequence[tuple[float, float, float, float, float]], c: float = 0.0, alpha: float = 0.05) -> float:
    """Return an upper bound of the harm that holds at all times at once with probability 1 - `alpha`.

    The m with `harm_log_k(steps, m, c)` = ln(1 / alpha). Harm is canary rate less control rate.

    Args:
        steps: (canary events, canary rest, control events, control rest, rho) of each step, counted apart.
        c: the control's rate frozen before the rollout; 0 if unknown.
        alpha: strictly between 0 and 1.

    Returns:
        The bound in [-1, 1]: 1 (nothing is excluded) while there is too little evidence, and so for no units. A canary
        far better than the control is bounded no lower than the bets stay fair, which is somewhere below 0.

    Raises:
        ValueError: outside that domain.

    Source: Waudby-Smith and Ramdas 2024; Karampatziakis, Mineiro and Ramdas 2021.
    """
    capital = _Capital(steps, c)
    needed = -math.log(level(alpha))
    if capital.log_k(1.0) < needed:
        return 1.0
    if capital.log_k(capital.lowest) >= needed:
        return capital.lowest
    low, high = capital.lowest, 1.0
    # Bisection: log K is increasing but may be minus infinity at the low end, which Brent's method cannot use.
    while high - low > 1e-14:
        middle = (low + high) / 2.0
        if capital.log_k(middle) >= needed:
            high = middle
        else:
            low = middle
    return high
