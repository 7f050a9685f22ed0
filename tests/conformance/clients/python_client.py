"""Send the rows of a job file through one of the Python clients: ``python python_client.py KIND JOB.json``.

KIND is ``triton``, ``triton-aio``, ``triton-stream`` or ``grpcio`` (stubs generated from our own protos). The job says
what to send and where the answers go; see `clients.py` in ``tests/support``.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import queue
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_FLIGHT = 32


class Job:
    """What to send, and what came back."""

    def __init__(self, path: Path) -> None:
        job = json.loads(path.read_text())
        self.address, self.model, self.form = job["address"], job["model"], job["form"]
        self.rows, self.batch, self.result = job["rows"], job["batch"], Path(job["result"])
        self.types = {tensor["name"]: tensor["datatype"] for tensor in job["inputs"]}
        self.columns: dict[str, np.ndarray] = {}
        for tensor in job["inputs"]:
            data = Path(tensor["file"]).read_bytes()
            if tensor["datatype"] == "BYTES":
                column = np.array([text.encode() for text in json.loads(data)], dtype=np.object_)
            else:
                column = np.frombuffer(data, np.float32)
            self.columns[tensor["name"]] = column.reshape(self.rows, -1)
        self.answers: dict[int, Any] = {}

    def requests(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """First row and inputs of each request."""
        for start in range(0, self.rows, self.batch):
            yield start, {name: column[start : start + self.batch] for name, column in self.columns.items()}

    def message(self, pb: Any, inputs: dict[str, np.ndarray]) -> Any:
        """A request as a message of the given module."""
        request = pb.ModelInferRequest(model_name=self.model)
        for name, array in inputs.items():
            tensor = request.inputs.add(name=name, datatype=self.types[name], shape=array.shape)
            values = array.ravel().tolist()
            if self.form == "typed":
                contents = tensor.contents
                (contents.bytes_contents if self.types[name] == "BYTES" else contents.fp32_contents).extend(values)
            elif self.types[name] == "BYTES":
                request.raw_input_contents.append(b"".join(len(v).to_bytes(4, "little") + v for v in values))
            else:
                request.raw_input_contents.append(array.tobytes())
        return request

    def take(self, start: int, response: Any) -> None:
        """Keep the outputs of a response message."""
        kept = {}
        for index, tensor in enumerate(response.outputs):
            kind = {"FP32": np.float32, "INT64": np.int64}[tensor.datatype]
            if self.form == "raw":
                kept[tensor.name] = response.raw_output_contents[index]
                assert not tensor.HasField("contents")
            else:
                assert not response.raw_output_contents
                field = {"FP32": "fp32_contents", "INT64": "int64_contents"}[tensor.datatype]
                kept[tensor.name] = np.array(getattr(tensor.contents, field), kind).tobytes()
        self.answers[start] = kept

    def write(self) -> None:
        """Write each output's rows, in order."""
        for name in self.answers[0]:
            data = b"".join(self.answers[start][name] for start in sorted(self.answers))
            (self.result / f"{name}.bin").write_bytes(data)


def infer_inputs(client: Any, job: Job, inputs: dict[str, np.ndarray]) -> list[Any]:
    """The inputs as the Triton client's own classes; it sends raw form only."""
    made = []
    for name, array in inputs.items():
        tensor = client.InferInput(name, list(array.shape), job.types[name])
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def triton(job: Job) -> None:
    import tritonclient.grpc as client
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    if job.form == "raw":
        with client.InferenceServerClient(job.address) as one:
            for start, inputs in job.requests():
                job.take(start, one.infer(job.model, infer_inputs(client, job, inputs)).get_response())
        return
    grpc = importlib.import_module("grpc")
    with grpc.insecure_channel(job.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for start, inputs in job.requests():
            job.take(start, stub.ModelInfer(job.message(service_pb2, inputs)))


def triton_aio(job: Job) -> None:
    import tritonclient.grpc.aio as client
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    async def work(ask: Callable[[dict[str, np.ndarray]], Any]) -> None:
        pending = job.requests()

        async def worker() -> None:
            for start, inputs in pending:
                job.take(start, await ask(inputs))

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    async def raw() -> None:
        async with client.InferenceServerClient(job.address) as one:

            async def ask(inputs: dict[str, np.ndarray]) -> Any:
                return (await one.infer(job.model, infer_inputs(client, job, inputs))).get_response()

            await work(ask)

    async def typed() -> None:
        grpc = importlib.import_module("grpc")
        async with grpc.aio.insecure_channel(job.address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            await work(lambda inputs: stub.ModelInfer(job.message(service_pb2, inputs)))

    asyncio.run(raw() if job.form == "raw" else typed())


def triton_stream(job: Job) -> None:
    import tritonclient.grpc as client
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    if job.form == "raw":
        replies: queue.Queue[Any] = queue.Queue()
        with client.InferenceServerClient(job.address) as one:
            one.start_stream(callback=lambda result, error: replies.put(error or result))
            for group in _groups(job):
                for _, inputs in group:
                    one.async_stream_infer(job.model, infer_inputs(client, job, inputs))
                for start, _ in group:
                    reply = replies.get(timeout=60)
                    if isinstance(reply, Exception):
                        raise reply
                    job.take(start, reply.get_response())
            one.stop_stream()
        return
    grpc = importlib.import_module("grpc")
    with grpc.insecure_channel(job.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        replies_of = stub.ModelStreamInfer(job.message(service_pb2, inputs) for _, inputs in job.requests())
        for (start, _), reply in zip(job.requests(), replies_of, strict=True):
            assert not reply.error_message, reply.error_message
            job.take(start, reply.infer_response)


def _groups(job: Job) -> Iterator[list[tuple[int, dict[str, np.ndarray]]]]:
    pending = job.requests()
    while group := list(itertools.islice(pending, IN_FLIGHT)):
        yield group


def grpcio(job: Job) -> None:
    """Stubs as anyone would generate them from ``protos/``."""
    protos = Path(__file__).resolve().parents[3] / "protos"
    with tempfile.TemporaryDirectory() as folder:
        files = ["inference/grpc_service.proto", "inference/model_config.proto"]
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(protos)]
        subprocess.run([*command, f"--python_out={folder}", f"--grpc_python_out={folder}", *files], check=True)
        sys.path.insert(0, folder)
        pb = importlib.import_module("inference.grpc_service_pb2")
        stubs = importlib.import_module("inference.grpc_service_pb2_grpc")
        grpc = importlib.import_module("grpc")
        with grpc.insecure_channel(job.address) as channel:
            stub = stubs.GRPCInferenceServiceStub(channel)
            for group in _groups(job):
                calls = [(start, stub.ModelInfer.future(job.message(pb, inputs))) for start, inputs in group]
                for start, call in calls:
                    job.take(start, call.result())


KINDS = {"triton": triton, "triton-aio": triton_aio, "triton-stream": triton_stream, "grpcio": grpcio}

if __name__ == "__main__":
    todo = Job(Path(sys.argv[2]))
    KINDS[sys.argv[1]](todo)
    todo.write()
