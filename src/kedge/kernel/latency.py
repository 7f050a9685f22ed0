"""Buckets of latency and of batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.kernel.contract import BATCH_SIZE_BUCKETS, LATENCY_BUCKETS, LATENCY_SUB_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUB_BUCKETS: Final = 1 << LATENCY_SUB_BITS


def latency_bucket(nanoseconds: int) -> int:
    """The bucket of a time; negative times count as 0, times of 2**37 ns and more fall into the last."""
    value = max(0, nanoseconds)
    if value < SUB_BUCKETS:
        return value
    shift = value.bit_length() - 1 - LATENCY_SUB_BITS
    return min(LATENCY_BUCKETS - 1, (shift << LATENCY_SUB_BITS) + (value >> shift))


def latency_lower() -> NDArray[np.int64]:
    """[2048] the smallest time of each bucket, in nanoseconds; a bucket ends where the next begins."""
    index = np.arange(LATENCY_BUCKETS, dtype=np.int64)
    shift = np.maximum(0, index // SUB_BUCKETS - 1)
    lower: NDArray[np.int64] = (index - shift * SUB_BUCKETS) << shift
    return lower


def batch_size_bucket(rows: int) -> int:
    """min(11, ceil(log2(rows))); less than one row counts as one."""
    return min(BATCH_SIZE_BUCKETS - 1, (max(1, rows) - 1).bit_length())
