"""What is compared: each subject starts a server, names its process and address, and can say what it answered."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import grpc

from benchmarks.load.process import ROOT, Process, StartError, python
from benchmarks.report import BenchmarkError
from kedge.client import AdminClient

if TYPE_CHECKING:
    from pathlib import Path

METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
COUNTED_WITHIN_SECONDS: Final = 5.0


class CountError(BenchmarkError):
    """A server's own count does not say that it answered what it was asked."""


class Subject(ABC):
    """A server under test.

    Attributes:
        name: in tables.
        process: of the server.
        address: host:port.
        path: of the URL.
        posts: the request is POSTed; else the path is fetched.
    """

    name: str
    process: Process
    address: str
    path: str = METHOD
    posts: bool = True

    @property
    def url(self) -> str:
        return f"http://{self.address}{self.path}"

    @abstractmethod
    def answered(self) -> int:
        """How many OK answers it has counted; -1 for a server that does not count.

        Raises:
            CountError: it counted answers that were not OK.
        """

    def check_count(self, expected: int) -> None:
        """Wait until the count of OK answers is `expected`: what is counted is counted after the answer has left.

        Raises:
            CountError: it is something else.
        """
        end = time.monotonic() + COUNTED_WITHIN_SECONDS
        while (count := self.answered()) not in (expected, -1):
            if count > expected or time.monotonic() > end:
                raise CountError(f"{self.name} counted {count} OK answers, expected {expected}")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.stop()


class Kedge(Subject):
    """`kedge serve` with one bundle.

    Raises:
        StartError: the plane is not in this build, with what Kedge said.
    """

    def __init__(self, name: str, plane: str, bundle: Path, state: Path) -> None:
        self.name = name
        addresses = [part for port in ("grpc", "admin", "metrics") for part in (f"--{port}", "127.0.0.1:0")]
        files = ["--state", str(state), "--bundle", str(bundle)]
        self.process = Process(python("kedge", "serve", "--plane", plane, "--json", *files, *addresses))
        said = json.loads(self.process.ready)
        if "error" in said:
            self.process.stop()
            raise StartError(said["error"]["message"])
        self.address = said["grpc"]
        self.about = f"plane {said['plane']}, kernel {said['kernel']} ({said['isa']})"
        self._admin = AdminClient(said["admin"])

    def answered(self) -> int:
        (model,) = self._admin.status().models
        wrong = {code: count for code, count in model.requests.items() if code and count}
        if wrong:
            raise CountError(f"{self.name} answered with other statuses than OK: {wrong}")
        return int(model.requests.get(0, 0))

    def stop(self) -> None:
        self._admin.close()
        super().stop()


class Echo(Subject):
    """A server that answers any call with the bytes of a file: its answers are checked by their length alone."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = Process(command)
        self.address = f"127.0.0.1:{self.process.ready}"

    def answered(self) -> int:
        return -1


class Nghttpd(Subject):
    """nghttpd, one worker, serving a file as long as a gRPC answer with its frame."""

    def __init__(self, name: str, file: Path, *, posts: bool) -> None:
        self.name = name
        self.posts = posts
        self.path = f"/{file.name}"
        # It cannot say which port it was given.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-n", "1", "-d", str(file.parent), str(port)]
        self.process = Process(command, says_ready=False)
        self.address = f"127.0.0.1:{port}"
        _await_listening(port)

    def answered(self) -> int:
        return -1


def build_cpp_echo(program: Path) -> None:
    """Compile the libgrpc++ server, optimised, unless it is newer than its source."""
    source = ROOT / "benchmarks/load/cpp_echo.cpp"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "grpc++"], capture_output=True, text=True, check=True)
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    command = [
        "g++",
        "-std=c++20",
        "-O2",
        "-DNDEBUG",
        *warnings,
        str(source),
        "-o",
        str(program),
        *flags.stdout.split(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"{source.name} does not compile: {done.stderr.strip().splitlines()[-1]}")


def ask(address: str, request: bytes) -> bytes:
    """One ModelInfer by grpcio; returns the answer's bytes. Raises `grpc.RpcError`."""
    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(METHOD)(request, timeout=10)
        return answer


def _await_listening(port: int) -> None:
    end = time.monotonic() + COUNTED_WITHIN_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise StartError(f"nghttpd does not listen on port {port}") from None
            time.sleep(0.02)
        else:
            return
