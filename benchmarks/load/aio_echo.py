"""The emptiest server grpc.aio allows: answers every call with the bytes of a file, no protobuf anywhere.

python -m benchmarks.load.aio_echo ANSWER_FILE    prints its port, serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    def __init__(self, answer: bytes) -> None:
        async def handle(_: bytes, __: Any) -> bytes:
            return answer

        self._handler = grpc.unary_unary_rpc_method_handler(handle)

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._handler


async def main(answer: bytes) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(answer),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes()))
