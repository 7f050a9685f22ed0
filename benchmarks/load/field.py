"""The field: every server started, its answer verified, and one measurement of any of them."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from benchmarks import model
from benchmarks.load import h2load
from benchmarks.load.process import ROOT, BareLoop, StartError, python
from benchmarks.load.subjects import Echo, Kedge, Nghttpd, Subject, ask, build_cpp_echo
from benchmarks.report import BenchmarkError
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.h2load import Shape

NATIVE: Final = "kedge native"
NATIVE_OFF: Final = "kedge native, nothing watched"
PORTABLE: Final = "kedge portable"
PORTABLE_OFF: Final = "kedge portable, nothing watched"
AIO: Final = "grpc.aio empty echo"
CPP: Final = "libgrpc++ empty echo"
NGHTTPD: Final = "nghttpd static file, GET"
NGHTTPD_POST: Final = "nghttpd static file, same POST"
WARM_UP: Final = 2_000
WARM_UP_LATENCY: Final = 300


class AnswerError(BenchmarkError):
    """A server's answers are not those of the model; its figures would not count."""


@dataclass(frozen=True)
class Measured:
    """One run of h2load against one server.

    Attributes:
        rate: requests a second.
        cpu_us: CPU time of the server a request, in microseconds.
        median_us, p99_us: latency, where each request's was logged; else 0.
    """

    rate: float
    cpu_us: float
    median_us: float = 0.0
    p99_us: float = 0.0


class Field:
    """All servers, running and verified; a context manager that ends them.

    Args:
        directory: for files of this run.
        files: of the benchmark model.

    Attributes:
        subjects: by name; the native plane's are absent where it is not in this build.
        notes: what the reader must know of it.
        loop: the bare ONNX Runtime loop on the benchmark model.
    """

    def __init__(self, directory: Path, files: model.Files) -> None:
        self._directory = directory
        self._files = files
        self._parts = ExitStack()
        self._answers: dict[str, bytes] = {}
        self._requests: dict[tuple[str, Shape], int] = {}
        self._sent: dict[str, int] = {}
        self.subjects: dict[str, Subject] = {}
        self.notes: list[str] = []
        self._request = model.request()
        self._body = write_body(directory, self._request)

    def __enter__(self) -> Self:
        with self._parts:
            self._start()
            self._parts = self._parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def measure(self, name: str, shape: Shape, seconds: float) -> Measured:
        """Load one server for about so long, and check that every answer was the right one.

        Raises:
            LoadError, CountError, AnswerError: not all requests were answered, or not OK, or with other bytes.
        """
        subject = self.subjects[name]
        alone = shape.connections * shape.streams == 1
        if (name, shape) not in self._requests:
            warm = self._load(subject, shape, WARM_UP_LATENCY if alone else WARM_UP)
            self._requests[name, shape] = max(200, int(warm.rate * seconds))
        before = subject.process.cpu_seconds()
        load = self._load(subject, shape, self._requests[name, shape], log=alone)
        cpu_us = (subject.process.cpu_seconds() - before) / load.requests * 1e6
        if alone:
            return Measured(load.rate, cpu_us, load.median_us, load.p99_us)
        return Measured(load.rate, cpu_us)

    def verify(self) -> None:
        """Ask every gRPC server again. Raises `AnswerError` where it does not answer as it did at the start."""
        for name, answer in self._answers.items():
            subject = self.subjects[name]
            if isinstance(subject, Nghttpd):
                continue
            again = ask(subject.address, self._request)
            if len(again) != len(answer) or _without_id(again) != _without_id(answer):
                raise AnswerError(f"{name} answers the same request with other bytes than at the start")

    def _start(self) -> None:
        for name, plane, bundle in (
            (PORTABLE, "portable", self._files.watched),
            (PORTABLE_OFF, "portable", self._files.unwatched),
            (NATIVE, "native", self._files.watched),
            (NATIVE_OFF, "native", self._files.unwatched),
        ):
            try:
                subject = Kedge(name, plane, bundle, self._directory / name.replace(" ", "-"))
            except StartError as error:
                if plane != "native":
                    raise
                self.notes.append(f"{name} is not measured: {error}.")
                continue
            self._enter(subject)
            self._answers[name] = ask(subject.address, self._request)
            check_answer(name, self._answers[name], self._files.model)
            self._sent[name] = 1
            self.notes.append(f"{name}: {subject.about}.")
        answer = self._directory / "answer"
        answer.write_bytes(self._answers[PORTABLE])
        framed = self._directory / "framed-answer"
        framed.write_bytes(bytes(5) + self._answers[PORTABLE])
        program = ROOT / "build/bench/cpp_echo"
        program.parent.mkdir(parents=True, exist_ok=True)
        build_cpp_echo(program)
        self._enter(Echo(AIO, python("benchmarks.load.aio_echo", str(answer))))
        self._enter(Echo(CPP, [str(program), str(answer)]))
        self._enter(Nghttpd(NGHTTPD, framed, posts=False))
        self._enter(Nghttpd(NGHTTPD_POST, framed, posts=True))
        for name in (AIO, CPP, NGHTTPD, NGHTTPD_POST):
            self._answers[name] = self._answers[PORTABLE]
        self.loop = BareLoop(self._files.model)
        self._parts.callback(self.loop.stop)
        self.verify()
        for name in self._sent:
            self._sent[name] += 1

    def _enter(self, subject: Subject) -> None:
        self._parts.callback(subject.stop)
        self.subjects[subject.name] = subject

    def _load(self, subject: Subject, shape: Shape, requests: int, *, log: bool = False) -> h2load.Load:
        load = h2load.run(
            subject.url,
            shape,
            requests,
            body=self._body if subject.posts else None,
            log=self._directory / "log" if log else None,
        )
        self._sent[subject.name] = self._sent.get(subject.name, 0) + requests
        subject.check_count(self._sent[subject.name])
        expected = requests * (len(self._answers[subject.name]) + 5)
        if load.data_bytes != expected:
            raise AnswerError(f"{subject.name} sent {load.data_bytes} bytes in {requests} answers, expected {expected}")
        return load


def write_body(directory: Path, request: bytes) -> Path:
    """A file with the request as it goes over the wire: compressed flag, length, message."""
    path = directory / "request"
    path.write_bytes(b"\0" + struct.pack(">I", len(request)) + request)
    return path


def _without_id(answer: bytes) -> pb.ModelInferResponse:
    """The answer but for its prediction id, which is another one each time, of the same length."""
    message = pb.ModelInferResponse.FromString(answer)
    message.parameters.pop("kedge_prediction_id", None)
    return message


def check_answer(name: str, answer: bytes, path: Path) -> None:
    """Is this what the model at `path` says of the row? Raises `AnswerError`."""
    import onnxruntime  # noqa: PLC0415 - only now is telemetry off

    response = pb.ModelInferResponse.FromString(answer)
    found = dict(zip((output.name for output in response.outputs), response.raw_output_contents, strict=True))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for output, said in zip(session.get_outputs(), session.run(None, {model.INPUT: model.rows(1)}), strict=True):
        if not np.allclose(np.frombuffer(found[output.name], said.dtype), said.ravel(), rtol=1e-5, atol=1e-7):
            raise AnswerError(f"{name} does not answer what the model says, in output '{output.name}'")
