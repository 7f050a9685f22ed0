"""Prediction ids: every answer of one row says what was predicted, sealed, and those of several rows on request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, only, outputs, request
from kedge_testing.trials import SALT, column, gather, root, score, split

from kedge.bundle.manifest import Distributions, Prediction, Serving
from kedge.errors import PlaneError
from kedge.plane import token
from kedge.plane.contract import Arm, TokenKey, Tokens
from kedge.plane.siphash import siphash24
from kedge.plane.token import unseal
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.plane.contract import Handle

KEY = TokenKey(7, bytes(range(16, 32)))
NEXT = TokenKey(8, bytes(range(32, 48)))
TOKENS = Tokens(KEY, boot=0xFEDCBA9876543210)
IDS = "kedge.prediction_id"


def id_of(answer: pb.ModelInferResponse) -> str | None:
    if "kedge_prediction_id" not in answer.parameters:
        return None
    return answer.parameters["kedge_prediction_id"].string_param


def opened(answer: pb.ModelInferResponse, *keys: TokenKey) -> np.void:
    """What the id of an answer holds; it must be a good one."""
    text = id_of(answer)
    assert text is not None
    assert len(text) <= token.MAX_CHARS
    row: np.void = unseal([text], keys or (KEY,))[0]
    assert row["status"] == token.VALID
    return row


def prefix(handle: Handle) -> int:
    return int(handle.bundle[:16], 16)


def with_ids(message: pb.ModelInferRequest, *names: str) -> pb.ModelInferRequest:
    for name in (*names, IDS):
        message.outputs.add(name=name)
    return message


def test_an_id_says_who_predicted_what_and_when(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    handle = served.load(root())
    served.publish(only(handle, epoch=9))
    before = int(time.time() - 0.1)  # the clock a plane reads may be some milliseconds behind this one
    answer = Caller(served.address).infer(request("root", column(0.5625)))
    row = opened(answer)
    assert before <= row["seconds"] <= time.time()
    found = {name: int(row[name]) for name in ("bundle", "epoch", "boot", "arm", "key_bits", "slice", "kind", "label")}
    assert found == {
        "bundle": prefix(handle),
        "epoch": 9,
        "boot": TOKENS.boot,
        "arm": Arm.LIVE,
        "key_bits": 0,
        "slice": 0,
        "kind": token.CLASS,
        "label": 1,
    }
    assert row["count"] == 2
    assert row["probabilities"].tolist() == [16384, 49151, 0, 0, 0, 0, 0, 0]  # 0.25 and 0.75
    assert np.isnan(row["value"])


def test_a_value_comes_as_it_was_predicted(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(gather())
    row = opened(Caller(served.address).infer(request("gather", ("i", "INT64", np.array([[3]], np.int64)))))
    assert (row["kind"], row["value"]) == (token.VALUE, 30.0)
    assert np.isnan([row["lower"], row["upper"]]).all()


def test_of_many_classes_the_first_eight_keep_their_probability(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    names = tuple(f"c{index}" for index in range(12))
    served.serve(
        bundles.Recipe(
            models.rotated(12, 0),
            "many",
            distributions=Distributions(rows=32, features=(), classes=(1,) * 13, scores=tuple(map(score, names))),
            serving=Serving(prediction=Prediction(output="y", kind="probabilities", classes=names)),
        )
    )
    p = np.arange(12, dtype=np.float32)[None] / 128
    row = opened(Caller(served.address).infer(request("many", ("x", "FP32", p))))
    assert (row["kind"], row["label"], row["count"]) == (token.CLASS, 11, 8)
    assert row["probabilities"].tolist() == [token.quantized(value) for value in p[0, :8].tolist()]


def test_without_probabilities_the_class_is_kept_and_without_a_prediction_nothing(
    listen: Callable[..., Served],
) -> None:
    served = listen(tokens=TOKENS)
    named = Serving(prediction=Prediction(output="label", kind="label", classes=("0", "1")))
    served.serve(
        bundles.Recipe(models.classes(), "labelled", serving=named), bundles.Recipe(models.classes(), "unsaid")
    )
    caller = Caller(served.address)
    x = ("x", "FP32", np.array([[0.0, 5.0]], np.float32))
    row = opened(caller.infer(request("labelled", x)))
    assert (row["kind"], row["label"], row["count"]) == (token.CLASS, 1, 0)
    row = opened(caller.infer(request("unsaid", x)))
    assert (row["kind"], row["label"], row["count"]) == (token.NONE, 0, 0)


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_several_rows_get_an_id_each_where_they_are_asked_for(listen: Callable[..., Served], form: str) -> None:
    served = listen(tokens=TOKENS)
    served.serve(root())
    caller = Caller(served.address)
    rows = column(0.0, 0.25, 0.5625, 1.0)
    plain = caller.infer(request("root", rows, form=form))
    assert id_of(plain) is None
    assert [tensor.name for tensor in plain.outputs] == ["probabilities"]
    answer = caller.infer(with_ids(request("root", rows, form=form), "probabilities"))
    assert id_of(answer) is None
    found = outputs(answer)
    assert set(found) == {"probabilities", IDS}
    assert found[IDS].shape == (4,)
    table = unseal([text.decode() for text in found[IDS]], [KEY])
    assert (table["status"] == token.VALID).all()
    assert table["label"].tolist() == [0, 0, 1, 1]
    assert table["probabilities"][:, 1].tolist() == [0, 32768, 49151, 65535]
    assert len(set(table["sequence"].tolist())) == 4
    np.testing.assert_array_equal(found["probabilities"], outputs(plain)["probabilities"])


def test_one_row_that_asks_by_name_gets_the_same_id_both_ways(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(root())
    answer = Caller(served.address).infer(with_ids(request("root", column(0.25))))
    found = outputs(answer)
    assert set(found) == {IDS}
    assert [text.decode() for text in found[IDS]] == [id_of(answer)]


def test_no_rows_have_no_ids(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(root())
    answer = Caller(served.address).infer(with_ids(request("root", column()), "probabilities"))
    assert id_of(answer) is None
    assert outputs(answer)[IDS].shape == (0,)


def test_a_key_leaves_its_low_bits_and_a_split_its_arm(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(split(one, two, 1.0, epoch=2**32 + 5))
    caller = Caller(served.address)
    message = request("root", column(0.25))
    message.parameters["kedge_key"].string_param = "user-7"
    place = siphash24(SALT, (int(time.time()) // 10**9).to_bytes(8, "little") + b"user-7")
    for answer in (
        caller.infer(message),
        caller.infer(request("root", column(0.25)), metadata=(("x-kedge-key", "user-7"),)),
    ):
        row = opened(answer)
        assert (row["arm"], row["epoch"], row["bundle"]) == (Arm.CANARY, 5, prefix(two))
        assert row["key_bits"] == place & 0xFFFFF
    assert opened(caller.infer(request("root", column(0.25))))["key_bits"] == 0
    row = opened(caller.infer(request("root", column(0.25), version="1")))
    assert (row["arm"], row["bundle"]) == (Arm.PINNED, prefix(one))


def test_rows_of_a_request_without_a_key_are_one_unit_of_a_split(listen: Callable[..., Served]) -> None:
    """Else one bad request of many rows would look like many bad predictions of a canary."""
    served = listen(tokens=TOKENS)
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(split(one, two, 0.5))
    caller = Caller(served.address)
    seen = set()
    for _ in range(4):
        answer = caller.infer(with_ids(request("root", column(0.25, 0.5, 0.75))))
        rows = unseal([text.decode() for text in outputs(answer)[IDS]], [KEY])
        (bits,) = set(rows["key_bits"].tolist())
        assert bits != 0
        seen.add(bits)
    assert len(seen) == 4


def test_no_two_ids_are_equal(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    one, two = served.load(root(1)), served.load(root(2))
    served.publish(split(one, two, 0.5))
    caller = Caller(served.address)
    calls = [caller.future(request("root", column(0.25))) for _ in range(200)]
    texts = [id_of(pb.ModelInferResponse.FromString(call.result())) or "" for call in calls]
    table = unseal(texts, [KEY])
    assert (table["status"] == token.VALID).all()
    assert len({(row["boot"], row["shard"], row["sequence"]) for row in table}) == 200


def test_another_key_seals_from_then_on_and_the_old_one_still_reads(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(root())
    caller = Caller(served.address)
    old = caller.infer(request("root", column(0.25)))
    served.plane.configure(tokens=Tokens(NEXT, boot=3))
    new = caller.infer(request("root", column(0.25)))
    assert opened(new, NEXT)["boot"] == 3
    assert opened(old, NEXT, KEY)["boot"] == TOKENS.boot
    assert unseal([id_of(old) or ""], [NEXT])["status"] == token.EXPIRED
    assert unseal([id_of(new) or ""], [TokenKey(NEXT.id, KEY.secret)])["status"] == token.FORGED


def test_a_changed_id_is_forged(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(root())
    text = id_of(Caller(served.address).infer(request("root", column(0.25)))) or ""
    swapped = {"A": "B"}
    forged = [text[:at] + swapped.get(text[at], "A") + text[at + 1 :] for at in range(4, len(text))]
    assert set(unseal(forged, [KEY])["status"].tolist()) == {token.FORGED}


def test_a_stream_carries_them_too(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(root())
    replies = Caller(served.address).stream(iter([request("root", column(value)) for value in (0.25, 1.0)]), timeout=30)
    assert [int(opened(reply.infer_response)["label"]) for reply in replies] == [0, 1]


def _refused(served: Served, message: pb.ModelInferRequest) -> str:
    code, text = Caller(served.address).refusal(message)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert IDS in text
    return text


def test_without_a_key_there_are_none(listen: Callable[..., Served]) -> None:
    served = listen()
    served.serve(root())
    assert id_of(Caller(served.address).infer(request("root", column(0.25)))) is None
    assert "seals no predictions" in _refused(served, with_ids(request("root", column(0.25))))


def test_a_bundle_without_outcomes_has_none(listen: Callable[..., Served]) -> None:
    served = listen(tokens=TOKENS)
    served.serve(bundles.Recipe(models.root(), "root", serving=Serving(outcomes=False)))
    assert id_of(Caller(served.address).infer(request("root", column(0.25)))) is None
    assert "no outcomes" in _refused(served, with_ids(request("root", column(0.25))))


@pytest.mark.parametrize(
    "tokens",
    [Tokens(TokenKey(256, bytes(16)), 1), Tokens(TokenKey(1, b"short"), 1), Tokens(TokenKey(1, bytes(16)), 2**64)],
)
def test_a_key_that_cannot_seal_is_refused(listen: Callable[..., Served], tokens: Tokens) -> None:
    served = listen(tokens=TOKENS)
    with pytest.raises(PlaneError):
        served.plane.configure(tokens=tokens)
    served.serve(root())
    opened(Caller(served.address).infer(request("root", column(0.25))))
