"""The protocol messages: generated files are current, agree with stock clients, and live beside them in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from kedge.proto import inference as pb
from kedge.proto.pool import POOL

ROOT = Path(__file__).parents[3]
GENERATED = ROOT / "src" / "kedge" / "proto"


def test_generated_files_are_what_the_protos_say(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "protos" / "generate.py"), str(tmp_path)], check=True)
    made = {path.name for path in tmp_path.iterdir()}
    assert {"descriptors.binpb", "inference.py", "inference.pyi", "health.py", "reflection.py"} <= made
    stale = [name for name in made if (tmp_path / name).read_bytes() != (GENERATED / name).read_bytes()]
    assert not stale, "run `make protos`"


def test_every_field_has_the_number_and_type_stock_clients_use() -> None:
    from tritonclient.grpc import model_config_pb2, service_pb2

    theirs: dict[str, descriptor_pb2.DescriptorProto] = {}

    def collect(messages: list[descriptor_pb2.DescriptorProto], prefix: str) -> None:
        for message in messages:
            theirs[f"{prefix}.{message.name}"] = message
            collect(list(message.nested_type), f"{prefix}.{message.name}")

    for module in (service_pb2, model_config_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        collect(list(file.message_type), ".inference")

    compared = 0
    for name in ("inference/grpc_service.proto", "inference/model_config.proto"):
        file = descriptor_pb2.FileDescriptorProto()
        POOL.FindFileByName(name).CopyToProto(file)
        ours: dict[str, descriptor_pb2.DescriptorProto] = {}
        theirs, kept = ours, theirs
        collect(list(file.message_type), ".inference")
        theirs = kept
        for full_name, message in ours.items():
            fields = {field.name: field for field in theirs[full_name].field}
            for field in message.field:
                other = fields[field.name]
                assert (field.number, field.type, field.label, field.type_name) == (
                    other.number,
                    other.type,
                    other.label,
                    other.type_name,
                ), f"{full_name}.{field.name}"
                compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    "order", [("tritonclient.grpc", "kedge.proto.inference"), ("kedge.proto.inference", "tritonclient.grpc")]
)
def test_a_stock_client_and_ours_share_a_process_in_either_order(order: tuple[str, str]) -> None:
    code = (
        f"import {order[0]}, {order[1]}; from kedge.proto import inference as pb; pb.ModelInferRequest(model_name='m')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_messages_survive_a_round_trip() -> None:
    request = pb.ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"\0\1"])
    request.parameters["kedge_key"].string_param = "k"
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[2, -1])
    tensor.contents.fp32_contents.extend([0.5, 1.5])
    again = pb.ModelInferRequest.FromString(request.SerializeToString())
    assert again == request
    assert again.parameters["kedge_key"].WhichOneof("parameter_choice") == "string_param"
