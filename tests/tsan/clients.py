"""Who asks the server of `run.sh`: every kind of call from several threads, connections that break off, and h2load.

Usage: clients.py HOST:PORT SECONDS FOLDER. Every answer is checked.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np
from kedge_testing import h2_frames, serving

from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable

ONE: Final = np.ones((1, 1), np.float32)
FOUR: Final = np.ones((3, 4), np.float32)


def plus(number: int) -> pb.ModelInferRequest:
    message = serving.request("plus", ("x", "FP32", ONE))
    if number % 2:
        message.parameters["kedge_key"].string_param = f"key-{number % 50}"
    return message


def infer(caller: serving.Caller, number: int) -> None:
    (value,) = serving.outputs(caller.infer(plus(number))).values()
    assert value.tolist() in ([[2.0]], [[3.0]])
    sums = serving.outputs(caller.infer(serving.request("add", ("a", "FP32", FOUR), ("b", "FP32", FOUR))))
    assert sums["sum"].tolist() == (2 * FOUR).tolist()


def pool(caller: serving.Caller, number: int) -> None:
    waiting = [caller.future(serving.request("slow-rows", ("x", "FP32", ONE))) for _ in range(8)]
    waiting[number % 8].cancel()
    for future in waiting:
        if not future.cancelled():
            future.result()


def stream(caller: serving.Caller, number: int) -> None:
    replies = list(caller.stream(iter([plus(number), b"\xff", plus(number + 1)])))
    assert [bool(reply.error_message) for reply in replies] == [False, True, False]


def cold(caller: serving.Caller, _: int) -> None:
    caller.call("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    caller.call("ModelReady", pb.ModelReadyRequest(name="plus"), pb.ModelReadyResponse)
    code, _text = caller.refusal(serving.request("nobody", ("x", "FP32", ONE)))
    assert code is grpc.StatusCode.NOT_FOUND


def breaking(caller_address: str) -> Callable[[serving.Caller, int], None]:
    def once(_: serving.Caller, number: int) -> None:
        with h2_frames.connect(caller_address) as connection:
            half = h2_frames.data(1, h2_frames.message(b"x" * 100, declared=1000))
            connection.sendall(h2_frames.begin(1) + half)
            if number % 2:
                connection.recv(100)

    return once


def flood(address: str, folder: Path, seconds: float) -> None:
    body = folder / "body"
    body.write_bytes(h2_frames.message(plus(0).SerializeToString()))
    headers = [part for header in ("content-type: application/grpc", "te: trailers") for part in ("-H", header)]
    command = ["h2load", "-t", "1", "-c", "8", "-m", "8", "-D", f"{seconds:g}", "-d", str(body), *headers]
    subprocess.run(
        [*command, f"http://{address}{serving.SERVICE}ModelInfer"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=seconds + 60,
    )


def main() -> None:
    address, seconds, folder = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    failures: list[BaseException] = []
    end = time.monotonic() + seconds

    def repeat(work: Callable[[serving.Caller, int], None]) -> None:
        caller = serving.Caller(address)
        number = 0
        try:
            while time.monotonic() < end:
                work(caller, number)
                number += 1
        except BaseException as error:  # noqa: BLE001 - told below, whatever it is
            failures.append(error)
        finally:
            caller.channel.close()

    works = (infer, infer, pool, stream, cold, breaking(address))
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    flood(address, folder, seconds)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


if __name__ == "__main__":
    main()
