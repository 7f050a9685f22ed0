"""ONNX Runtime as every peer runs it: one thread, no spinning, whole batches. Imported by the servers beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

if TYPE_CHECKING:
    import numpy as np

INPUT = "x"
DATATYPES = {"int64": "INT64", "float32": "FP32"}
"""The protocol's name of a dtype."""


class Model:
    """The model of one file.

    Attributes:
        outputs: their names, in the order in which `run` gives them.
    """

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """[N, 32] float32 to [N] int64 labels and [N, 2] float32 probabilities."""
        return self._session.run(None, {INPUT: x})
