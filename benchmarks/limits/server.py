"""A `kedge serve` with models of several speeds, and what can be seen of it from outside."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import yaml

from benchmarks import model
from benchmarks.load.process import Process, StartError, python
from benchmarks.report import BenchmarkError
from kedge.build import build
from kedge.client import AdminClient
from kedge.proto import health
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

BOUNDED: Final = "bounded"
UNBOUNDED: Final = "deep"
QUEUE: Final = 32
"""Requests that may wait for the bounded model."""
LOOK_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 30.0
HEALTH: Final = "/grpc.health.v1.Health/Check"


class Server:
    """`kedge serve` as a process.

    Args:
        plane: ``native`` or ``portable``.
        state: directory it may make.
        bundles: that it serves.
        options: more of its command line.

    Attributes:
        process: for its CPU time and memory.
        grpc: address of the data port.

    Raises:
        StartError: it did not start.
    """

    def __init__(self, plane: str, state: Path, *bundles: Path, options: tuple[str, ...] = ()) -> None:
        addresses = [part for port in ("grpc", "admin", "metrics") for part in (f"--{port}", "127.0.0.1:0")]
        files = ["--state", str(state), *(part for path in bundles for part in ("--bundle", str(path)))]
        self.process = Process(python("kedge", "serve", "--plane", plane, "--json", *files, *addresses, *options))
        said = json.loads(self.process.ready)
        if "error" in said:
            self.process.stop()
            raise StartError(said["error"]["message"])
        self.grpc: str = said["grpc"]
        self.notes: list[str] = said["notes"]
        self._metrics = said["metrics"]
        self._admin = AdminClient(said["admin"], timeout=ANSWER_SECONDS)

    def counted(self, name: str) -> dict[int, int]:
        """Answers of a model by number of their status, as the server counts them."""
        return next(dict(one.requests) for one in self._admin.status().models if one.model == name)

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096 / 1e6

    def doors(self, channel: grpc.Channel) -> dict[str, Callable[[], Any]]:
        """Ways to ask it how it is; health comes by the data port, as requests do."""
        check = channel.unary_unary(HEALTH, response_deserializer=health.HealthCheckResponse.FromString)
        question = health.HealthCheckRequest().SerializeToString()
        return {
            "Health.Check on the data port": lambda: check(question, timeout=ANSWER_SECONDS),
            "status on the admin port": self._admin.status,
            "/readyz": lambda: self._get("readyz"),
            "/metrics": lambda: self._get("metrics"),
        }

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self._metrics}/{path}", timeout=ANSWER_SECONDS) as answer:
            text: bytes = answer.read()
            return text

    def stop(self) -> None:
        self._admin.close()
        self.process.stop()


class Watch:
    """What was seen of a server: seconds that each question took, and its resident memory in MB."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}
        self.peak_mb = 0.0

    def look(self, server: Server, doors: dict[str, Callable[[], Any]]) -> None:
        for name, ask in doors.items():
            start = time.perf_counter()
            ask()
            self.took.setdefault(name, []).append(time.perf_counter() - start)
        self.peak_mb = max(self.peak_mb, server.resident_mb())


@contextmanager
def watched(server: Server, watch: Watch) -> Iterator[None]:
    """Asks the server through all its doors, five times a second, until the end of the block.

    Raises:
        BenchmarkError: it did not answer.
    """
    over = threading.Event()
    failure: list[Exception] = []

    def work() -> None:
        with grpc.insecure_channel(server.grpc) as channel:
            doors = server.doors(channel)
            try:
                while not over.wait(LOOK_SECONDS):
                    watch.look(server, doors)
            except Exception as error:  # noqa: BLE001 - whatever it is, the server was not there for it
                failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failure:
        raise BenchmarkError(f"the server did not answer under load: {failure[0]}") from failure[0]


def slow_bundles(files: model.Files) -> tuple[Path, Path]:
    """The slow model twice: with a queue of `QUEUE` requests, and with one of the default length."""
    spec = yaml.safe_load(files.slow.with_suffix(".yaml").read_text())
    serving = spec["serving"]
    short = serving | {"batching": serving["batching"] | {"max_queue": QUEUE}}
    made = []
    for name, facts in ((BOUNDED, {"serving": short}), (UNBOUNDED, {})):
        path = files.slow.with_name(f"{name}.yaml")  # paths in it are relative to where it stands
        path.write_text(yaml.safe_dump(spec | facts | {"name": name}))
        archive = path.with_suffix(".kedge")
        archive.unlink(missing_ok=True)
        build(path, archive)
        made.append(archive)
    return made[0], made[1]


def messages(name: str, count: int, rows: int = 1) -> list[bytes]:
    """Serialised requests, all of them different, of so many rows each."""
    found = []
    for block in model.rows(count * rows).astype("<f4").reshape(count, rows, model.FEATURES):
        message = pb.ModelInferRequest(model_name=name, raw_input_contents=[block.tobytes()])
        message.inputs.add(name=model.INPUT, datatype="FP32", shape=[rows, model.FEATURES])
        found.append(message.SerializeToString())
    return found
