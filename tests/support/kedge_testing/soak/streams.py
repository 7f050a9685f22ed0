"""Clients on `grpc.aio`: unary calls side by side, and streams, on a loop of their own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np

from kedge.client.values import result
from kedge.proto import inference as pb
from kedge_testing.serving import SERVICE
from kedge_testing.soak.clients import message
from kedge_testing.soak.ledger import Asker
from kedge_testing.soak.world import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kedge_testing.soak.ledger import Asked, Ledger
    from kedge_testing.soak.life import Life
    from kedge_testing.soak.world import World

TOGETHER: Final = 4
"""Calls that a client has under way at a time, so that they are batched."""
STREAMED: Final = 24
"""Messages of a stream before it ends and another begins."""


class AioClients(threading.Thread):
    """Unary and streaming clients that share one channel a server."""

    def __init__(self, world: World, ledger: Ledger, *, unary: int, streams: int, pause: float) -> None:
        super().__init__(name="aio", daemon=True)
        self._world = world
        self._ledger = ledger
        self._pause = pause
        self._askers = [
            Asker(world, f"{kind}{number}", np.random.default_rng([world.seed, 100 + number, len(kind)]))
            for kind, count in (("aio", unary), ("stream", streams))
            for number in range(count)
        ]
        self._unary = unary

    def run(self) -> None:
        number = 0
        while (life := self._world.wait_life(number)) is not None:
            number = life.number
            try:
                asyncio.run(self._serve(life))
            except Exception as error:  # noqa: BLE001 - of any kind: it is judged by when it happened
                if not life.ending:
                    self._world.wrong(self.name, "no error", f"{type(error).__name__}: {error}")

    async def _serve(self, life: Life) -> None:
        options = [("grpc.max_receive_message_length", -1)]
        if life.credentials is None:
            channel = grpc.aio.insecure_channel(life.grpc, options)
        else:
            channel = grpc.aio.secure_channel(life.grpc, life.credentials, options)
        async with channel:
            await asyncio.gather(*(self._client(life, channel, number) for number in range(len(self._askers))))

    async def _client(self, life: Life, channel: grpc.aio.Channel, number: int) -> None:
        name = f"aio client {number}"
        turn = self._calls if number < self._unary else self._stream
        while not self._world.stop.is_set() and not life.ending:
            if not self._world.gate.try_enter(name):
                await asyncio.sleep(0.01)
                continue
            try:
                await turn(life, channel, self._askers[number], name)
            finally:
                self._world.gate.leave(name)
            await asyncio.sleep(self._pause)

    async def _calls(self, life: Life, channel: grpc.aio.Channel, asker: Asker, name: str) -> None:
        call = channel.unary_unary(
            SERVICE + "ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
        )

        async def one(asked: Asked) -> None:
            try:
                got = await call(message(asked), timeout=PATIENCE)
            except grpc.aio.AioRpcError as error:
                self._ledger.failed(name, life, asked, error.code().name, error.details() or "")
            else:
                self._ledger.answered(name, life, asked, result(got))

        await asyncio.gather(*(one(asker.draw()) for _ in range(TOGETHER)))

    async def _stream(self, life: Life, channel: grpc.aio.Channel, asker: Asker, name: str) -> None:
        waiting: dict[str, Asked] = {}
        stream = channel.stream_stream(
            SERVICE + "ModelStreamInfer", pb.ModelInferRequest.SerializeToString, pb.ModelStreamInferResponse.FromString
        )(self._messages(waiting, asker), timeout=PATIENCE)
        try:
            async for answer in stream:
                asked = waiting.pop(answer.infer_response.id, None)
                if asked is None:
                    self._world.wrong(name, "one answer a message", f"another to '{answer.infer_response.id}'")
                elif answer.error_message:
                    self._failed(name, life, asked, answer.error_message)
                else:
                    self._ledger.answered(name, life, asked, result(answer.infer_response))
            code, words = await stream.code(), "the stream ended without it"
        except grpc.aio.AioRpcError as error:
            code, words = error.code(), error.details() or ""
        for asked in waiting.values():
            self._ledger.failed(name, life, asked, "UNAVAILABLE" if code.name == "OK" else code.name, words)

    def _failed(self, name: str, life: Life, asked: Asked, words: str) -> None:
        """A message that was refused; a stream says so in words alone."""
        expected = ("datatype", "INVALID_ARGUMENT") if asked.spoilt else ("version", "NOT_FOUND")
        code = expected[1] if (asked.spoilt or asked.version) and expected[0] in words else "UNKNOWN"
        self._ledger.failed(name, life, asked, code, words)

    async def _messages(self, waiting: dict[str, Any], asker: Asker) -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(STREAMED):
            asked = asker.draw()
            waiting[asked.identity] = asked
            yield message(asked)
            if number % TOGETHER == TOGETHER - 1:
                await asyncio.sleep(self._pause)
