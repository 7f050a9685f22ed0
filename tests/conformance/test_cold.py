"""Metadata, configuration, statistics, repository, health and reflection, through stock clients."""

import json

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, Served, eventually, only, request

from kedge import __version__
from kedge.bundle.manifest import Batching, Execution, Feature, Schema, Serving, Source
from kedge.proto import health as health_pb
from kedge.proto import inference as pb
from kedge.proto import reflection as reflection_pb

Serving_ = health_pb.HealthCheckResponse.ServingStatus


@pytest.fixture
def client(served: Served):
    from tritonclient import grpc as triton

    with triton.InferenceServerClient(served.address) as one:
        yield one


def test_server_metadata_advertises_only_what_is_honoured(client) -> None:
    metadata = client.get_server_metadata()
    assert (metadata.name, metadata.version) == ("kedge", __version__)
    assert sorted(metadata.extensions) == [
        "kedge_confidence",
        "kedge_key",
        "kedge_prediction_id",
        "model_configuration",
        "statistics",
    ]


def test_model_metadata(client) -> None:
    metadata = client.get_model_metadata("add")
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("add", ["1.2.0"], "onnxruntime_onnx")
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("a", "FP32", [-1, 4]),
        ("b", "FP32", [-1, 4]),
    ]
    assert [t.name for t in metadata.outputs] == ["sum", "difference"]
    assert list(client.get_model_metadata("add", "1.2.0").versions) == ["1.2.0"]


def test_config_of_a_batchable_model_omits_the_batch_dimension(client) -> None:
    config = client.get_model_config("add").config
    assert config.max_batch_size == 256
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("a", 11, [4]), ("b", 11, [4])]
    assert config.HasField("dynamic_batching")
    assert config.backend == "onnxruntime"


def test_config_of_another_model_keeps_every_dimension(client) -> None:
    config = client.get_model_config("nonzero").config
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [-1]
    assert not config.HasField("dynamic_batching")


def test_config_names_the_columns_of_wide_inputs(listen) -> None:
    def feature(name: str, tensor: str, column: int, kind="numeric") -> Feature:
        return Feature(name=name, dtype="FP32", source=Source(tensor=tensor, column=column), kind=kind)

    schema = Schema(
        features=(
            feature("late", "a", 3),
            feature("temp", "a", 0),
            feature("höhe", "a", 1),
            feature("b mean", "b", 0, "summary"),
        )
    )
    served = listen()
    served.serve(
        bundles.Recipe(models.add(), "add", schema=schema),
        bundles.Recipe(models.plus(1), "narrow", schema=Schema(features=(feature("one", "x", 0),))),
    )
    caller = Caller(served.address)

    def parameters(name: str) -> dict[str, str]:
        answer = caller.call("ModelConfig", pb.ModelConfigRequest(name=name), pb.ModelConfigResponse)
        return {key: parameter.string_value for key, parameter in answer.config.parameters.items()}

    told = parameters("add")
    assert set(told) == {"kedge_bundle", "kedge.columns.a"}
    assert json.loads(told["kedge.columns.a"]) == ["temp", "höhe", None, "late"]
    assert set(parameters("narrow")) == {"kedge_bundle"}


@pytest.mark.parametrize("name", ["identity-bytes", "identity-bf16", "identity-bool"])
def test_config_names_every_element_type(client, name: str) -> None:
    wanted = {"identity-bytes": "TYPE_STRING", "identity-bf16": "TYPE_BF16", "identity-bool": "TYPE_BOOL"}[name]
    data_type = client.get_model_config(name).config.input[0].data_type
    assert pb.DataType.Name(data_type) == wanted


