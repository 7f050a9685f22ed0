"""What clients make the native plane hold stays within its bound, and others are answered meanwhile.

The bound is `max_shard_bytes` of cpp/base/limits.hpp, for each shard; there is one here.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import bundles, h2_frames, models, serving

from kedge.kernel.select import available, select

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    "native" not in available() or importlib.util.find_spec("kedge._dataplane") is None,
    reason="the native plane is not in this build",
)

MIB = 2**20
SHARD = 1024 * MIB
DECLARED = 64 * MIB
COLUMNS = 2**18
"""Of an answer of 1 MiB."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[serving.Served]:
    from kedge.plane.native import NativePlane

    one = serving.listen(lambda kernel: NativePlane(kernel, shards=1, isolate=False), select("native"), tmp_path)
    one.serve(bundles.Recipe(models.wide(1), "small"), bundles.Recipe(models.wide(COLUMNS), "wide", batchable=False))
    yield one
    one.plane.stop()


@pytest.fixture
def honest(served: serving.Served) -> Iterator[serving.Caller]:
    """Somebody who was there before the others came."""
    one = serving.Caller(served.address)
    ask(one)
    yield one
    one.channel.close()


def question(model: str) -> bytes:
    return serving.request(model, ("x", "FP32", np.ones((1, 1), np.float32))).SerializeToString()


def ask(caller: serving.Caller) -> None:
    assert caller.raw("ModelInfer", question("small"))


def ask_within(caller: serving.Caller, seconds: float) -> int:
    """Ask until answered; how often the answer was that there is no room."""
    end = time.monotonic() + seconds
    refused = 0
    while True:
        call = caller.channel.unary_unary(f"{serving.SERVICE}ModelInfer").future(question("small"), timeout=30)
        if call.code() is grpc.StatusCode.OK:
            return refused
        # Where not even a stream fits it is refused by HTTP/2 itself, which is code 7 there and UNAVAILABLE here.
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED or "RST_STREAM with error code 7" in call.details()
        assert time.monotonic() < end, call.details()
        refused += 1
        time.sleep(0.05)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def room_for_files(count: int) -> None:
    """Both ends of every connection are files of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs {count} open files, and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


def say(connection: socket.socket, payload: bytes) -> None:
    """Send what the server takes; it may have closed."""
    with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
        connection.sendall(payload)


def hang(served: serving.Served, stack: ExitStack, connections: int, said: bytes, **options: int) -> None:
    """Connections that say something and then nothing more, and never read."""
    for _ in range(connections):
        say(stack.enter_context(h2_frames.connect(served.address, **options)), said)


def begun(streams: int, declared: int, payload: bytes) -> bytes:
    """Calls whose one message begins and does not end."""
    return b"".join(
        h2_frames.begin(stream) + h2_frames.data(stream, h2_frames.message(payload, declared=declared))
        for stream in range(1, 2 * streams, 2)
    )


def test_lengths_that_are_only_declared_take_nothing_from_anyone(
    served: serving.Served, honest: serving.Caller
) -> None:
    before = resident()
    with ExitStack() as stack:
        hang(served, stack, 40, begun(100, DECLARED, b"x" * 64))  # 250 GiB
        ask(honest)
        assert resident() - before < 4000 * 16 * 1024
    ask(honest)


def test_answers_that_nobody_reads_keep_nobody_waiting(served: serving.Served, honest: serving.Caller) -> None:
    asked = b"".join(
        h2_frames.begin(stream) + h2_frames.data(stream, h2_frames.message(question("wide")), end=True)
        for stream in range(1, 200, 2)
    )
    before = resident()
    with ExitStack() as stack:
        hang(served, stack, 3, asked, window=0)
        serving.eventually(lambda: resident() - before > 200 * MIB)
        ask(honest)
        assert resident() - before < 3 * 100 * (MIB + 16 * 1024)


@pytest.mark.long
def test_real_bytes_and_unread_answers_never_pass_the_bound(served: serving.Served, honest: serving.Caller) -> None:
    half = begun(4, DECLARED, b"x" * (DECLARED - 1000))
    asked = b"".join(
        h2_frames.begin(stream) + h2_frames.data(stream, h2_frames.message(question("wide")), end=True)
        for stream in range(1, 1000, 2)
    )
    before = resident()
    most = 0
    for said, window in ((half, 65_535), (asked, 0)):
        with ExitStack() as stack:
            for _ in range(8):  # 2 GiB of requests, 4 GiB of answers
                hang(served, stack, 1, said, window=window)
                most = max(most, resident() - before)
            ask_within(honest, 20)
            most = max(most, resident() - before)
    assert SHARD / 2 < most < SHARD + 128 * MIB
    assert ask_within(honest, 5) == 0


@pytest.mark.long
def test_thousands_of_connections_full_of_headers_stay_within_the_bound(
    served: serving.Served, honest: serving.Caller
) -> None:
    room_for_files(9000)
    keys = b"".join(h2_frames.begin(stream, **{"x-kedge-key": "k" * 15_000}) for stream in range(1, 40, 2))
    before = resident()
    with ExitStack() as stack:
        hang(served, stack, 3500, keys)  # 1.1 GiB
        ask_within(honest, 20)
        assert resident() - before < SHARD + 256 * MIB
    ask_within(honest, 20)
