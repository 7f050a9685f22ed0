"""Clients that never stop: flights sent one a request while rollouts go on, and their labels reported."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from kedge.client import AsyncClient, Reported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

AT_A_TIME: Final = 32
"""Requests under way: enough to keep a server busy, few enough to leave it the other core."""
REPORT_EVERY: Final = 500
"""Labels a message."""


class Stream:
    """Sends rows to a model, one a request, over and over, from its start to its stop. Used as a context.

    Args:
        address: ``host:port`` of the data port.
        model: its name.
        rows: [N, 1] a raw feature, by name.
        labels: [N] class of each row, reported after its prediction as its outcome.

    Attributes:
        answered: requests so far; each of them was answered, for the first that is not ends the stream.
        reported: what became of the labels; complete once the stream has stopped.
    """

    def __init__(self, address: str, model: str, rows: Mapping[str, NDArray[Any]], labels: NDArray[Any]) -> None:
        self.answered = 0
        self.reported = Reported()
        self._address = address
        self._model = model
        self._rows = rows
        self._labels = labels
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kedge-demo-stream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let requests under way end. Raises what ended the stream before."""
        self._stopping.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what ended the stream, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._failure = error

    async def _send(self) -> None:
        places = itertools.cycle(range(len(self._labels)))
        async with AsyncClient(self._address) as client, asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self._client(client, places))

    async def _client(self, client: AsyncClient, places: Iterator[int]) -> None:
        labels: list[tuple[str, str]] = []
        for place in places:
            if self._stopping.is_set():
                break
            row = {name: values[place : place + 1] for name, values in self._rows.items()}
            answer = await client.infer(self._model, row)
            labels += [(identity, str(self._labels[place])) for identity in answer.prediction_ids]
            self.answered += 1
            if len(labels) == REPORT_EVERY:
                await self._report(client, labels)
                labels = []
        await self._report(client, labels)

    async def _report(self, client: AsyncClient, labels: list[tuple[str, str]]) -> None:
        reported = await client.report(labels)
        self.reported += reported  # in a statement of its own: others add to it while this one waits
