"""What people write themselves: grpc.aio, generated messages, ONNX Runtime on the event loop.

python grpc_aio.py MODEL    prints its port, serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys

import grpc.aio
from grpc_messages import infer
from onnx_rows import Model
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc


class Inference(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, model: Model) -> None:
        self._model = model

    async def ModelInfer(  # noqa: N802 - the protocol's name
        self, request: pb.ModelInferRequest, _: grpc.aio.ServicerContext
    ) -> pb.ModelInferResponse:
        return infer(self._model, request)


async def main(path: str) -> None:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Inference(Model(path)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
