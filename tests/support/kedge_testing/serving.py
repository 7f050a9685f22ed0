"""Running planes, and the plain calls tests make to them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from kedge.bundle.contents import Bundle
from kedge.dtypes import DTYPES
from kedge.plane.cold.service import ColdService
from kedge.plane.contract import Arm, ArmRoute, DataPlane, Handle, Limits, LoadOptions, Route, RouteTable, Tls, Tokens
from kedge.proto import inference as pb
from kedge_testing import bundles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel
    from kedge.plane.cold.outcomes import OutcomeCalls

SERVICE = "/inference.GRPCInferenceService/"


@dataclass
class Served:
    """A plane that listens, with what the composition root would know about it."""

    plane: DataPlane
    root: Path
    address: str = ""
    routes: RouteTable = field(default_factory=RouteTable)
    bundles: dict[str, Bundle] = field(default_factory=dict)
    draining: bool = False
    cold: ColdService | None = None

    def table(self) -> RouteTable:
        return self.routes

    def ready(self) -> bool:
        return not self.draining

    def bundle(self, bundle_id: str) -> Bundle:
        return self.bundles[bundle_id]

    def stored(self) -> Sequence[Bundle]:
        return list(self.bundles.values())

    def snapshot(self) -> bytes:
        return self.plane.snapshot()

    def load(self, recipe: bundles.Recipe) -> Handle:
        """Write the bundle and load it; no traffic yet."""
        directory = bundles.write(recipe, self.root)
        handle = self.plane.load(directory, LoadOptions())
        self.bundles[handle.bundle] = Bundle.read(directory)
        return handle

    def publish(self, *routes: Route) -> None:
        """Replace the table."""
        table = RouteTable(routes)
        self.plane.publish(table)
        self.routes = table
        if self.cold is not None:
            self.cold.refresh()

    def serve(self, *recipes: bundles.Recipe) -> list[Handle]:
        """Load these and route each its model's whole traffic, beside what is routed already."""
        handles = [self.load(recipe) for recipe in recipes]
        self.publish(*self.routes.routes, *(only(handle) for handle in handles))
        return handles


def only(handle: Handle, epoch: int = 1) -> Route:
    """A route that gives everything to one bundle."""
    return Route(handle.model, epoch, (ArmRoute(handle, Arm.LIVE, 1.0),))


def listen(
    make: Callable[[Kernel], DataPlane],
    kernel: Kernel,
    root: Path,
    *,
    limits: Limits | None = None,
    tls: Tls | None = None,
    tokens: Tokens | None = None,
    address: str = "127.0.0.1:0",
    outcomes: Callable[[DataPlane], OutcomeCalls] | None = None,
) -> Served:
    """A plane that listens and answers cold calls, of outcomes too if asked; the caller stops it."""
    served = Served(make(kernel), root)
    served.cold = ColdService(served.plane, served, outcomes(served.plane) if outcomes else None)
    served.plane.configure(limits=limits, tls=tls, tokens=tokens)
    served.plane.on_cold(served.cold)
    served.address = served.plane.start(address)
    return served


class Caller:
    """A channel and the calls of the protocol, in messages of our own."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(
            address,
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        self._connected = False

    def raw(self, method: str, payload: bytes, timeout: float | None = 30, **keywords: Any) -> bytes:
        """Bytes in, bytes out."""
        answer: bytes = self.channel.unary_unary(SERVICE + method)(payload, timeout=timeout, **keywords)
        return answer

    def infer(
        self, request: pb.ModelInferRequest, timeout: float | None = 30, **keywords: Any
    ) -> pb.ModelInferResponse:
        return pb.ModelInferResponse.FromString(
            self.raw("ModelInfer", request.SerializeToString(), timeout=timeout, **keywords)
        )

    def future(self, request: pb.ModelInferRequest, timeout: float | None = 30, **keywords: Any) -> grpc.Future:
        """The answer's bytes, later. What is sent one after another arrives so: see `sent`."""
        if not self._connected:  # gRPC keeps no order among calls that wait for a connection
            grpc.channel_ready_future(self.channel).result(30)
            self._connected = True
        return self.channel.unary_unary(SERVICE + "ModelInfer").future(
            request.SerializeToString(), timeout=timeout, **keywords
        )

    def refusal(self, request: pb.ModelInferRequest | bytes, **keywords: Any) -> tuple[grpc.StatusCode, str]:
        """Code and text of a request that must fail."""
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            self.raw("ModelInfer", payload, **keywords)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        raise AssertionError("the request was answered")

    def stream(self, requests: Any, **keywords: Any) -> Any:
        return self.channel.stream_stream(
            SERVICE + "ModelStreamInfer",
            request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )(requests, **keywords)

    def sent(self) -> None:
        """Wait until the server has what was sent before: one connection keeps the order."""
        self.call("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse)

    def call(self, method: str, request: Any, answer: type[Any], timeout: float = 30) -> Any:
        """Another method of the protocol."""
        return answer.FromString(self.raw(method, request.SerializeToString(), timeout=timeout))


def encode_raw(dtype: str, array: NDArray[Any]) -> bytes:
    """Raw form of an array; BYTES from an object array of `bytes`."""
    if dtype == "BYTES":
        return b"".join(len(value).to_bytes(4, "little") + value for value in array.ravel().tolist())
    return np.ascontiguousarray(array, dtype=DTYPES[dtype].numpy).tobytes()


def decode_raw(dtype: str, shape: Sequence[int], data: bytes) -> NDArray[Any]:
    """The array of a raw form."""
    if dtype == "BYTES":
        values, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            values.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array.reshape(shape)
    return np.frombuffer(data, dtype=DTYPES[dtype].numpy).reshape(shape)


def request(
    model: str, *inputs: tuple[str, str, NDArray[Any]], form: str = "raw", version: str = "", identity: str = ""
) -> pb.ModelInferRequest:
    """A request of (name, datatype, array) inputs, in raw or typed form."""
    message = pb.ModelInferRequest(model_name=model, model_version=version, id=identity)
    for name, dtype, array in inputs:
        tensor = message.inputs.add(name=name, datatype=dtype, shape=array.shape)
        if form == "raw":
            message.raw_input_contents.append(encode_raw(dtype, array))
        else:
            field_name = DTYPES[dtype].contents
            assert field_name is not None
            getattr(tensor.contents, field_name).extend(array.ravel().tolist())
    return message


def outputs(response: pb.ModelInferResponse) -> dict[str, NDArray[Any]]:
    """The answer's arrays, from whichever form it has."""
    arrays: dict[str, NDArray[Any]] = {}
    for index, tensor in enumerate(response.outputs):
        if response.raw_output_contents:
            arrays[tensor.name] = decode_raw(tensor.datatype, tensor.shape, response.raw_output_contents[index])
            continue
        values = list(getattr(tensor.contents, DTYPES[tensor.datatype].contents or ""))
        array = np.empty(len(values), dtype=DTYPES[tensor.datatype].numpy)
        array[:] = values
        arrays[tensor.name] = array.reshape(tuple(tensor.shape))
    return arrays


def eventually(holds: Callable[[], bool], seconds: float = 60.0, every: float = 0.005) -> None:
    """Wait until it holds; fail where it does not within the time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(every)


FLIGHTS = 10_000


@dataclass
class Flights:
    """A served model of flights, rows to ask about, and what onnxruntime answers."""

    served: Served
    bundle: Bundle
    inputs: dict[str, tuple[str, NDArray[Any]]]
    expected: dict[str, NDArray[Any]]
