"""One rate against a reference rate: pipeline faults (missing, invalid, unseen, out of range) and frozen null rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, betaincinv, logsumexp

from ._counts import Floats, counts, level, unwrap
from .harm import harm_e

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def clopper_pearson_upper(k: ArrayLike, n: ArrayLike, confidence: float = 0.9995) -> Floats:
    """Return the upper Clopper-Pearson bound of a rate of which `k` of `n` were seen.

    BetaInv(confidence; k + 1, n - k): the rate at which k or fewer would be seen with probability 1 - confidence.

    Args:
        k: (...) events.
        n: (...) trials, at least k.
        confidence: strictly between 0 and 1.

    Returns:
        (...) in (0, 1]; 1 where k = n, and so for n = 0.

    Raises:
        ValueError: a count is negative or k > n.

    Source: Clopper and Pearson 1934.
    """
    events, trials = _events(k, n)
    inside = events < trials
    bound = betaincinv(events + 1.0, np.where(inside, trials - events, 1.0), level(confidence, "confidence"))
    return unwrap(np.where(inside, bound, 1.0))


def binomial_excess(k: ArrayLike, n: ArrayLike, rate: ArrayLike) -> Floats:
    """Return the p-value of `k` or more events in `n` trials when each has at most probability `rate`.

    P(Binomial(n, rate) >= k) = I_rate(k, n - k + 1), one-sided. Shapes (...) broadcast.

    Args:
        k: events.
        n: trials, at least k.
        rate: null rate in [0, 1]; `clopper_pearson_upper` of the reference keeps the test honest about its size.

    Returns:
        p-values; 1 for k = 0, and so for n = 0.

    Raises:
        ValueError: a count is negative, k > n, or a rate lies outside [0, 1].

    Source: the exact binomial test; incomplete beta form in Abramowitz and Stegun 26.5.24.
    """
    events, trials = _events(k, n)
    null = np.asarray(rate, dtype=np.float64)
    if null.size and not ((null >= 0) & (null <= 1)).all():
        raise ValueError("rate must lie in [0, 1]")
    some = events > 0
    tail = betainc(np.where(some, events, 1.0), trials - np.where(some, events, 0.0) + 1.0, null)
    return unwrap(np.where(some, tail, 1.0))


def tolerance_rates(reference: ArrayLike, alpha: float, eps: float = 0.01) -> Floats:
    """Return the highest proportion each cell may have in current traffic before it counts against the null.

    u_i = min(1, BetaInv(1 - alpha / (2B); r_i + 1, N - r_i) + eps): the reference's own proportion at its upper bound,
    over all B cells at once, plus a drift nobody minds.

    Args:
        reference: counts (..., cells).
        alpha: error budget, half of which the bounds may use; strictly between 0 and 1.
        eps: tolerated rise of a proportion, at least 0.

    Returns:
        (..., cells) in (0, 1]; 1 everywhere for an empty reference.

    Source: Clopper and Pearson 1934 with Bonferroni's correction.
    """
    r = counts(reference, "reference")
    if r.shape[-1] == 0:
        return r
    total = np.broadcast_to(r.sum(axis=-1, keepdims=True), r.shape)
    upper = clopper_pearson_upper(r, total, 1.0 - level(alpha) / (2.0 * r.shape[-1]))
    return np.minimum(1.0, upper + max(float(eps), 0.0))


def tolerance_e(current: ArrayLike, upper: ArrayLike) -> Floats:
    """Return log E against the null that no cell's proportion is above its bound in `upper`.

    E = mean over cells of exp harm_e(c_i, n, u_i); it fires at E >= 2 / alpha with bounds from
    `tolerance_rates(reference, alpha)`. A plug-in of estimated proportions in place of the bounds fires on every long
    null stream.

    Args:
        current: counts (..., cells), summed since the start and never restarted.
        upper: (..., cells) in [0, 1].

    Returns:
        (...) logarithms; 0 (E = 1) for no rows or no cells.
    """
    c = counts(current, "current")
    if c.shape[-1] == 0:
        return unwrap(np.zeros(c.shape[:-1]))
    total = np.broadcast_to(c.sum(axis=-1, keepdims=True), c.shape)
    each = np.asarray(harm_e(c, total, upper), dtype=np.float64)
    return unwrap(np.asarray(logsumexp(each, axis=-1) - np.log(c.shape[-1])))


def _events(k: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    events, trials = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if not ((events >= 0) & (events <= trials)).all():
        raise ValueError("need 0 <= k <= n")
    return events, trials
