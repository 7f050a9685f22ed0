"""Envelope: what a request says besides its tensors' data. Clients repeat it, so it is read once and remembered.

Serialized in the order of its fields, a request in raw form ends in its data. Where all bytes before and between the
data are those of a request that was read, so is everything they say, and what is left to do is to point at the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from kedge.errors import RequestError
from kedge.plane import limits
from kedge.plane.portable import decode, parameters
from kedge.plane.portable.decode import Tensors
from kedge.plane.portable.encode import RAW_INPUT_CONTENTS, varint
from kedge.plane.portable.parameters import NONE, Parameters
from kedge.plane.portable.seal import PREDICTION_ID
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from kedge.plane.portable.signature import Signature

_KNOWN: Final = 256
"""Envelopes remembered; more are in use only where clients do not repeat themselves."""
_MAX_BYTES: Final = 4096
"""Of one envelope that is remembered, before its data."""
_INVERTED: Final = bytes(range(255, -1, -1))

_Place = tuple[int, int, "np.dtype[Any]", tuple[int, ...]]
"""Start and end of a tensor's data in the message, dtype and shape."""


@dataclass(slots=True)
class Layout:
    """Where a message's tensors lie, and what of them is known beforehand; see `Tensors`."""

    places: list[_Place]
    rows: int
    shape: tuple[tuple[int, ...], ...]
    outputs: tuple[str, ...] | None

    def tensors(self, payload: bytes) -> Tensors:
        """The inputs in a message of this layout; slices of it are copies, whose elements are aligned."""
        arrays = [np.ndarray(shape, dtype, payload[start:end]) for start, end, dtype, shape in self.places]
        return Tensors(arrays, self.rows, self.shape, True, self.outputs)


@dataclass(slots=True)
class Asked:
    """What a request asks, but for its tensors.

    Attributes:
        model, version: whom.
        id: to be echoed.
        parameters: of the request; none where `refusal` says what is wrong with them.
        refusal: of the parameters.
        final: the answer is to be marked as the last one of the request.
        message: parsed; None where the envelope was known.
        fixed: bytes that are equal in all messages of this envelope, with their places; only of a known one.
        layouts: of the tensors, by the signature they were checked against; only of a known one.
    """

    model: str
    version: str
    id: str
    parameters: Parameters
    refusal: RequestError | None
    final: bool
    message: pb.ModelInferRequest | None
    fixed: tuple[tuple[bytes, int], ...] = ()
    layouts: dict[Signature, Layout] = field(default_factory=dict)

    @classmethod
    def of(cls, message: pb.ModelInferRequest) -> Asked:
        """What a parsed message asks."""
        asked, refusal, final = NONE, None, False
        if message.parameters:
            try:
                asked = parameters.parse(message.parameters)
            except RequestError as error:
                refusal = error
            final = "triton_enable_empty_final_response" in message.parameters
        return cls(message.model_name, message.model_version, message.id, asked, refusal, final, message)

    def is_of(self, payload: bytes) -> bool:
        """Has a message as long as the one remembered the same envelope."""
        for part, at in self.fixed:  # noqa: SIM110  a generator costs more than it does
            if not payload.startswith(part, at):
                return False
        return True


class Envelopes:
    """Those remembered. Touched by the serving thread alone."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], list[Asked]] = {}
        self._count = 0

    def read(self, payload: bytes) -> Asked:
        """What a message asks. Raises `RequestError` where the bytes are no message."""
        return self._find(payload) or Asked.of(decode.message(payload))

    def tensors(self, asked: Asked, payload: bytes, signature: Signature, *, no_ids: str) -> Tensors:
        """The inputs of a message that was read, checked against the model; see `decode.tensors`."""
        layout = asked.layouts.get(signature)
        if layout is not None:
            return layout.tensors(payload)
        message = asked.message or decode.message(payload)
        tensors = decode.tensors(message, signature, no_ids=no_ids)
        if tensors.raw and not message.id and not message.parameters:
            self._remember(message, payload, signature, tensors)
        return tensors

    def forget(self) -> None:
        """Forget all, and with them the signatures of models that may be retired."""
        self._known.clear()
        self._count = 0

    def _find(self, payload: bytes) -> Asked | None:
        for known in self._known.get(_key(payload), ()):
            if known.is_of(payload):
                return known
        return None

    def _remember(self, message: pb.ModelInferRequest, payload: bytes, signature: Signature, tensors: Tensors) -> None:
        """Remember the envelope of a message whose tensors fit, if its data is all that can differ and stay right."""
        named = [signature.inputs[given.name] for given in message.inputs]
        if len(payload) > limits.INLINE_MESSAGE_BYTES:
            return  # the proof would cost more than it spares
        # text has no fixed size, truth values are looked at one by one, and whether there are ids may change
        if any(not tensor.dtype.size or tensor.dtype.name == "BOOL" for tensor in named):
            return
        if tensors.outputs is not None and PREDICTION_ID.name in tensors.outputs:
            return
        spans = _data_spans(payload, list(message.raw_input_contents))
        if spans is None:
            return
        places: list[_Place | None] = [None] * len(named)
        for tensor, (start, end) in zip(named, spans, strict=True):
            places[tensor.position] = start, end, tensor.dtype.numpy, tensors.arrays[tensor.position].shape
        known = self._find(payload)
        if known is None:
            if self._count >= _KNOWN:
                self.forget()
            known = Asked.of(message)
            known.message = None  # it holds the data
            edges = [0, *(edge for span in spans for edge in span)]
            known.fixed = tuple((payload[a:b], a) for a, b in zip(edges[::2], edges[1::2], strict=False))
            self._known.setdefault(_key(payload), []).append(known)
            self._count += 1
        known.layouts[signature] = Layout(
            [place for place in places if place is not None], tensors.rows, tensors.shape, tensors.outputs
        )


def _key(payload: bytes) -> tuple[int, bytes]:
    """Under which a message's envelope is kept: its length, and its first field, which is the model's name."""
    return len(payload), payload[: payload[1] + 2] if len(payload) > 1 else payload


def _data_spans(payload: bytes, data: list[bytes]) -> list[tuple[int, int]] | None:
    """Where the raw data lies in a message that ends in it; None for another one.

    That these bytes are the data, and not part of an id that looks alike, is proven by inverting them.
    """
    spans: list[tuple[int, int]] = []
    at = len(payload)
    for part in reversed(data):
        start = at - len(part)
        spans.append((start, at))
        at = start - len(RAW_INPUT_CONTENTS) - len(varint(len(part)))
        if not part or at < 0:
            return None
    spans.reverse()
    if spans[0][0] > _MAX_BYTES:
        return None
    changed = bytearray(payload)
    for start, end in spans:
        changed[start:end] = payload[start:end].translate(_INVERTED)
    try:
        found = pb.ModelInferRequest.FromString(bytes(changed)).raw_input_contents
    except DecodeError:
        return None
    return spans if list(found) == [part.translate(_INVERTED) for part in data] else None
