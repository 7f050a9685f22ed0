"""The peers as subjects of the load suite: how each is started, and in which setting."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from benchmarks import model
from benchmarks.load.process import START_SECONDS, StartError
from benchmarks.load.subjects import Subject, ask
from benchmarks.peers import environments
from benchmarks.peers.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS: Final = Path(__file__).parent / "servers"
AIO: Final = "grpc.aio + ONNX Runtime"
THREADS: Final = "grpc.server + ONNX Runtime"
MLSERVER: Final = "MLServer"
MLSERVER_BATCHING: Final = "MLServer, batching"
TRITON: Final = "Triton, Python backend"
TRITON_TWO: Final = "Triton, Python backend x 2"
PYTRITON: Final = "Triton, PyTriton"
MLSERVER_BATCH: Final = (64, 0.005)
"""Rows, and seconds to wait for them."""
TRITON_CONFIG: Final = """\
name: "%s"
backend: "python"
max_batch_size: 64
input [{name: "x" data_type: TYPE_FP32 dims: [32]}]
output [{name: "label" data_type: TYPE_INT64 dims: [1]}, {name: "probabilities" data_type: TYPE_FP32 dims: [2]}]
dynamic_batching {}
parameters: {key: "onnx" value: {string_value: "%s"}}
instance_group [{kind: KIND_CPU count: %d}]
"""


class Peer(Subject):
    """A server that is not Kedge. It counts nothing that is read here: its answers are checked by bytes and by sample.

    Args:
        name: in tables.
        command: prints the port when it is ready.
    """

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = Tree(command)
        self.address = f"127.0.0.1:{self.process.ready}"

    def answered(self) -> int:
        return -1


class MLServer(Peer):
    """`mlserver start` with a custom runtime: access log, metrics and parallel workers off, which is its fastest.

    Args:
        batch: rows of a batch and seconds to wait for them; (0, 0) for no batching.
    """

    def __init__(self, name: str, directory: Path, onnx: Path, batch: tuple[int, float] = (0, 0)) -> None:
        self.name = name
        port = free_port()
        settings = {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": free_port(),
            "grpc_port": port,
            "metrics_endpoint": None,
            "parallel_workers": 0,
        }
        served = {
            "name": model.NAME,
            "implementation": "mlserver_onnx.OnnxRuntime",
            "parameters": {"uri": str(onnx), "version": "1"},
            "max_batch_size": batch[0],
            "max_batch_time": batch[1],
        }
        directory.mkdir()
        for file in ("mlserver_onnx.py", "onnx_rows.py"):
            shutil.copy(SERVERS / file, directory)
        (directory / "settings.json").write_text(json.dumps(settings))
        (directory / "model-settings.json").write_text(json.dumps(served))
        interpreter = environments.python("mlserver")
        program = Path(interpreter).parent / "mlserver"
        self.process = Tree([interpreter, str(program), "start", str(directory)], says_ready=False)
        self.address = f"127.0.0.1:{port}"
        _await_answer(self)


class Triton(Peer):
    """tritonserver of the nvidia-pytriton wheel with its Python backend; no HTTP, no metrics, batches without delay.

    Args:
        instances: processes that run the model.
    """

    def __init__(self, name: str, directory: Path, onnx: Path, instances: int) -> None:
        self.name = name
        environment = Path(environments.python("pytriton")).parent.parent
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        packages = environment / f"lib/python{python}/site-packages"
        triton = packages / "pytriton/tritonserver"
        backend, version = directory / "backends/python", directory / "models" / model.NAME / "1"
        for made in (backend, version):
            made.mkdir(parents=True)
        # The wheel keeps a stub for each Python apart from the backend.
        for part in (*(triton / "backends/python").glob("*.*"), *(triton / "python_backend_stubs" / python).iterdir()):
            (backend / part.name).symlink_to(part)
        shutil.copy(SERVERS / "triton_model.py", version / "model.py")
        (version.parent / "config.pbtxt").write_text(TRITON_CONFIG % (model.NAME, onnx, instances))
        # The stub must find the libpython of this interpreter, not whichever the system has.
        libraries = f"{sysconfig.get_config_var('LIBDIR')}:{packages / 'nvidia_pytriton.libs'}"
        port = free_port()
        self.process = Tree(
            [
                *("env", f"LD_LIBRARY_PATH={libraries}", f"PYTHONPATH={packages}:{SERVERS}"),
                str(triton / "bin/tritonserver"),
                *("--model-repository", str(directory / "models"), "--backend-directory", str(backend.parent)),
                *("--grpc-address", "127.0.0.1", "--grpc-port", str(port)),
                *("--allow-http", "false", "--allow-metrics", "false"),
            ],
            says_ready=False,
        )
        self.address = f"127.0.0.1:{port}"
        _await_answer(self)


def starters(directory: Path, onnx: Path) -> dict[str, Callable[[], Peer]]:
    """How to start each, by name. Each raises `StartError` or `InstallError` where it cannot be had."""

    def script(environment: str, file: str, *options: str) -> list[str]:
        return [environments.python(environment), str(SERVERS / file), str(onnx), *options]

    return {
        AIO: lambda: Peer(AIO, script("grpcio", "grpc_aio.py")),
        THREADS: lambda: Peer(THREADS, script("grpcio", "grpc_threads.py")),
        MLSERVER: lambda: MLServer(MLSERVER, directory / "mlserver", onnx),
        MLSERVER_BATCHING: lambda: MLServer(MLSERVER_BATCHING, directory / "mlserver-batching", onnx, MLSERVER_BATCH),
        TRITON: lambda: Triton(TRITON, directory / "triton", onnx, 1),
        TRITON_TWO: lambda: Triton(TRITON_TWO, directory / "triton-two", onnx, 2),
        PYTRITON: lambda: Peer(PYTRITON, script("pytriton", "pytriton_onnx.py")),
    }


def free_port() -> int:
    """A port that nobody listens on, for servers that cannot say which one they were given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(peer: Peer) -> None:
    """Wait until it answers; one that does not is stopped. Raises `StartError`."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            ask(peer.address, model.request())
        except grpc.RpcError as error:
            if time.monotonic() > end:
                peer.stop()
                raise StartError(f"{peer.name} does not answer: {error.code()}") from None
            time.sleep(0.2)
        else:
            return
