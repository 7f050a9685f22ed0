"""ServerMetadata, ModelMetadata, ModelConfig and the repository's methods."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from kedge import __version__
from kedge.bundle.contents import MODEL
from kedge.errors import Code, RequestError
from kedge.plane.cold.routes import find, handles
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from kedge.bundle.manifest import Schema, TensorSpec
    from kedge.plane.cold.facts import Facts

EXTENSIONS: Final = ("model_configuration", "statistics", "kedge_key", "kedge_confidence", "kedge_prediction_id")
"""Extensions of the protocol that are honoured, and no others; our own by the parameter that asks or answers."""
PLATFORM: Final = "onnxruntime_onnx"
BACKEND: Final = "onnxruntime"
COLUMNS: Final = "kedge.columns."
"""Before the name of a [N, F] input: the parameter that names its columns."""
_CONFIG_TYPES: Final = {"BYTES": "TYPE_STRING"}


def server_metadata(_: pb.ServerMetadataRequest, __: Facts) -> pb.ServerMetadataResponse:
    """Name, version, extensions."""
    return pb.ServerMetadataResponse(name="kedge", version=__version__, extensions=EXTENSIONS)


def model_metadata(request: pb.ModelMetadataRequest, facts: Facts) -> pb.ModelMetadataResponse:
    """Inputs and outputs of a model, and the versions that answer."""
    route, handle = find(facts.table(), request.name, request.version)
    manifest = facts.bundle(handle.bundle).manifest
    return pb.ModelMetadataResponse(
        name=handle.model,
        versions=[request.version] if request.version else [other.version for other in handles(route)],
        platform=PLATFORM,
        inputs=map(_described, manifest.inputs),
        outputs=map(_described, manifest.outputs),
    )


def _described(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.dtype, shape=spec.shape)


def model_config(request: pb.ModelConfigRequest, facts: Facts) -> pb.ModelConfigResponse:
    """How a model is served. With `max_batch_size` above 0, dims omit the batch dimension.

    ``parameters`` name the bundle and, for every [N, F] input whose schema names columns, those columns in order.
    """
    _, handle = find(facts.table(), request.name, request.version)
    bundle = facts.bundle(handle.bundle)
    manifest, batching, execution = bundle.manifest, bundle.serving.batching, bundle.serving.execution
    config = pb.ModelConfig(
        name=handle.model,
        platform=PLATFORM,
        backend=BACKEND,
        default_model_filename=MODEL.rpartition("/")[2],
        max_batch_size=batching.max_batch if manifest.batchable else 0,
    )
    skipped = 1 if manifest.batchable else 0
    for spec in manifest.inputs:
        config.input.add(name=spec.name, data_type=_type(spec.dtype), dims=spec.shape[skipped:])
    for spec in manifest.outputs:
        config.output.add(name=spec.name, data_type=_type(spec.dtype), dims=spec.shape[skipped:])
    config.instance_group.add(name=handle.model, count=execution.instances, kind=pb.ModelInstanceGroup.KIND_CPU)
    if manifest.batchable:
        config.dynamic_batching.max_queue_delay_microseconds = batching.max_queue_delay_us
    config.parameters["kedge_bundle"].string_value = handle.bundle
    for spec in manifest.inputs:
        if any(names := _columns(spec, bundle.schema)):
            config.parameters[COLUMNS + spec.name].string_value = json.dumps(names, ensure_ascii=False)
    return pb.ModelConfigResponse(config=config)


def _columns(spec: TensorSpec, schema: Schema) -> list[str | None]:
    """Names of the columns of a [N, F] input, None where the schema has none; empty for inputs of another shape."""
    if len(spec.shape) != 2 or spec.shape[1] == 1:
        return []
    named = {
        feature.source.column: feature.name
        for feature in schema.features
        if feature.source.tensor == spec.name and feature.kind != "summary"
    }
    width = spec.shape[1] if spec.shape[1] > 0 else max(named, default=-1) + 1
    return [named.get(column) for column in range(width)]


def _type(dtype: str) -> int:
    return pb.DataType.Value(_CONFIG_TYPES.get(dtype, f"TYPE_{dtype}"))


def repository_index(request: pb.RepositoryIndexRequest, facts: Facts) -> pb.RepositoryIndexResponse:
    """Every bundle in the store, ready where the table in force reaches it."""
    if request.repository_name:
        raise RequestError(Code.NOT_FOUND, "there is one repository, and its name is empty")
    routed = {handle.bundle for route in facts.table().routes for handle in handles(route)}
    response = pb.RepositoryIndexResponse()
    for bundle in facts.stored():
        ready = bundle.id in routed
        if ready or not request.ready:
            response.models.add(
                name=bundle.name,
                version=bundle.version,
                state="READY" if ready else "UNAVAILABLE",
                reason="" if ready else "not deployed",
            )
    return response


def repository_change(_: object, __: Facts) -> pb.RepositoryModelLoadResponse:
    """Load and Unload: never on this port."""
    raise RequestError(Code.PERMISSION_DENIED, "the data port does not load or unload; deploy through the admin port")
