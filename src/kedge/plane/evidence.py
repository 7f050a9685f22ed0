"""Evidence: what arms of one route are compared by, counted once a *unit*, and what a shadow shows beside the live
one.

A unit is what was randomised. Without a sticky key every request is one, whatever its rows; with a key it is the key
in its period, and all its requests are one unit. A request that names a version was not drawn and is none. Units are
counted only while a route has more than one arm, and a unit of a rollout (a salt) counts once for each counter in a
period:

- `units`: its first request was answered;
- `first_events[kind]`: its first event of that kind, whichever request brought it: for tests of event against event;
- `request_events[kind]`: its first request was such an event: at most `units`, for rates;
- `first_scores`: slot of the score of the first row of its first request, where that was answered OK;
- `judged`: its first request ran in a batch of a size that `contract.Route.slow_ns` has a line for, so that it was slow
  or was not. Of `ran` others nothing is known: slow runs are `request_events` of `judged`, never of `units`.

A request is an event of every kind that fits:

- ``errors``: answered UNKNOWN, RESOURCE_EXHAUSTED (the bundle's queue was full), INTERNAL, UNAVAILABLE or DATA_LOSS;
- ``timeouts``: DEADLINE_EXCEEDED; ``refusals``: INVALID_ARGUMENT; CANCELLED and UNAUTHENTICATED count as nothing at
  all, not even as a unit;
- ``invalid``: the prediction of one of its rows is not finite, or a probability is outside [0, 1];
- ``slow``: the run of its batch took longer than `contract.Route.slow_ns` says for its size, if it says anything.

The score is that of class 1 where there are two classes, else of class 0 or the predicted value: the slots are those
of `Layout.scores` at that index; a bundle without it counts no scores.

A shadow's cell, arm SHADOW, has what was `offered` to it, `dropped` because its queue was full, `failed` in the
model, and `compared`: pairs, one a request, of which the first row stands for the request. `disagreed`: the predicted
class differs. `agreement`: [9, 9] live class by shadow class, the last for class 8 and above. `differences`: |score
difference|, for values divided by the span of the reference (last edge less first), in 64 equal bins of [0, 1], 1 and
more and NaN in the last. `live_ns`, `shadow_ns`: run times of the batches the pairs stood in, summed.

All of it is additive int64, so that writers, shards and replicas merge by addition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from kedge.errors import SnapshotError
from kedge.kernel.contract import NUMERIC_SLOTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["errors", "timeouts", "refusals", "invalid", "slow"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
AGREEMENT_CLASSES: Final = 9
DIFFERENCE_BINS: Final = 64
FILTER_BITS: Final = 1 << 20
"""Of the bitmap a counter of units has for a period; two units that share a bit count once."""

# Places among the words, for whoever counts.
UNITS: Final = 0
FIRST: Final = slice(1, 6)
REQUEST: Final = slice(6, 11)
SCORES: Final = slice(11, 11 + NUMERIC_SLOTS)
OFFERED: Final = SCORES.stop
DROPPED: Final = OFFERED + 1
FAILED: Final = OFFERED + 2
COMPARED: Final = OFFERED + 3
DISAGREED: Final = OFFERED + 4
LIVE_NS: Final = OFFERED + 5
SHADOW_NS: Final = OFFERED + 6
AGREEMENT: Final = slice(SHADOW_NS + 1, SHADOW_NS + 1 + AGREEMENT_CLASSES**2)
DIFFERENCES: Final = slice(AGREEMENT.stop, AGREEMENT.stop + DIFFERENCE_BINS)
JUDGED: Final = DIFFERENCES.stop
WORDS: Final = JUDGED + 1
"""Words of the block: 196."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The counts of one (bundle, arm, epoch).

    Attributes:
        words: [WORDS] int64: units; first events, 5; first-request events, 5; score slots, 32; offered, dropped,
            failed, compared, disagreed, live_ns, shadow_ns; agreement, 81; differences, 64; judged.
    """

    words: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Evidence:
        """Nothing counted."""
        return cls(np.zeros(WORDS, dtype=np.int64))

    @classmethod
    def parse(cls, data: bytes | memoryview) -> Evidence:
        """Read `to_bytes` back; no bytes are nothing counted. Raises `SnapshotError` for another number of words."""
        if not data:
            return cls.empty()
        if len(data) != WORDS * 8:
            raise SnapshotError(f"evidence: {len(data)} bytes, expected {WORDS * 8}")
        return cls(np.frombuffer(data, dtype="<i8").astype(np.int64))

    def to_bytes(self) -> bytes:
        """Little-endian int64 words."""
        return self.words.astype("<i8").tobytes()

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.words + other.words)

    def __sub__(self, earlier: Evidence) -> Evidence:
        return Evidence(self.words - earlier.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evidence) and np.array_equal(self.words, other.words)

    __hash__ = None  # type: ignore[assignment]  # Python's way to say that it has none

    @property
    def units(self) -> int:
        """Units whose first request was answered."""
        return int(self.words[UNITS])

    def first_events(self, kind: Kind) -> int:
        """Units that had at least one event of a kind."""
        return int(self.words[FIRST][KINDS.index(kind)])

    def request_events(self, kind: Kind) -> int:
        """Units whose first request was an event of a kind; at most `units`."""
        return int(self.words[REQUEST][KINDS.index(kind)])

    @property
    def ran(self) -> int:
        """Units whose first request was answered OK, and so ran."""
        return self.units - sum(self.request_events(kind) for kind in ("errors", "timeouts", "refusals"))

    @property
    def judged(self) -> int:
        """Units whose first request ran in a batch of a size with a line; at most `ran`."""
        return int(self.words[JUDGED])

    @property
    def first_scores(self) -> NDArray[np.int64]:
        """[32] score slots, as `kedge.kernel.contract` numbers them."""
        return self.words[SCORES]

    @property
    def offered(self) -> int:
        """Requests sampled for the shadow, dropped ones included."""
        return int(self.words[OFFERED])

    @property
    def dropped(self) -> int:
        """Of those, dropped because the shadow could not keep up."""
        return int(self.words[DROPPED])

    @property
    def failed(self) -> int:
        """Of those, failed in the shadow's model."""
        return int(self.words[FAILED])

    @property
    def compared(self) -> int:
        """Pairs."""
        return int(self.words[COMPARED])

    @property
    def disagreed(self) -> int:
        """Pairs whose predicted classes differ; 0 where no classes are predicted."""
        return int(self.words[DISAGREED])

    @property
    def live_ns(self) -> int:
        """Run times on the live side of the pairs, nanoseconds."""
        return int(self.words[LIVE_NS])

    @property
    def shadow_ns(self) -> int:
        """Run times on the shadow's side of the pairs, nanoseconds."""
        return int(self.words[SHADOW_NS])

    @property
    def agreement(self) -> NDArray[np.int64]:
        """[9, 9] pairs by live class and shadow class."""
        return self.words[AGREEMENT].reshape(AGREEMENT_CLASSES, AGREEMENT_CLASSES)

    @property
    def differences(self) -> NDArray[np.int64]:
        """[64] pairs by |score difference|."""
        return self.words[DIFFERENCES]
