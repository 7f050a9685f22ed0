"""Request parameters: which are honoured, which are accepted without effect, which are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kedge.errors import Code, RequestError
from kedge.plane import limits
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.proto import inference as pb

_INTEGERS: Final = ("int64_param", "uint64_param")
_NO_EFFECT: Final = {
    "priority": _INTEGERS,
    "binary_data_output": ("bool_param",),
    "headers": ("string_param",),
    "triton_enable_empty_final_response": ("bool_param",),
}
"""Reserved and harmless: there is one priority, answers mirror the request's form, and each request has one answer."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request's parameters ask for.

    Attributes:
        key: sticky key, or None.
        timeout_us: microseconds the request may wait, or 0 for no bound of its own.
        confidence: the answer is to say how sure it is.
    """

    key: str | None = None
    timeout_us: int = 0
    confidence: bool = False


NONE: Final = Parameters()


def parse(parameters: Mapping[str, pb.InferParameter]) -> Parameters:
    """What they ask for; unknown ones that nobody reserved are ignored.

    Raises:
        RequestError: INVALID_ARGUMENT, naming the parameter.
    """
    if len(parameters) > limits.MAX_PARAMETERS:
        raise _refused(f"{len(parameters)} request parameters; at most {limits.MAX_PARAMETERS} are taken")
    key, timeout, confidence = None, 0, False
    for name, value in parameters.items():
        if name == "timeout":
            timeout = _typed(name, value, _INTEGERS)
            if timeout < 0:
                raise _refused(f"parameter 'timeout' is in microseconds. Expected 0 or more, got {timeout}")
        elif name == "kedge_key":
            key = check_key(_typed(name, value, ("string_param",)), "parameter 'kedge_key'")
        elif name == "kedge_confidence":
            confidence = _typed(name, value, ("bool_param",))
        elif name in _NO_EFFECT:
            _typed(name, value, _NO_EFFECT[name])
        elif name.startswith("sequence_"):
            kind = value.WhichOneof("parameter_choice")
            if kind is not None and getattr(value, kind):
                raise _refused(f"parameter {quoted(name)} is not supported: models keep no state between requests")
        elif name.startswith(("triton_", "kedge_")):
            raise _refused(f"unknown parameter {quoted(name)}: names that begin with triton_ and kedge_ are reserved")
    return Parameters(key, timeout, confidence)


def check_key(key: str, where: str) -> str:
    """The sticky key, if it is not too long to hash. Raises `RequestError`."""
    if len(key.encode()) > limits.MAX_KEY_BYTES:
        raise _refused(f"{where}: expected at most {limits.MAX_KEY_BYTES} bytes, got {len(key.encode())}")
    return key


def _typed(name: str, value: pb.InferParameter, kinds: tuple[str, ...]) -> Any:
    kind = value.WhichOneof("parameter_choice")
    if kind not in kinds:
        raise _refused(f"parameter {quoted(name)}: expected {' or '.join(kinds)}, got {kind or 'no value'}")
    return getattr(value, kind)


def _refused(text: str) -> RequestError:
    return RequestError(Code.INVALID_ARGUMENT, text)
