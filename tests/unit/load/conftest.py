"""A gRPC server in this process that answers ModelInfer as a test tells it to."""

from __future__ import annotations

from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Start a server whose answers `act` may delay or abort; gives its address."""
    pytest.importorskip("kedge._load", reason="this build has no load generator")
    running: list[grpc.Server] = []

    def start(act: Callable[[pb.ModelInferRequest, grpc.ServicerContext], Any], threads: int = 4) -> str:
        def infer(message: bytes, context: grpc.ServicerContext) -> bytes:
            request = pb.ModelInferRequest.FromString(message)
            answer = pb.ModelInferResponse(model_name=request.model_name, model_version="9", id=request.id)
            return (act(request, context) or answer).SerializeToString()

        handler = grpc.unary_unary_rpc_method_handler(infer)
        server = grpc.server(futures.ThreadPoolExecutor(threads))
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        running.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in running:
        server.stop(None).wait()
