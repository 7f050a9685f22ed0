"""Honest clients with one connection a thread: Kedge's own, Triton's, and frames written by hand on a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from kedge.client import Client
from kedge.client.values import PREDICTION_IDS, request, result
from kedge.errors import KedgeError
from kedge.proto import inference as pb
from kedge_testing.soak.http2 import ClosedError, Connection
from kedge_testing.soak.ledger import Asked, Asker
from kedge_testing.soak.world import PATIENCE, Actor

if TYPE_CHECKING:
    from kedge_testing.soak.ledger import Ledger
    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World

INFER = "/inference.GRPCInferenceService/ModelInfer"


def message(asked: Asked) -> pb.ModelInferRequest:
    """The request as a message in raw form."""
    inputs = asked.model.take(asked.rows)
    if asked.spoilt:
        first = next(iter(inputs))
        inputs[first] = np.zeros(inputs[first].shape, np.int16)
    outputs = (*next(iter(asked.model.versions.values())).expected, PREDICTION_IDS) if asked.ids else ()
    return request(
        asked.model.name, inputs, version=asked.version, outputs=outputs, request_id=asked.identity, key=asked.key
    )


class Honest(Actor):
    """Asks, waits for the answer, and settles it with the ledger."""

    def __init__(self, world: World, ledger: Ledger, name: str, seed: int, pause: float) -> None:
        super().__init__(world, name, pause)
        self.ledger = ledger
        self.asker = Asker(world, name, np.random.default_rng([world.seed, seed]))


class KedgeClient(Honest):
    """`kedge.client.Client`."""

    def connect(self, life: Life) -> Client:
        return Client(life.grpc, timeout=PATIENCE, credentials=life.credentials)

    def turn(self, life: Life, connection: Client) -> None:
        asked = self.asker.draw()
        sent = message(asked)
        try:
            got = result(connection._call("ModelInfer", sent, pb.ModelInferResponse))
        except KedgeError as error:
            self.ledger.failed(self.name, life, asked, error.code.name, str(error))
        else:
            self.ledger.answered(self.name, life, asked, got)


class TritonClient(Honest):
    """`tritonclient.grpc`."""

    def connect(self, life: Life) -> triton.InferenceServerClient:
        ca = None if life.authority is None else str(life.ca)
        return triton.InferenceServerClient(life.grpc, ssl=ca is not None, root_certificates=ca)

    def turn(self, life: Life, connection: triton.InferenceServerClient) -> None:
        asked = self.asker.draw()
        inputs = []
        for name, array in asked.model.take(asked.rows).items():
            data = np.zeros(array.shape, np.int16) if asked.spoilt and not inputs else array
            dtype = "INT16" if data.dtype == np.int16 else "BYTES" if data.dtype == object else "FP32"
            inputs.append(triton.InferInput(name, list(data.shape), dtype))
            inputs[-1].set_data_from_numpy(data)
        names = (*next(iter(asked.model.versions.values())).expected, PREDICTION_IDS) if asked.ids else ()
        more: dict[str, Any] = {"parameters": {"kedge_key": asked.key}} if asked.key is not None else {}
        try:
            got = connection.infer(
                asked.model.name, inputs, model_version=asked.version, request_id=asked.identity,
                outputs=[triton.InferRequestedOutput(name) for name in names] or None, client_timeout=PATIENCE, **more,
            )  # fmt: skip
        except InferenceServerException as error:
            code = str(error.status()).rpartition(".")[2]
            self.ledger.failed(self.name, life, asked, code, error.message())
        else:
            self.ledger.answered(self.name, life, asked, result(got.get_response()))


class RawClient(Honest):
    """HTTP/2 frames on a socket, cut at odd places; several requests at a time on one connection."""

    def connect(self, life: Life) -> Connection:
        return Connection(life)

    def turn(self, life: Life, connection: Connection) -> None:
        asked = [one for one in (self.asker.draw() for _ in range(3)) if not one.spoilt and not one.version]
        self.world.add("requests sent", len(asked) - 3)  # the others were not
        streams = {connection.ask(INFER, message(one).SerializeToString(), cut=7): one for one in asked}
        try:
            for stream, data in connection.answers(set(streams)):
                one = streams.pop(stream)
                if data is None:
                    self.ledger.failed(self.name, life, one, "without an answer")
                else:
                    self.ledger.answered(self.name, life, one, result(pb.ModelInferResponse.FromString(data)))
        except ClosedError:
            for one in streams.values():
                self.ledger.failed(self.name, life, one, "UNAVAILABLE", "the connection was closed")
            raise
