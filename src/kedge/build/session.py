"""Running the model at build: one ONNX Runtime session on one thread, rows in, rows out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.bundle.manifest import TensorSpec

BATCH: Final = 4096
FATAL_ONLY: Final = 4


class Session:
    """A loaded model.

    Args:
        path: the ONNX file, its external data beside it.
        inputs, outputs: its tensors. A first dimension of -1 takes any batch; of 1, one row a run.

    Raises:
        SpecError: ONNX Runtime refuses the model, or a first dimension is fixed at more than 1.
    """

    def __init__(self, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime  # noqa: PLC0415 - telemetry must be off before the first import

        options = onnxruntime.SessionOptions()
        # One thread: sums in one order, so that the same inputs give the same bundle.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = FATAL_ONLY
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise SpecError(f"ONNX Runtime cannot load the model: {_reason(error)}") from error
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._outputs = [spec.name for spec in outputs]
        for spec in inputs:
            if not spec.shape or spec.shape[0] not in (-1, 1):
                raise SpecError(
                    f"input '{spec.name}' {list(spec.shape)}: the first dimension is the batch; export it as dynamic"
                )
        self._fixed = any(spec.shape[0] == 1 for spec in inputs)

    def run(
        self, rows: Mapping[str, NDArray[Any]], advance: Callable[[int], None] = lambda _: None
    ) -> dict[str, NDArray[Any]]:
        """Outputs by name for N >= 1 rows, whatever N is.

        Args:
            rows: inputs by name, each with N as its first dimension.
            advance: told the rows done after each run.

        Raises:
            SpecError: a run fails, or an output has not one entry a row.
        """
        count = len(next(iter(rows.values())))
        size = 1 if self._fixed else BATCH
        parts: list[list[NDArray[Any]]] = []
        for start in range(0, count, size):
            batch = {name: array[start : start + size] for name, array in rows.items()}
            parts.append(self._run(batch, min(size, count - start)))
            advance(len(parts[-1][0]))
        return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(self._outputs)}

    def _run(self, batch: Mapping[str, NDArray[Any]], rows: int) -> list[NDArray[Any]]:
        try:
            results = [np.asarray(value) for value in self._session.run(self._outputs, dict(batch))]
        except Exception as error:
            raise SpecError(f"the model fails on rows of the data: {_reason(error)}") from error
        for name, array in zip(self._outputs, results, strict=True):
            if array.ndim == 0 or len(array) != rows:
                raise SpecError(
                    f"output '{name}' has shape {list(array.shape)} for {rows} rows; its first must be the batch"
                )
        return results


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
