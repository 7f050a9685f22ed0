"""Prediction ids on the native plane: read in bulk as the portable codec reads them, and sealed by many threads."""

from __future__ import annotations

import importlib.util
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import bundles, models, serving

from kedge.bundle.manifest import Batching, Conformal, Distributions, Execution, Prediction, Serving
from kedge.kernel.select import available, select
from kedge.kernel.snapshot import Counts
from kedge.plane import cells, token
from kedge.plane.contract import TokenKey, Tokens
from kedge.plane.token import Label, Sealed, Value, seal
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    "native" not in available() or importlib.util.find_spec("kedge._dataplane") is None,
    reason="the native plane is not in this build",
)

KEY = TokenKey(3, bytes(range(1, 17)))
GONE = TokenKey(9, bytes(16))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[serving.Served]:
    from kedge.plane.native import NativePlane

    one = serving.listen(
        lambda kernel: NativePlane(kernel, shards=2, isolate=False), select("native"), tmp_path, tokens=Tokens(KEY, 5)
    )
    yield one
    one.plane.stop()


def many() -> list[str]:
    """Ids of every kind, and texts that are none."""
    rng = np.random.default_rng(8)
    texts = []
    for number in range(400):
        numbers = rng.integers(0, 2**16, 12).tolist()
        kinds = (None, Value(*rng.normal(size=3).tolist()), Label(numbers[0], tuple(numbers[1 : 1 + number % 9])))
        texts.append(
            seal(
                Sealed(
                    bundle=rng.bytes(8),
                    epoch=numbers[9],
                    boot=2**64 - 1 - number,
                    shard=numbers[10],
                    sequence=2**48 - 1 - number,
                    seconds=2**32 - 1 - number,
                    slice=numbers[11],
                    arm=number % 5,
                    key_bits=number,
                    predicted=kinds[number % 3],
                ),
                GONE if number % 10 == 0 else KEY,
            )
        )
    return [*texts, "", "A" * 96, "\u00e9" * 64, texts[1][:-1], texts[1] + "A", "x" * 100_000]


def test_ids_are_read_to_the_last_byte_as_the_portable_codec_reads_them() -> None:
    from kedge.plane.native.tokens import unseal

    texts = many()
    expected = token.unseal(texts, [KEY])
    assert set(expected["status"].tolist()) == {token.VALID, token.FORGED, token.EXPIRED}
    assert unseal(texts, [KEY]).tobytes() == expected.tobytes()
    assert unseal([], [KEY]).shape == (0,)


def test_bytes_are_texts_too_and_nothing_else_is() -> None:
    from kedge._dataplane import unseal_tokens

    texts = many()[:3]
    assert unseal_tokens([text.encode() for text in texts], [(KEY.id, KEY.secret)]) == unseal_tokens(
        texts, [(KEY.id, KEY.secret)]
    )
    with pytest.raises(TypeError, match="str or bytes"):
        unseal_tokens([1], [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 bytes"):
        unseal_tokens(texts, [(1, b"short")])


def test_a_list_may_change_while_its_ids_are_read() -> None:
    from kedge._dataplane import unseal_tokens

    texts = many() * 50
    expected = unseal_tokens(list(texts), [(KEY.id, KEY.secret)])
    stop = threading.Event()

    def shuffle() -> None:
        while not stop.is_set():
            texts[:] = ["".join(text) for text in texts]  # every str is another object

    with ThreadPoolExecutor(1) as pool:
        pool.submit(shuffle)
        try:
            assert all(unseal_tokens(texts, [(KEY.id, KEY.secret)]) == expected for _ in range(20))
        finally:
            stop.set()


def _ask(served: serving.Served, model: str, count: int) -> list[pb.ModelInferResponse]:
    """Answers to requests of several connections at a time, half of them with three rows."""

    def some(rows: int) -> list[pb.ModelInferResponse]:
        caller = serving.Caller(served.address)
        asked = serving.request(model, ("x", "FP32", np.ones((rows, 1), np.float32)))
        if rows > 1:
            asked.outputs.add(name="kedge.prediction_id")
        calls = [caller.future(asked) for _ in range(count)]
        answers = [pb.ModelInferResponse.FromString(call.result()) for call in calls]
        caller.channel.close()
        return answers

    with ThreadPoolExecutor(4) as pool:
        return [answer for part in pool.map(some, (1, 3, 1, 3)) for answer in part]


def _ids(answers: list[pb.ModelInferResponse]) -> list[str]:
    texts = []
    for answer in answers:
        found = serving.outputs(answer)
        if "kedge.prediction_id" in found:
            texts += [text.decode() for text in found["kedge.prediction_id"]]
        else:
            texts.append(answer.parameters["kedge_prediction_id"].string_param)
    return texts


def _recipe(name: str, mode: Any, instances: int = 1) -> bundles.Recipe:
    execution = Execution(mode=mode, instances=instances)
    return bundles.Recipe(models.plus(1), name, serving=Serving(execution=execution, batching=Batching(max_batch=4)))


def test_no_two_ids_are_equal_whoever_ran_them(served: serving.Served) -> None:
    served.serve(_recipe("inline", "inline"))
    texts = _ids(_ask(served, "inline", 30))
    for round_number in range(3):  # executors come and go, and their numbers are used again
        (handle,) = served.serve(_recipe(f"pool-{round_number}", "pool", instances=3))
        texts += _ids(_ask(served, handle.model, 30))
        served.publish(*(route for route in served.routes.routes if route.model != handle.model))
        served.plane.retire(handle, 10.0)
    table = token.unseal(texts, [KEY])
    assert (table["status"] == token.VALID).all()
    assert len({(row["shard"], row["sequence"]) for row in table}) == len(texts) == 4 * (60 + 180)
    assert table["shard"].max() < 2 + 1 + 3  # shards, the executor of the first model, those of the others


def test_an_answer_whose_confidence_cannot_be_told_is_counted_as_what_it_was(served: serving.Served) -> None:
    # The output that the bundle calls sigma has four values a row.
    conformal = Conformal(score="scaled", edges=(0.0, 1.0), counts=(20,), n=20)
    served.serve(
        bundles.Recipe(
            models.add(),
            "add",
            distributions=Distributions(rows=20, features=(), conformal=conformal),
            serving=Serving(prediction=Prediction(output="sum", kind="value", sigma_output="difference")),
        )
    )
    x = np.ones((1, 4), np.float32)
    asked = serving.request("add", ("a", "FP32", x), ("b", "FP32", x))
    asked.parameters["kedge_confidence"].bool_param = True
    caller = serving.Caller(served.address)
    code, text = caller.refusal(asked)
    assert (code.name, text) == ("INTERNAL", "model 'add' version '1' gave no prediction as its bundle describes it")
    asked.parameters["kedge_confidence"].bool_param = False
    caller.infer(asked)

    def statuses() -> list[int]:
        (cell,) = cells.decode(served.snapshot()).values()
        (bundle,) = served.stored()
        return [int(count) for count in Counts.parse(cell.counts, bundle.layout()).status]

    serving.eventually(lambda: sum(statuses()) == 2)
    assert (statuses()[0], statuses()[13]) == (1, 1)
    caller.channel.close()
