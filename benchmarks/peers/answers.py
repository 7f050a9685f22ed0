"""Does a server answer what the model says? Asked by grpcio with rows that differ, before and after it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks import model
from benchmarks.load.field import AnswerError
from benchmarks.load.subjects import ask
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SAMPLE: Final = 16


class Oracle:
    """What ONNX Runtime says of the first rows of the benchmark's data.

    Args:
        path: of the model.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime  # noqa: PLC0415 - only now is telemetry off

        self._rows = model.rows(SAMPLE)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        label, probabilities = session.run(list(model.OUTPUTS), {model.INPUT: self._rows})
        self._expected: dict[str, NDArray[np.generic]] = {"label": label, "probabilities": probabilities}

    def check(self, name: str, address: str) -> bytes:
        """Ask for each row, compare every output. Returns the answer to the row that is measured, the first.

        Raises:
            AnswerError: an output is missing, or is not what ONNX Runtime says.
        """
        answers = [ask(address, _request(row)) for row in self._rows]
        for place, answer in enumerate(answers):
            response = pb.ModelInferResponse.FromString(answer)
            found = dict(zip((output.name for output in response.outputs), response.raw_output_contents, strict=False))
            for output, expected in self._expected.items():
                said = np.frombuffer(found.get(output, b""), expected.dtype)
                right = expected[place].ravel()
                if said.shape != right.shape or not np.allclose(said, right, rtol=1e-5, atol=1e-7):
                    raise AnswerError(f"{name} does not answer what the model says, in output '{output}'")
        return answers[0]


def _request(row: NDArray[np.float32]) -> bytes:
    message = pb.ModelInferRequest.FromString(model.request())
    message.raw_input_contents[0] = row.astype("<f4").tobytes()
    return message.SerializeToString()
