"""Clients that keep a server busy and check every answer: which bundle it says it is of, and that every row is of it.

The bundles are those of `plus`: y = x + STEP k, with x below STEP, so that every row of an answer tells its bundle.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq

from kedge.build import build
from kedge.client.values import PREDICTION_IDS, request, result
from kedge.proto import inference as pb
from kedge_testing import models
from kedge_testing.serving import SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kedge.client import Result

STEP: Final = 1 << 16
"""Sums of it and rows below it are exact in float32."""
TOGETHER: Final = 4
"""Requests a client has under way at a time, so that they are batched."""
KEYS: Final = 200
STREAMED: Final = 40
"""Messages of a stream before it ends and another begins."""
SECONDS: Final = 30.0
"""An answer that takes longer is lost."""


def plus(folder: Path, version: str) -> Path:
    """Build the bundle of a version, a whole number; returns the archive."""
    onnx.save(models.plus(STEP * int(version)), folder / f"plus-{version}.onnx")
    spec = folder / f"plus-{version}.yaml"
    known = np.random.default_rng(1).integers(0, STEP, 2000).astype(np.float32)
    pq.write_table(pa.table({"x": known}), folder / "rows.parquet")  # so that rows are counted
    spec.write_text(
        f"name: plus\nversion: '{version}'\nmodel: plus-{version}.onnx\ndata: {{reference: rows.parquet}}\n"
    )
    build(spec, folder / f"plus-{version}.kedge")
    return folder / f"plus-{version}.kedge"


class Traffic:
    """Clients on a thread of their own, from the start of the context to its end. What is wrong is raised at the end.

    Half of the requests carry a key, half have one row; every third client has a stream.

    Args:
        address: of the data port.
        bundles: ids by version: no answer may be of another.
        clients: how many.
        pause: seconds a client waits between its requests.
        seed: of what they ask.

    Attributes:
        sent: requests.
        answered: requests by version and arm.
        rows: rows by version and arm.
    """

    def __init__(self, address: str, bundles: Mapping[str, str], *, clients: int, pause: float, seed: int) -> None:
        self.sent = 0
        self.answered: Counter[tuple[str, str]] = Counter()
        self.rows: Counter[tuple[str, str]] = Counter()
        self._forgotten: dict[str, Counter[tuple[str, str]]] = {"requests": Counter(), "rows": Counter()}
        self._address = address
        self._bundles = bundles
        self._clients = clients
        self._pause = pause
        self._chance = random.Random(seed)
        self._ids: set[str] = set()
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def versions(self) -> Counter[str]:
        """Requests answered so far, by version."""
        found: Counter[str] = Counter()
        for (version, _), count in self.answered.copy().items():
            found[version] += count
        return found

    def tally(self, versions: str) -> dict[str, Counter[tuple[str, str]]]:
        """Requests and rows answered so far by version and arm, of these versions; `forget` begins anew."""
        both = {"requests": self.answered - self._forgotten["requests"], "rows": self.rows - self._forgotten["rows"]}
        return {what: Counter({key: n for key, n in by.items() if key[0] in versions}) for what, by in both.items()}

    def forget(self, version: str) -> None:
        """Tally what this version answers from here on: the server dropped its counts with the bundle."""
        for what, by in (("requests", self.answered.copy()), ("rows", self.rows.copy())):
            self._forgotten[what].update(
                {key: n - self._forgotten[what][key] for key, n in by.items() if key[0] == version}
            )

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None:
            self.check()

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - raised where the context ends
            self._failure = error

    async def _work(self) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel, asyncio.TaskGroup() as group:
            for number in range(self._clients):
                group.create_task(self._streamed(channel) if number % 3 == 2 else self._unary(channel))

    async def _unary(self, channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary(SERVICE + "ModelInfer", pb.ModelInferRequest.SerializeToString,
                                   pb.ModelInferResponse.FromString)  # fmt: skip
        while not self._stop.is_set():
            asked = [self._ask() for _ in range(TOGETHER)]
            answers = await asyncio.gather(*(call(message, timeout=SECONDS) for message, _ in asked))
            for (message, x), answer in zip(asked, answers, strict=True):
                self._check(message, x, answer)
            await asyncio.sleep(self._pause)

    async def _streamed(self, channel: grpc.aio.Channel) -> None:
        open_stream = channel.stream_stream(SERVICE + "ModelStreamInfer", pb.ModelInferRequest.SerializeToString,
                                            pb.ModelStreamInferResponse.FromString)  # fmt: skip
        while not self._stop.is_set():
            asked: dict[str, tuple[pb.ModelInferRequest, Any]] = {}
            stream = open_stream(self._messages(asked), timeout=SECONDS)
            async for answer in stream:
                assert not answer.error_message, answer.error_message
                self._check(*asked.pop(answer.infer_response.id), answer.infer_response)
            assert await stream.code() is grpc.StatusCode.OK
            assert not asked, f"{len(asked)} messages of a stream were not answered"

    async def _messages(self, asked: dict[str, Any]) -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(STREAMED):
            if self._stop.is_set():
                return
            message, x = self._ask()
            asked[message.id] = message, x
            yield message
            if number % TOGETHER == TOGETHER - 1:
                await asyncio.sleep(self._pause)

    def _ask(self) -> tuple[pb.ModelInferRequest, Any]:
        """A request, and its rows."""
        chance = self._chance
        count = 1 if chance.random() < 0.5 else chance.randint(2, 9)
        x = np.array([[chance.randrange(STEP)] for _ in range(count)], np.float32)
        key = f"user {chance.randrange(KEYS)}" if chance.random() < 0.5 else None
        outputs = ("y", PREDICTION_IDS) if chance.random() < 0.5 else ()
        message = request("plus", {"x": x}, outputs=outputs, request_id=str(self.sent), key=key)
        self.sent += 1
        return message, x

    def _check(self, message: pb.ModelInferRequest, x: Any, answer: pb.ModelInferResponse) -> None:
        """Of one bundle, as the answer says; of the rows that were sent; with ids that no other answer has."""
        got: Result = result(answer)
        assert got.id == message.id
        assert got.bundle == self._bundles[got.model_version], got
        of = np.floor_divide(got.outputs["y"], STEP)
        assert (of == int(got.model_version)).all(), (
            f"rows of {sorted({*of.ravel()})} in an answer of {got.model_version}"
        )
        assert np.array_equal(got.outputs["y"] - STEP * int(got.model_version), x)
        wanted = len(x) if message.outputs else int(len(x) == 1)
        assert len(got.prediction_ids) == wanted
        before = len(self._ids)
        self._ids.update(got.prediction_ids)
        assert len(self._ids) == before + wanted, "a prediction id was given twice"
        self.answered[got.model_version, got.arm] += 1
        self.rows[got.model_version, got.arm] += len(x)
