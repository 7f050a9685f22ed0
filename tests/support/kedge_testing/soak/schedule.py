"""Which lives a soak has, and what happens in each: drawn from the seed, or all of it once in half a minute."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LONG_SHARE: Final = 0.45
"""Of the time, for the first life: whether memory stays flat is seen on a process that lives long."""
LIFE_SECONDS: Final = (20.0, 120.0)
COMPARE: Final = 0.4
"""Probability that counts are compared after an act; they always are at the end of a life."""
OFTEN: Final = {"rollout": 4.0}
"""Weights of acts; 1 for the others."""


@dataclass(frozen=True)
class Plan:
    """A life.

    Attributes:
        tls: of its data port.
        acts: from the names of acts that can happen to those that do, as long as it lasts.
        compare: whether to compare counts after the act that just was.
        under_way: a canary is when it ends.
        killed: by SIGKILL; else SIGTERM.
    """

    tls: bool
    acts: Callable[[Sequence[str]], Iterator[str]]
    under_way: bool
    killed: bool
    compare: Callable[[], bool] = field(default=lambda: False)


def brief() -> Iterator[Plan]:
    """Two lives with every act once, each ending under a canary: half a minute."""
    yield Plan(True, lambda _: iter(["certificate renewed", "disk full"]), under_way=True, killed=True)
    yield Plan(False, lambda _: iter(["clock jump", "sink outage"]), under_way=True, killed=False)


def drawn(seed: int, seconds: float) -> Iterator[Plan]:
    """Lives until the time is over: a long one, then short ones."""
    chance = np.random.default_rng([seed, 4])
    end = time.monotonic() + seconds
    first = True
    while (left := end - time.monotonic()) > 0:
        lasts = LONG_SHARE * seconds if first else min(left, float(chance.uniform(*LIFE_SECONDS)))

        def acts(names: Sequence[str], until: float = time.monotonic() + lasts) -> Iterator[str]:
            weights = np.array([OFTEN.get(name, 1.0) for name in names])
            while time.monotonic() < until:
                yield str(chance.choice(names, p=weights / weights.sum()))

        tls, under_way, killed = (bool(one) for one in chance.random(3) < 0.5)
        yield Plan(tls, acts, under_way, killed and not first, lambda: bool(chance.random() < COMPARE))
        first = False
    yield Plan(False, lambda _: iter(["rollout"]), under_way=False, killed=False)
