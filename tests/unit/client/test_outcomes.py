"""Labels as messages, in batches, and answers as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from kedge.client import ClassIndex, Reported
from kedge.client.outcomes import reported, requests
from kedge.client.values import PREDICTION_IDS, result
from kedge.errors import RequestError
from kedge.proto import inference as inference_pb
from kedge.proto import outcomes as pb


def test_labels_become_messages_of_at_most_so_many() -> None:
    labels = [("a", "yes"), ("b", 1), ("c", 0.5), ("d", ClassIndex(2)), ("e", np.int64(3)), ("f", True)]
    messages = list(requests(labels, batch=4))
    assert [len(message.outcomes) for message in messages] == [4, 2]
    found = [outcome for message in messages for outcome in message.outcomes]
    assert [outcome.prediction_id for outcome in found] == list("abcdef")
    kinds = ["class_name", "number", "number", "class_index", "number", "number"]
    assert [outcome.WhichOneof("label") for outcome in found] == kinds
    assert [found[1].number, found[2].number, found[3].class_index, found[4].number, found[5].number] == [
        1,
        0.5,
        2,
        3,
        1,
    ]
    assert list(requests([])) == []


@pytest.mark.parametrize("label", [None, b"yes", [1], ClassIndex(-1), ClassIndex(2**32)])
def test_what_is_no_label_is_refused_before_it_is_sent(label: object) -> None:
    with pytest.raises(RequestError, match="class"):
        list(requests([("a", label)]))  # type: ignore[list-item]


def test_answers_add_up() -> None:
    one = reported(pb.ReportResponse(accepted=2, late=1, forged=3))
    assert one + Reported(accepted=5, duplicate=1) == Reported(accepted=7, late=1, forged=3, duplicate=1)
    assert one.total == 6


def test_ids_come_from_the_parameter_or_the_output() -> None:
    answer = inference_pb.ModelInferResponse()
    assert result(answer).prediction_ids == ()
    answer.parameters["kedge_prediction_id"].string_param = "one"
    assert result(answer).prediction_ids == ("one",)
    answer.outputs.add(name=PREDICTION_IDS, datatype="BYTES", shape=[2])
    answer.raw_output_contents.append(b"\3\0\0\0one\3\0\0\0two")
    assert result(answer).prediction_ids == ("one", "two")
    assert result(answer).outputs == {}
