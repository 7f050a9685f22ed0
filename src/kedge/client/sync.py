"""The synchronous client of the data port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import grpc

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


class Client:
    """Predictions from one server. Thread-safe; use as a context manager or call `close`.

    Args:
        address: ``host:port``, ``[::1]:port`` or ``unix:/path`` of the data port.
        timeout: seconds a call may take; None waits.
        credentials: TLS channel credentials; None for plain text.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(
        self, address: str, *, timeout: float | None = 60.0, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        self.address = address
        self._timeout = timeout
        if credentials is None:
            self._channel = grpc.insecure_channel(target(address), options=OPTIONS)
        else:
            self._channel = grpc.secure_channel(target(address), credentials, options=OPTIONS)

    def infer(
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
        """Run a model.

        Args:
            model: its name.
            inputs: arrays by input name; strings as object arrays of ``str`` or ``bytes``.
            version: empty lets the server's routes choose.
            outputs: names of the wanted outputs; empty: all. `PREDICTION_IDS` asks for the prediction id of every row.
            request_id: returned with the answer.
            key: requests of one key go to one arm while a rollout is under way.
            dtypes: tensor types by input name where numpy's dtype does not tell (``BF16`` for ``uint16`` patterns).

        Raises:
            RequestError: the server refused; its code and words.
            UnreachableError: nothing answers at the address.
        """
        message = values.request(
            model, inputs, version=version, outputs=outputs, request_id=request_id, key=key, dtypes=dtypes
        )
        return values.result(self._call("ModelInfer", message, pb.ModelInferResponse))

    def ready(self, model: str | None = None) -> bool:
        """Whether the server, or one of its models, takes requests."""
        if model is None:
            return self._call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
        return self._call("ModelReady", pb.ModelReadyRequest(name=model), pb.ModelReadyResponse).ready

    def metadata(self, model: str, version: str = "") -> ModelMetadata:
        """Inputs, outputs and versions of a model. Raises as `infer`."""
        message = pb.ModelMetadataRequest(name=model, version=version)
        return values.metadata(self._call("ModelMetadata", message, pb.ModelMetadataResponse))

    def columns(self, model: str, version: str = "") -> dict[str, tuple[str | None, ...]]:
        """Names of the columns of the model's [N, F] inputs, in order, None where it has no name; by input name.

        Without an entry for inputs of other shapes and those whose columns have no names. Raises as `infer`.
        """
        message = pb.ModelConfigRequest(name=model, version=version)
        return values.columns(self._call("ModelConfig", message, pb.ModelConfigResponse))

    def report(self, labels: Iterable[tuple[str, Label | ClassIndex]], *, batch: int = MAX_OUTCOMES) -> Reported:
        """Report what was true of predictions. Once it returns they are on the server's disk.

        Args:
            labels: pairs of prediction id and label: the name of a class, a number (the true value, or the class of
                that name), or `ClassIndex`.
            batch: labels a message, at most 10,000; an answer stands for whole messages.

        Returns:
            How many became what.

        Raises:
            RequestError: the server refused; what it did not answer for may be reported again, and whatever was taken
                is a duplicate then.
            UnreachableError: nothing answers at the address.
        """
        total = Reported()
        for message in outcomes.requests(labels, batch):
            total += outcomes.reported(self._call("Report", message, outcomes_pb.ReportResponse, OUTCOMES))
        return total

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, name: str, message: Message, response: type[_M], service: str = INFERENCE) -> _M:
        try:
            return cast("_M", method(self._channel, service + name, response)(message, timeout=self._timeout))
        except grpc.RpcError as error:
            raise failure(error, self.address, service) from error
