"""Connections that say nothing, half of something, or anything else: whoever asks properly is answered meanwhile."""

from __future__ import annotations

import contextlib
import random
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, outputs, request

if TYPE_CHECKING:
    from collections.abc import Callable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes(9)[:3] + b"\x04" + bytes(5)
HEADERS = b"\x00\x00\x05\x01\x04\x00\x00\x00\x01\x83\x86\x44\x01\x2f"
DATA_OF_A_GIGABYTE = b"\x00\x00\x05\x00\x00\x00\x00\x00\x01\x00\x3f\xff\xff\xff"


def said(seed: int) -> list[bytes]:
    noise = random.Random(seed)
    return [
        b"",
        PREFACE[:10],
        PREFACE,
        PREFACE + SETTINGS,
        PREFACE + SETTINGS + HEADERS,
        PREFACE + SETTINGS + HEADERS + DATA_OF_A_GIGABYTE,
        PREFACE + SETTINGS + b"\xff\xff\xff" + bytes(6),
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        noise.randbytes(1000),
        PREFACE + SETTINGS + noise.randbytes(4000),
    ]


def test_whoever_asks_properly_is_answered_among_those_who_do_not(listen: Callable[..., Any]) -> None:
    served = listen()
    served.serve(bundles.Recipe(models.plus(1), "plus"))
    host, _, port = served.address.rpartition(":")
    asked = request("plus", ("x", "FP32", np.array([[1.0]], np.float32)))
    with contextlib.ExitStack() as open_:
        for seed in range(8):
            for data in said(seed):
                connection = open_.enter_context(socket.create_connection((host, int(port)), timeout=10))
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
        caller = Caller(served.address)
        open_.callback(caller.channel.close)
        for _ in range(20):
            assert outputs(caller.infer(asked))["y"].item() == 2.0
