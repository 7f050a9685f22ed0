"""ONNX Runtime in Triton's Python backend: model.py of a model repository, run by tritonserver's own stub process."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# The stub embeds an interpreter that does not look at it.
sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)

import numpy as np  # noqa: E402 - as above
import triton_python_backend_utils as backend  # noqa: E402 - as above
from onnx_rows import INPUT, Model  # noqa: E402 - as above


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._model = Model(json.loads(args["model_config"])["parameters"]["onnx"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """One run for all requests of the batch."""
        inputs = [backend.get_input_tensor_by_name(request, INPUT).as_numpy() for request in requests]
        label, probabilities = self._model.run(np.concatenate(inputs))
        answers, start = [], 0
        for x in inputs:
            end = start + len(x)
            outputs = [
                backend.Tensor("label", label[start:end, None]),
                backend.Tensor("probabilities", probabilities[start:end]),
            ]
            answers.append(backend.InferenceResponse(outputs))
            start = end
        return answers
