"""The same by grpc's older server: a pool of threads.

python grpc_threads.py MODEL    prints its port, serves until its standard input ends.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_messages import infer
from onnx_rows import Model
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

THREADS = 4


class Inference(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, model: Model) -> None:
        self._model = model

    def ModelInfer(  # noqa: N802 - the protocol's name
        self, request: pb.ModelInferRequest, _: grpc.ServicerContext
    ) -> pb.ModelInferResponse:
        return infer(self._model, request)


def main(path: str) -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Inference(Model(path)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main(sys.argv[1])
