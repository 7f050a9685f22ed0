"""Traffic of the past, sent again: flights in time order, through a stock Triton client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tritonclient.grpc as triton

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Replay:
    """What came back.

    Attributes:
        predictions: [N] float32, in the order of the rows.
        requests: how many calls it took.
        version: the model version that answered.
    """

    predictions: NDArray[np.float32]
    requests: int
    version: str


def departures(table: pa.Table, time: str) -> Iterator[pa.Table]:
    """Slices of `table` (sorted by `time`) that share a scheduled hour of departure: one request each."""
    hours = pc.floor_temporal(table[time], unit="hour").to_numpy()
    starts = np.flatnonzero(np.r_[True, hours[1:] != hours[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(hours)], strict=True):
        yield table.slice(start, end - start)


def infer_input(spec: Any, column: pa.ChunkedArray) -> Any:
    """One [N, 1] input of a request, as the model's metadata declares it."""
    tensor = triton.InferInput(spec.name, [len(column), 1], spec.datatype)
    if spec.datatype == "BYTES":
        values = np.array([str(value).encode() for value in column.to_pylist()], dtype=np.object_)
    else:
        values = column.cast(pa.float32()).to_numpy().astype(np.float32)
    tensor.set_data_from_numpy(values.reshape(-1, 1))
    return tensor


def replay(
    address: str, model: str, output: str, *, table: pa.Table, time: str, advance: Callable[[int], None]
) -> Replay:
    """Send every row of `table` to `model`, an hour of departures a request.

    Args:
        address: ``host:port`` of the data port.
        model: its name.
        output: the output to keep; of [N, C] the last column.
        table: raw features by name, sorted by time.
        time: the column with the scheduled departure, a timestamp.
        advance: told the rows of each answered request.

    Raises:
        InferenceServerException: a request failed; it says why.
    """
    predictions: list[NDArray[np.float32]] = []
    version = ""
    with triton.InferenceServerClient(address) as client:
        specs = client.get_model_metadata(model).inputs
        for rows in departures(table, time):
            answer = client.infer(model, [infer_input(spec, rows[spec.name]) for spec in specs])
            values = answer.as_numpy(output)
            predictions.append(np.asarray(values.reshape(len(rows), -1)[:, -1], np.float32))
            version = answer.get_response().model_version
            advance(len(rows))
    return Replay(np.concatenate(predictions), len(predictions), version)
