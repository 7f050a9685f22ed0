"""Rows as requests that are ready to be sent: serialised once, sent over and over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.client import values
from kedge.dtypes import DTYPES
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kedge.client import ModelMetadata

MAX_BYTES: Final = 1024**3
"""Of all messages together: they are kept in memory."""
RANDOM_ROWS: Final = 4096
WORDS: Final = 16
"""Different texts in a random BYTES input."""


def random_rows(model: ModelMetadata, seed: int, count: int = RANDOM_ROWS) -> dict[str, NDArray[Any]]:
    """Rows that fit a model: standard normal numbers, integers below 10, a few texts; unknown dimensions are 1."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for spec in model.inputs:
        shape = (count, *(max(1, size) for size in spec.shape[1:]))
        if spec.dtype == "BYTES":
            texts = np.array([b"text-%d" % number for number in range(WORDS)], dtype=object)
            found[spec.name] = texts[rng.integers(WORDS, size=shape)]
            continue
        dtype = DTYPES[spec.dtype].numpy
        if dtype.kind == "f":
            found[spec.name] = rng.normal(size=shape).astype(dtype)
        else:
            most = 2 if dtype.kind == "b" else 10
            found[spec.name] = rng.integers(most, size=shape).astype(dtype)
    return found


def messages(
    model: ModelMetadata,
    rows: Mapping[str, NDArray[Any]],
    *,
    rows_per_request: int = 1,
    version: str = "",
    keys: Sequence[str] | None = None,
    seed: int | None = None,
) -> list[bytes]:
    """Serialised ModelInferRequests in raw form, without an id.

    Args:
        model: what the server says of the model.
        rows: arrays by input, [N, ...]; BYTES as object arrays.
        rows_per_request: as many rows a message; what is left over at the end is left out.
        version: to be asked; empty lets the server's routes choose.
        keys: one a row, as ``kedge_key``; the first of a message's rows counts.
        seed: shuffles the messages; None keeps the order of the rows.

    Raises:
        ConfigError: there are no rows, too few for one request, or too many for the memory.
    """
    total = len(next(iter(rows.values())))
    count = total // rows_per_request
    if count == 0:
        raise ConfigError(f"{total} rows are too few for a request of {rows_per_request}")
    dtypes = {spec.name: spec.dtype for spec in model.inputs}
    made: list[bytes] = []
    size = 0
    for start in range(0, count * rows_per_request, rows_per_request):
        part = {name: array[start : start + rows_per_request] for name, array in rows.items()}
        key = None if keys is None else keys[start]
        made.append(values.request(model.name, part, version=version, key=key, dtypes=dtypes).SerializeToString())
        size += len(made[-1])
        if size > MAX_BYTES:
            raise ConfigError(f"the requests take more than {MAX_BYTES >> 20} MiB of memory; give fewer rows")
    return made if seed is None else [made[at] for at in order(count, seed)]


def order(count: int, seed: int) -> list[int]:
    """Which message was made of which rows, once they are shuffled: message i of rows ``order[i]``."""
    return [int(at) for at in np.random.default_rng(seed).permutation(count)]
