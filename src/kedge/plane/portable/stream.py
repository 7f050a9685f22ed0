"""ModelStreamInfer: requests of one stream run side by side, their answers leave in order."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from kedge.errors import RequestError
from kedge.plane import limits
from kedge.plane.portable import encode
from kedge.plane.text import one_line
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.plane.portable.pipeline import Pipeline

_log: Final = logging.getLogger("kedge.plane")


async def serve_stream(
    pipeline: Pipeline, context: grpc.aio.ServicerContext, key_of_header: Callable[[], str | None]
) -> bool:
    """Answer the requests of a stream until the client has no more; False where the server drains first.

    At most `MAX_STREAM_IN_FLIGHT` are under way; beyond that the stream is not read, and flow control holds the client.
    """
    room = asyncio.Semaphore(limits.MAX_STREAM_IN_FLIGHT)
    order: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
    drained = asyncio.ensure_future(pipeline.drain_begins.wait())

    async def read() -> bool:
        """Start each request; True at the end of the stream, False when draining."""
        try:
            while True:
                await room.acquire()
                message = asyncio.ensure_future(context.read())
                await asyncio.wait((message, drained), return_when=asyncio.FIRST_COMPLETED)
                if not message.done():
                    message.cancel()
                    return False
                payload = message.result()
                if payload is grpc.aio.EOF:
                    return True
                order.put_nowait(asyncio.ensure_future(_reply(pipeline, payload, context, key_of_header)))
        finally:
            order.put_nowait(None)

    reader = asyncio.ensure_future(read())
    pipeline.streams += 1
    try:
        while (reply := await order.get()) is not None:
            await context.write(await reply)
            room.release()
        return await reader
    finally:
        pipeline.streams -= 1
        reader.cancel()
        drained.cancel()
        while not order.empty():
            if (reply := order.get_nowait()) is not None:
                reply.cancel()


async def _reply(
    pipeline: Pipeline, payload: bytes, context: grpc.aio.ServicerContext, key_of_header: Callable[[], str | None]
) -> bytes:
    """The stream's reply to one request: its answer, or why there is none."""
    try:
        answer = await pipeline.infer(payload, context.time_remaining(), key_of_header)
    except RequestError as error:
        reason = one_line(str(error))
    except Exception:  # noqa: BLE001  the last stop before the client
        _log.exception("a request failed in the server")
        reason = "the server failed on this request"
    else:
        return encode.in_stream(answer)
    failed = pb.ModelStreamInferResponse(error_message=reason)
    failed.infer_response.id = _id_of(payload)
    return failed.SerializeToString()


def _id_of(payload: bytes) -> str:
    try:
        return pb.ModelInferRequest.FromString(payload).id[: limits.MAX_ID_BYTES]
    except DecodeError:
        return ""
