"""Average run lengths of control charts on independent standard normal values, and the limits that give them.

`shift` is the true mean in standard deviations; 0 gives the mean time between false alarms. All are zero-state: the
chart starts at its centre and the shift is there from the first value on.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from .charts import RULES, ewma_limit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._counts import Floats

_HIGHEST_LIMIT = 100.0


@lru_cache(maxsize=64)
def _quadrature(sixteens: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights, in multiples of 16 so that a search over limits meets the same ones again."""
    return np.polynomial.legendre.leggauss(16 * sixteens)


def _density(x: Floats) -> Floats:
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _steps_to_exit(moves: Floats, leaving: Floats) -> float:
    """Return the expected steps from state 0 until the chain is left.

    Elimination of states as by Grassmann, Taksar and Heyman 1985: only positive terms are added, and 1 minus a row sum
    is never formed, so run lengths keep their relative precision however long they are. Solving (I - P) L = 1 loses a
    digit of it for each digit of L.

    Args:
        moves: (states, states) probabilities of going on; the diagonal is not read, it is what the rest leaves over.
        leaving: (states,) probabilities of an alarm, computed on their own.
    """
    moves, leaving, spent = moves.copy(), leaving.copy(), np.ones(leaving.size)
    with np.errstate(over="ignore", divide="ignore"):
        for state in range(leaving.size - 1, 0, -1):
            away = moves[state, :state].sum() + leaving[state]
            share = moves[:state, state] / away
            moves[:state, :state] += share[:, None] * moves[state, :state]
            leaving[:state] += share * leaving[state]
            spent[:state] += share * spent[state]
        return float(np.divide(spent[0], leaving[0]))


def _one_sided(k: float, h: float, shift: float) -> float:
    """Page's integral equation, L(z) = 1 + L(0) F(k - z - shift) + int_0^h L(y) f(y + k - z - shift) dy, at z = 0."""
    nodes, weights = _quadrature(math.ceil(1 + 3 * h / 16))
    points = np.concatenate([[0.0], (nodes + 1.0) * h / 2.0])
    away = k - points - shift
    kernel = np.empty((points.size, points.size))
    kernel[:, 0] = ndtr(away)
    kernel[:, 1:] = _density(points[None, 1:] + away[:, None]) * weights * h / 2.0
    return _steps_to_exit(kernel, ndtr(-(h + away)))


def cusum_arl(k: float, h: float, shift: float = 0.0) -> float:
    """Return the average run length of the two-sided `cusum` chart from zero.

    1 / ARL = 1 / ARL+ + 1 / ARL-, each from Page's integral equation by Gauss-Legendre quadrature.

    Args:
        k: allowance, at least 0.
        h: decision limit, from 0 to 100.
        shift: mean of the values.

    Returns:
        Values to an alarm, at least 1; infinity past the float64 range.

    Raises:
        ValueError: outside that domain.

    Source: Page 1954; Goel and Wu 1971; the two sides together, Kemp 1961.
    """
    if not (k >= 0 and 0 <= h <= _HIGHEST_LIMIT):
        raise ValueError(f"need k >= 0 and 0 <= h <= 100, got {k} and {h}")
    up = _one_sided(k, h, shift)
    down = up if shift == 0 else _one_sided(k, h, -shift)
    return 1.0 / (1.0 / up + 1.0 / down) if min(up, down) < math.inf else math.inf


def cusum_limit(k: float, arl0: float) -> float:
    """Return the limit h at which a two-sided CUSUM raises one false alarm in `arl0` values on average.

    Args:
        k: allowance, above 0.
        arl0: wanted run length without a shift, at least 1 and finite.

    Returns:
        h with cusum_arl(k, h, 0) = arl0; 0 where even h = 0 runs longer.

    Raises:
        ValueError: outside that domain, or no h up to 100 reaches `arl0` (k too small).
    """
    if not (k > 0 and 1.0 <= arl0 < math.inf):
        raise ValueError(f"need k > 0 and a finite arl0 of at least 1, got {k} and {arl0}")
    if cusum_arl(k, 0.0) >= arl0:
        return 0.0

    def longer(h: float) -> float:
        return math.log(cusum_arl(k, h)) - math.log(arl0)

    low, high = 0.0, 1.0
    while longer(high) < 0:
        if high >= _HIGHEST_LIMIT:
            raise ValueError(f"no limit up to 100 gives a run length of {arl0:g} with k = {k}; choose a larger k")
        low, high = high, min(2.0 * high, _HIGHEST_LIMIT)
    return float(brentq(longer, low, high, xtol=1e-10))


