"""The asynchronous client of the data port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import grpc
import grpc.aio

from kedge.client import outcomes, values
from kedge.client.calls import INFERENCE, OPTIONS, OUTCOMES, failure, method, target
from kedge.client.outcomes import MAX_OUTCOMES, Reported
from kedge.proto import inference as pb
from kedge.proto import outcomes as outcomes_pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from kedge.client.outcomes import ClassIndex, Label
    from kedge.client.values import ModelMetadata, Result

_M = TypeVar("_M", bound="Message")


class AsyncClient:
    """Predictions from one server, for asyncio. Make it inside the event loop that uses it. As `Client` otherwise."""

    def __init__(
        self, address: str, *, timeout: float | None = 60.0, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        self.address = address
        self._timeout = timeout
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target(address), options=OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target(address), credentials, options=OPTIONS)

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, NDArray[Any]],
        *,
        version: str = "",
        outputs: tuple[str, ...] = (),
        request_id: str = "",
        key: str | None = None,
        dtypes: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a model; arguments, result and errors as in `Client.infer`."""
        message = values.request(
            model, inputs, version=version, outputs=outputs, request_id=request_id, key=key, dtypes=dtypes
        )
        return values.result(await self._call("ModelInfer", message, pb.ModelInferResponse))

    async def ready(self, model: str | None = None) -> bool:
        """Whether the server, or one of its models, takes requests."""
        if model is None:
            return (await self._call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)).ready
        return (await self._call("ModelReady", pb.ModelReadyRequest(name=model), pb.ModelReadyResponse)).ready

    async def metadata(self, model: str, version: str = "") -> ModelMetadata:
        """Inputs, outputs and versions of a model. Raises as `infer`."""
        message = pb.ModelMetadataRequest(name=model, version=version)
        return values.metadata(await self._call("ModelMetadata", message, pb.ModelMetadataResponse))

    async def columns(self, model: str, version: str = "") -> dict[str, tuple[str | None, ...]]:
        """Names of the columns of [N, F] inputs; as `Client.columns`."""
        message = pb.ModelConfigRequest(name=model, version=version)
        return values.columns(await self._call("ModelConfig", message, pb.ModelConfigResponse))

    async def report(self, labels: Iterable[tuple[str, Label | ClassIndex]], *, batch: int = MAX_OUTCOMES) -> Reported:
        """Report what was true of predictions; arguments, result and errors as in `Client.report`."""
        total = Reported()
        for message in outcomes.requests(labels, batch):
            total += outcomes.reported(await self._call("Report", message, outcomes_pb.ReportResponse, OUTCOMES))
        return total

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(self, name: str, message: Message, response: type[_M], service: str = INFERENCE) -> _M:
        try:
            return cast("_M", await method(self._channel, service + name, response)(message, timeout=self._timeout))
        except grpc.RpcError as error:
            raise failure(error, self.address, service) from error