def test_statistics_are_what_was_served(listen) -> None:
    served = listen()
    serving = Serving(execution=Execution(mode="pool"), batching=Batching(max_batch=1))
    served.serve(bundles.Recipe(models.slow_rows(), "m", serving=serving), bundles.Recipe(models.plus(1), "quiet"))
    caller = Caller(served.address)
    for _ in range(7):
        caller.infer(request("m", ("x", "FP32", np.zeros((1, 1), np.float32))))
    caller.refusal(request("m", ("x", "FP64", np.zeros((1, 1)))))

    def statistics(name: str = "") -> dict[str, pb.ModelStatistics]:
        message = pb.ModelStatisticsRequest(name=name)
        answer = caller.call("ModelStatistics", message, pb.ModelStatisticsResponse)
        return {model.name: model for model in answer.model_stats}

    def counted() -> tuple[int, int]:
        found = statistics("m")["m"].inference_stats
        return int(found.success.count), int(found.fail.count)

    eventually(lambda: counted() == (7, 1))
    m = statistics("m")["m"]
    assert m.execution_count == 7
    assert m.inference_stats.fail.count == 1
    assert m.inference_stats.queue.count == 7
    assert 0 < m.inference_stats.compute_infer.ns < 60e9
    assert [(batch.batch_size, batch.compute_infer.count) for batch in m.batch_stats] == [(1, 7)]
    assert statistics()["quiet"].inference_stats.success.count == 0
    for bad, code in (
        (pb.ModelStatisticsRequest(name="nope"), grpc.StatusCode.NOT_FOUND),
        (pb.ModelStatisticsRequest(version="1"), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            caller.call("ModelStatistics", bad, pb.ModelStatisticsResponse)
        assert caught.value.code() is code


def test_the_repository_index_says_what_is_deployed(listen) -> None:
    served = listen()
    one = served.load(bundles.Recipe(models.plus(1), "plus", version="1"))
    served.load(bundles.Recipe(models.plus(2), "plus", version="2"))
    served.publish(only(one))
    from tritonclient import grpc as triton

    with triton.InferenceServerClient(served.address) as client:
        states = {(model.name, model.version): model.state for model in client.get_model_repository_index().models}
    assert states == {("plus", "1"): "READY", ("plus", "2"): "UNAVAILABLE"}
    caller = Caller(served.address)
    ready = caller.call("RepositoryIndex", pb.RepositoryIndexRequest(ready=True), pb.RepositoryIndexResponse)
    assert [model.version for model in ready.models] == ["1"]


@pytest.mark.parametrize(
    "method",
    ["SystemSharedMemoryStatus", "CudaSharedMemoryRegister", "TraceSetting", "LogSettings"],
)
def test_what_is_not_supported_is_unimplemented_and_says_so(caller: Caller, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        caller.raw(method, b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == f"{method} is not supported by this server"


def check(caller: Caller, service: str) -> int:
    answer = caller.channel.unary_unary("/grpc.health.v1.Health/Check")(
        health_pb.HealthCheckRequest(service=service).SerializeToString(), timeout=10
    )
    return health_pb.HealthCheckResponse.FromString(answer).status


def watch(caller: Caller, service: str):
    return caller.channel.unary_stream(
        "/grpc.health.v1.Health/Watch", response_deserializer=health_pb.HealthCheckResponse.FromString
    )(health_pb.HealthCheckRequest(service=service).SerializeToString(), timeout=30)


def test_health_check(caller: Caller) -> None:
    assert check(caller, "") == Serving_.Value("SERVING")
    assert check(caller, "add") == Serving_.Value("SERVING")
    with pytest.raises(grpc.RpcError) as caught:
        check(caller, "nope")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_watch_tells_every_change_once(listen) -> None:
    served = listen()
    caller = Caller(served.address)
    server, model = watch(caller, ""), watch(caller, "plus")
    assert next(server).status == Serving_.Value("NOT_SERVING")
    assert next(model).status == Serving_.Value("SERVICE_UNKNOWN")
    (handle,) = served.serve(bundles.Recipe(models.plus(1), "plus"))
    assert next(server).status == Serving_.Value("SERVING")
    assert next(model).status == Serving_.Value("SERVING")
    served.publish(only(handle, epoch=2))
    served.draining = True
    served.cold.refresh()
    assert next(server).status == Serving_.Value("NOT_SERVING")
    assert next(model).status == Serving_.Value("NOT_SERVING")
    assert check(caller, "") == Serving_.Value("SERVING")  # the plane itself does not drain yet
    model.cancel()
    assert served.plane.drain(5.0)
    with pytest.raises(grpc.RpcError) as caught:
        next(server)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_reflection_describes_every_service(served: Served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = database.get_services()
        assert set(services) == {
            "inference.GRPCInferenceService",
            "kedge.v1.Outcomes",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        assert service.FindMethodByName("ModelInfer").input_type.full_name == "inference.ModelInferRequest"
        assert pool.FindMessageTypeByName("inference.ModelConfig").fields_by_name["max_batch_size"].number == 4


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_answers_each_question_and_ends_with_the_client(caller: Caller, version: str) -> None:
    questions = [
        reflection_pb.ServerReflectionRequest(list_services=""),
        reflection_pb.ServerReflectionRequest(file_by_filename="inference/grpc_service.proto"),
        reflection_pb.ServerReflectionRequest(file_by_filename="no.proto"),
        reflection_pb.ServerReflectionRequest(file_containing_symbol="no.Symbol"),
        reflection_pb.ServerReflectionRequest(all_extension_numbers_of_type="inference.ModelConfig"),
        reflection_pb.ServerReflectionRequest(),
    ]
    answers = list(
        caller.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reflection_pb.ServerReflectionResponse.FromString,
        )(iter(questions), timeout=10)
    )
    kinds = [answer.WhichOneof("message_response") for answer in answers]
    assert kinds == ["list_services_response", "file_descriptor_response", *["error_response"] * 4]
    assert len(answers[1].file_descriptor_response.file_descriptor_proto) == 2
    assert [answer.original_request for answer in answers] == questions


def test_many_cold_calls_at_once(caller: Caller) -> None:
    payload = pb.ModelMetadataRequest(name="add").SerializeToString()
    method = caller.channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
    calls = [method.future(payload, timeout=30) for _ in range(200)]
    assert {pb.ModelMetadataResponse.FromString(call.result()).name for call in calls} == {"add"}