def ewma_arl(lam: float, L: float, shift: float = 0.0) -> float:  # noqa: N803
    """Return the average run length of the two-sided `ewma` chart with asymptotic limits, from zero.

    L(u) = 1 + (1 / lam) int_{-h}^{h} L(y) f((y - (1 - lam) u) / lam - shift) dy with h the limit, by Gauss-Legendre
    quadrature.

    Args:
        lam: weight of the newest value, in (0, 1]; below 0.005 the quadrature is not fine enough and is refused.
        L: width of the limits, above 0.
        shift: mean of the values.

    Returns:
        Values to an alarm, at least 1; infinity past the float64 range.

    Raises:
        ValueError: outside that domain.

    Source: Crowder 1987; values as in Lucas and Saccucci 1990.
    """
    h = ewma_limit(lam, L)
    if lam < 0.005:
        raise ValueError(f"lam must be at least 0.005, got {lam}")
    # The kernel is lam wide, so the number of points grows with the limit's width in it.
    nodes, weights = _quadrature(math.ceil((24 + 6 * h / lam) / 16))
    points = np.concatenate([[0.0], nodes * h])
    kernel = np.zeros((points.size, points.size))
    kernel[:, 1:] = _density((points[None, 1:] - (1.0 - lam) * points[:, None]) / lam - shift) * weights * h / lam
    centre = (1.0 - lam) * points / lam + shift
    return _steps_to_exit(kernel, ndtr(centre - h / lam) + ndtr(-h / lam - centre))


# One side's memory: for each rule, which of the last window - 1 points were beyond its line, newest first.
_Memory = tuple[tuple[bool, ...], ...]


def _remember(memory: _Memory, rules: tuple[int, ...], sigmas_from_centre: float) -> _Memory | None:
    """Return the memory after one more point on this side (0 or less: not on it), or None when a rule signals."""
    after = []
    for past, rule in zip(memory, rules, strict=True):
        hits, window, line = RULES[rule]
        points = (sigmas_from_centre > line, *past)
        if sum(points) >= hits:
            return None
        after.append(_forget(list(points[: window - 1]), hits, window))
    return tuple(after)


def _forget(points: list[bool], hits: int, window: int) -> tuple[bool, ...]:
    """Drop hits that will have left the window before enough others can join them; fewer states, same chart."""
    for age in range(len(points) - 1, -1, -1):
        reachable = sum(points[: age + 1]) + window - 1 - age
        if points[age] and reachable < hits:
            points[age] = False
    return tuple(points)


def shewhart_arl(rules: Iterable[int], shift: float = 0.0) -> float:
    """Return the average run length of a Shewhart chart with any of the Western Electric rules.

    An exact Markov chain over what the rules remember of the last points on each side.

    Args:
        rules: numbers from 1 to 4, as in `western_electric`.
        shift: mean of the values.

    Returns:
        Values to the first signal of any rule, at least 1; infinity for no rules.

    Raises:
        ValueError: an unknown rule.

    Source: Champ and Woodall 1987.
    """
    chosen = tuple(sorted(set(rules)))
    unknown = [rule for rule in chosen if rule not in RULES]
    if unknown:
        raise ValueError(f"unknown rule {unknown[0]}; choose from {sorted(RULES)}")
    # Zones between the lines; a point inside one is as good as its middle, for every line lies on an edge.
    edges = np.array([-np.inf, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, np.inf])
    middles = (-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5)
    chances = np.diff(ndtr(edges - shift))
    blank: _Memory = tuple((False,) * (RULES[rule][1] - 1) for rule in chosen)
    states = {(blank, blank): 0}
    moves: list[tuple[int, int, float]] = []
    signals: list[float] = []
    queue = [(blank, blank)]
    for state in queue:  # grows as states are found
        signalling = 0.0
        for middle, chance in zip(middles, chances, strict=True):
            above, below = _remember(state[0], chosen, middle), _remember(state[1], chosen, -middle)
            if above is None or below is None:
                signalling += float(chance)
                continue
            after = (above, below)
            if after not in states:
                states[after] = len(states)
                queue.append(after)
            moves.append((states[state], states[after], float(chance)))
        signals.append(signalling)
    staying = np.zeros((len(states), len(states)))
    for start, end, chance in moves:
        staying[start, end] += chance
    return _steps_to_exit(staying, np.array(signals))
