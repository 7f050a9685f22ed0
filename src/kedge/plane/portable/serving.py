"""The serving thread: one event loop, and how other threads run something on it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from kedge.errors import PlaneError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_T = TypeVar("_T")


class ServingThread:
    """A thread that runs an event loop from now until `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_ignore_poller_race)
        self._thread = threading.Thread(target=self._serve, name="kedge-serve", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run on the thread and wait. Raises `PlaneError` once it was stopped."""
        if self._loop.is_closed():
            work.close()
            raise PlaneError("the plane was stopped")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def do(self, step: Callable[[], _T]) -> _T:
        """As `call`, for what does not wait."""

        async def work() -> _T:
            return step()

        return self.call(work())

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


def _ignore_poller_race(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Other grpc.aio loops of this process read from the same wake-up socket; whoever comes second finds it empty."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)
