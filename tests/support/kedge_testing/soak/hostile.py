"""Bad clients: they send garbage, half of something, or everything and do not wait. Nobody else may notice.

What they ask is asked of the decoy, whose requests are counted between what was surely answered and what was sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from kedge.client.values import request
from kedge.proto import inference as pb
from kedge_testing.soak import http2, zoo
from kedge_testing.soak.clients import INFER
from kedge_testing.soak.http2 import ClosedError, Connection, frame
from kedge_testing.soak.world import Actor

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World

LINGER_NONE = struct.pack("ii", 1, 0)
"""A close that is a reset."""


class Hostile(Actor):
    """One bad deed a turn."""

    def __init__(self, world: World, number: int, pause: float) -> None:
        super().__init__(world, f"hostile{number}", pause)
        self._chance = np.random.default_rng([world.seed, 7000 + number])

    def connect(self, life: Life) -> Any:  # noqa: ARG002 - each deed has a connection of its own
        return contextlib.nullcontext()

    def turn(self, life: Life, connection: Any) -> None:  # noqa: ARG002 - as above
        deeds: tuple[Callable[[Life], None], ...] = (
            self._garbage, self._http1, self._half_frame, self._half_message, self._reset, self._gone,
            self._slow_reader, self._slow_writer, self._pings, self._late,
        )  # fmt: skip
        deed = deeds[self._chance.integers(len(deeds))]
        self.world.add(f"hostile {deed.__name__.strip('_').replace('_', ' ')}")
        # That the server hangs up is what it should do to such clients.
        with contextlib.suppress(
            OSError, ClosedError, grpc.RpcError, grpc.FutureTimeoutError, grpc.FutureCancelledError
        ):
            deed(life)

    def _decoy(self, rows: int) -> bytes:
        self.world.add("decoys sent")
        inputs = self.world.zoo.models[zoo.DECOY].take(self._chance.integers(0, zoo.ROWS, rows))
        return request(zoo.DECOY, inputs).SerializeToString()

    def _garbage(self, life: Life) -> None:
        with http2.connected(life) as wire:
            wire.sendall(os.urandom(int(self._chance.integers(1, 5000))))
            wire.recv(100)

    def _http1(self, life: Life) -> None:
        with http2.connected(life) as wire:
            wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wire.recv(100)

    def _half_frame(self, life: Life) -> None:
        with Connection(life) as wire:
            wire.socket.sendall(frame(http2.DATA, 0, 1, bytes(900))[: int(self._chance.integers(1, 800))])
            self._hang_up(wire.socket)

    def _half_message(self, life: Life) -> None:
        with Connection(life) as wire:
            stream = wire.ask(INFER, self._decoy(9), whole=False)
            wire.reset(stream)
            for _ in range(20):
                wire.reset(wire.ask(INFER, self._decoy(1), whole=False))

    def _reset(self, life: Life) -> None:
        with Connection(life) as wire:
            for _ in range(10):
                wire.reset(wire.ask(INFER, self._decoy(3)))

    def _gone(self, life: Life) -> None:
        with Connection(life) as wire:
            wire.ask(INFER, self._decoy(20))
            self._hang_up(wire.socket)

    def _slow_reader(self, life: Life) -> None:
        with Connection(life, window=0) as wire:
            for _ in range(5):
                wire.ask(INFER, self._decoy(400))
            time.sleep(1.5)

    def _slow_writer(self, life: Life) -> None:
        with http2.connected(life) as wire:
            for byte in http2.PREFACE[:8]:
                wire.sendall(bytes([byte]))
                time.sleep(0.1)

    def _pings(self, life: Life) -> None:
        with Connection(life) as wire:
            wire.socket.sendall(frame(http2.PING, 0, 0, bytes(8)) * 2000)
            self._hang_up(wire.socket)

    def _late(self, life: Life) -> None:
        """Deadlines too short to be met, and calls given up."""
        credentials = life.credentials
        with (
            grpc.secure_channel(life.grpc, credentials) if credentials else grpc.insecure_channel(life.grpc) as channel
        ):
            call = channel.unary_unary(INFER, response_deserializer=pb.ModelInferResponse.FromString)
            grpc.channel_ready_future(channel).result(5)
            for number in range(10):
                asked = call.future(self._decoy(5), timeout=0.001 if number % 2 else 5)
                if number % 2 == 0:
                    asked.cancel()
                else:
                    with contextlib.suppress(grpc.RpcError):
                        asked.result()

    @staticmethod
    def _hang_up(wire: socket.socket) -> None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
