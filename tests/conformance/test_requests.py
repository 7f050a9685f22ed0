"""Ids, versions, outputs asked for, and parameters."""

import grpc
import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, only, outputs, request

from kedge.plane.contract import Arm, ArmRoute, Route
from kedge.proto import inference as pb

ONE = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)


def add_request(**keywords: str) -> pb.ModelInferRequest:
    return request("add", ("a", "FP32", ONE), ("b", "FP32", ONE), **keywords)


@pytest.mark.parametrize("identity", ["", "7", "grüße", "x" * 5000])
def test_the_id_is_echoed(caller: Caller, identity: str) -> None:
    assert caller.infer(add_request(identity=identity)).id == identity


def test_the_answer_names_who_answered(caller: Caller, served: Served) -> None:
    answer = caller.infer(add_request())
    bundle = next(bundle for bundle in served.stored() if bundle.name == "add")
    assert (answer.model_name, answer.model_version) == ("add", "1.2.0")
    assert answer.parameters["kedge_bundle"].string_param == bundle.id
    assert answer.parameters["kedge_arm"].string_param == "live"


def test_a_named_version_answers_and_is_counted_as_pinned(caller: Caller) -> None:
    answer = caller.infer(add_request(version="1.2.0"))
    assert answer.model_version == "1.2.0"
    assert answer.parameters["kedge_arm"].string_param == "pinned"


def test_all_outputs_come_in_the_models_order_when_none_is_asked(caller: Caller) -> None:
    assert [tensor.name for tensor in caller.infer(add_request()).outputs] == ["sum", "difference"]


def test_outputs_asked_for_come_in_the_order_asked(caller: Caller) -> None:
    message = add_request()
    message.outputs.add(name="difference")
    message.outputs.add(name="sum")
    answer = caller.infer(message)
    assert [tensor.name for tensor in answer.outputs] == ["difference", "sum"]
    assert outputs(answer)["sum"].tolist() == (2 * ONE).tolist()


@pytest.mark.parametrize(("names", "word"), [(["nope"], "unknown output 'nope'"), (["sum", "sum"], "duplicate")])
def test_unknown_and_duplicate_outputs_are_refused(caller: Caller, names: list[str], word: str) -> None:
    message = add_request()
    for name in names:
        message.outputs.add(name=name)
    code, text = caller.refusal(message)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert word in text
    assert "'add'" in text


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("priority", "uint64_param", 3),
        ("timeout", "int64_param", 30_000_000),
        ("timeout", "int64_param", 0),
        ("timeout", "int64_param", 2**63 - 1),
        ("timeout", "uint64_param", 2**64 - 1),
        ("binary_data_output", "bool_param", True),
        ("headers", "string_param", "x"),
        ("sequence_id", "int64_param", 0),
        ("sequence_start", "bool_param", False),
        ("kedge_confidence", "bool_param", False),
        ("kedge_key", "string_param", "user-1"),
        ("anything", "double_param", 0.5),
    ],
)
def test_parameters_that_are_taken(caller: Caller, name: str, field: str, value: object) -> None:
    message = add_request()
    setattr(message.parameters[name], field, value)
    assert len(caller.infer(message).outputs) == 2


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("sequence_id", "int64_param", 5),
        ("sequence_id", "string_param", "s"),
        ("sequence_start", "bool_param", True),
        ("timeout", "int64_param", -1),
        ("timeout", "string_param", "1"),
        ("priority", "string_param", "high"),
        ("binary_data_output", "int64_param", 1),
        ("kedge_key", "int64_param", 1),
        ("kedge_key", "string_param", "k" * 2000),
        ("kedge_confidence", "bool_param", True),
        ("triton_unheard_of", "bool_param", True),
        ("kedge_unheard_of", "bool_param", True),
    ],
)
def test_parameters_that_are_refused_are_named(caller: Caller, name: str, field: str, value: object) -> None:
    message = add_request()
    setattr(message.parameters[name], field, value)
    code, text = caller.refusal(message)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert name in text


def test_a_parameter_without_a_value_is_refused(caller: Caller) -> None:
    message = add_request()
    message.parameters["timeout"].SetInParent()
    assert caller.refusal(message)[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_shared_memory_and_classification_are_refused(caller: Caller) -> None:
    shared = add_request()
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    classified = add_request()
    classified.outputs.add(name="sum").parameters["classification"].int64_param = 3
    for message, word in ((shared, "shared memory"), (classified, "classification")):
        code, text = caller.refusal(message)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert word in text


def test_versions_not_routed_are_not_found_and_routed_ones_answer(listen) -> None:
    served = listen()
    old, new = (served.load(bundles.Recipe(models.plus(v), "plus", version=str(v))) for v in (1, 2))
    served.publish(Route("plus", 1, (ArmRoute(new, Arm.LIVE, 1.0),), pinned=(old,)))
    caller = Caller(served.address)
    zero = ("x", "FP32", np.zeros((1, 1), np.float32))
    for version, want in (("", 2.0), ("1", 1.0), ("2", 2.0)):
        answer = caller.infer(request("plus", zero, version=version))
        assert outputs(answer)["y"].item() == want
        assert answer.model_version == (version or "2")
    served.publish(only(new, epoch=2))
    code, text = caller.refusal(request("plus", zero, version="1"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "version '1' of model 'plus'" in text
