"""One ONNX Runtime session, in Kedge's own array conventions and with errors that say nothing of the machine."""

from __future__ import annotations

import ctypes
import os
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.errors import ModelLoadError
from kedge.plane.portable import strings
from kedge.plane.text import one_line, quoted

# ONNX Runtime reports usage and writes to the home directory unless told otherwise before it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.plane.portable.signature import Signature, Tensor

ort.set_default_logger_severity(4)  # what fails is reported by the plane, without source paths
_PATH: Final = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][\w.+@~-]+){2,}")
_TYPE_NAMES: Final = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(bfloat16)": "BF16", "tensor(float)": "FP32",
    "tensor(double)": "FP64", "tensor(string)": "BYTES",
}  # fmt: skip


class RunError(Exception):
    """A run failed. The message is one line, without paths; it is for the log, never for a client."""


class Session:
    """A model that is loaded. `run` may be called by several threads at a time.

    Args:
        path: the ONNX file; its external data stands beside it.
        signature: what the bundle states; inputs and outputs of the model must agree with it.
        providers: ONNX Runtime execution providers, by name, in order of preference.
        intra_op_threads: threads inside one run.

    Raises:
        ModelLoadError: a provider is not installed, the model cannot be loaded, or it is not what the bundle states.
    """

    def __init__(self, path: Path, signature: Signature, providers: Sequence[str], intra_op_threads: int) -> None:
        installed = ort.get_available_providers()
        for provider in providers:
            if provider not in installed:
                raise ModelLoadError(
                    f"model {quoted(signature.model)} asks for execution provider {quoted(provider)}; "
                    f"the installed onnxruntime has {', '.join(installed)}"
                )
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(path), options, providers=list(providers))
        except Exception as error:  # noqa: BLE001  the runtime raises classes of its own, without a common base
            raise ModelLoadError(
                f"model {quoted(signature.model)} cannot be loaded by ONNX Runtime: {safe_line(error)}"
            ) from None
        _agree(signature.model, "input", signature.inputs, session.get_inputs())
        _agree(signature.model, "output", signature.outputs, session.get_outputs())
        self._session = session
        self._bare = session._sess  # its run() skips per-call checks of names that never change here
        self._inputs = list(signature.inputs.values())
        self._outputs = list(signature.outputs.values())
        self._input_names = list(signature.inputs)
        self._output_names = list(signature.outputs)
        self._values = any(tensor.dtype.name == "BF16" for tensor in (*self._inputs, *self._outputs))

    def run(self, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs, in the model's order.

        Args:
            feeds: one array an input, in the model's order; BYTES as object arrays of `str`, BF16 as uint16 bits.

        Raises:
            RunError: the model failed on these rows.
        """
        try:
            if self._values:
                return self._run_values(feeds)
            outputs: list[NDArray[Any]] = self._bare.run(
                self._output_names, dict(zip(self._input_names, feeds, strict=True)), None
            )
        except Exception as error:  # noqa: BLE001  as above
            raise RunError(safe_line(error)) from None
        return outputs

    def _run_values(self, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """As `run`, for BF16, which numpy has no type for: tensors go in and out as bit patterns."""
        values = {
            tensor.name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(feed), tensor.dtype.onnx)
            for tensor, feed in zip(self._inputs, feeds, strict=True)
        }
        results = self._session.run_with_ort_values(self._output_names, values)
        return [_from_value(value) for value in results]


def _from_value(value: Any) -> NDArray[Any]:
    if value.element_type() != 16:  # BFLOAT16
        array: NDArray[Any] = value.numpy()
        return array
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, dtype=np.uint16)
    return np.frombuffer(ctypes.string_at(value.data_ptr(), 2 * count), dtype="<u2").reshape(shape)


def _agree(model: str, what: str, stated: dict[str, Tensor], found: Sequence[Any]) -> None:
    names = [node.name for node in found]
    if sorted(names) != sorted(stated):
        raise ModelLoadError(
            f"model {quoted(model)}: the bundle states {what}s {', '.join(map(quoted, stated))}, "
            f"the model has {', '.join(map(quoted, names))}"
        )
    for node in found:
        tensor = stated[node.name]
        if _TYPE_NAMES.get(node.type) != tensor.dtype.name:
            raise ModelLoadError(
                f"model {quoted(model)}: {what} {quoted(node.name)} is {node.type} in the model, "
                f"{tensor.dtype.name} in the bundle"
            )


def safe_line(error: BaseException) -> str:
    """What ONNX Runtime said, as one line without paths of this machine."""
    return one_line(_PATH.sub("...", str(error)).strip()) or type(error).__name__


def to_runtime(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    """An array as callers off the request path give it, in the form `Session.run` takes.

    Raises:
        UnicodeDecodeError: a BYTES element is no UTF-8.
    """
    return strings.to_text(array) if not tensor.dtype.size else np.ascontiguousarray(array, dtype=tensor.dtype.numpy)


def from_runtime(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    """An output of `Session.run` as callers off the request path get it: BYTES as object arrays of `bytes`."""
    return strings.to_bytes(array) if not tensor.dtype.size else array
