"""Pipeline and model made one graph, so that what is signed is what runs; and weights that live outside of it."""

from __future__ import annotations

import re
import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import onnx
from onnx import compose, version_converter

from kedge.build import graph
from kedge.bundle import limits, onnx_check
from kedge.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_KEPT_KEYS: Final = ("location", "offset", "length", "checksum")


def place(source: Path, uri: str, folder: Path) -> Any:
    """Put a model as ``model.onnx`` into `folder`, with its external data beside it under plain names.

    A model that is one file is copied as it is, byte by byte.

    Returns:
        The ``ModelProto``, external data not loaded.

    Raises:
        SpecError: it cannot be read, or its external data is missing, outside its folder or too large for a member.
    """
    model = graph.parse(source, uri)
    outside = [tensor for tensor in onnx_check.tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        shutil.copyfile(source, folder / "model.onnx")
        return model
    names: dict[str, str] = {}
    for tensor in outside:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in names:
            names[location] = _plain_name(location, set(names.values()))
            _copy_data(source, uri, location, folder / names[location])
        entries["location"] = names[location]
        del tensor.external_data[:]
        for key in _KEPT_KEYS:
            if key in entries:
                tensor.external_data.add(key=key, value=entries[key])
    write(model, folder / "model.onnx")
    return model


def merge(pipeline: Any, model: Any, pipeline_uri: str, model_uri: str) -> Any:
    """One model that runs `pipeline`, then `model` on what it gives.

    An output of the pipeline feeds the model's input of its name; where both have just one, whatever they are called.
    Inputs of the model that no output feeds stay inputs. The result has the model's outputs.

    Raises:
        SpecError: an output feeds nothing, tensors disagree in type or shape, operator sets cannot be reconciled, or
            names collide.
    """
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in onnx_check.tensors(pipeline)):
        raise SpecError(f"pipeline '{pipeline_uri}' keeps data in other files; save it as one file")
    links = _links(pipeline, model, pipeline_uri, model_uri)
    first, second = _same_opsets(pipeline, model, pipeline_uri, model_uri)
    compose.add_prefix(first, "pipeline/", rename_inputs=False, inplace=True)
    compose.add_prefix(second, "model/", rename_inputs=False, rename_outputs=False, inplace=True)
    try:
        joined = compose.merge_graphs(first.graph, second.graph, [(f"pipeline/{out}", into) for out, into in links])
    except ValueError as error:
        raise SpecError(f"pipeline '{pipeline_uri}' and model '{model_uri}' do not merge: {_line(error)}") from error
    joined.name, joined.doc_string = second.graph.name or "merged", ""
    opsets = {entry.domain: entry.version for part in (first, second) for entry in part.opset_import}
    merged = onnx.helper.make_model(
        joined,
        producer_name="kedge",
        ir_version=max(first.ir_version, second.ir_version),
        opset_imports=[onnx.helper.make_opsetid(domain, opsets[domain]) for domain in sorted(opsets)],
        functions=[*first.functions, *second.functions],
    )
    merged.metadata_props.extend(second.metadata_props)
    return merged


def write(model: Any, path: Path) -> None:
    """Write a model so that equal models are equal bytes. Raises `SpecError` past protobuf's 2 GB."""
    try:
        path.write_bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:
        raise SpecError(
            f"the merged model is over protobuf's 2 GB; save the model with external data: {error}"
        ) from error


def _copy(model: Any) -> Any:
    duplicate = onnx.ModelProto()
    duplicate.CopyFrom(model)
    return duplicate


def _links(pipeline: Any, model: Any, pipeline_uri: str, model_uri: str) -> list[tuple[str, str]]:
    outs, ins = graph.outputs(pipeline, pipeline_uri), graph.inputs(model, model_uri)
    wanted = {spec.name: spec for spec in ins}
    pairs = [(out, wanted.get(out.name)) for out in outs]
    if len(outs) == len(ins) == 1:
        pairs = [(outs[0], ins[0])]
    links = []
    for out, into in pairs:
        if into is None:
            have = ", ".join(f"'{name}'" for name in list(wanted)[:8])
            raise SpecError(
                f"pipeline '{pipeline_uri}': output '{out.name}' feeds no input of the model, which takes {have}"
            )
        disagree = out.dtype != into.dtype or (out.shape and len(out.shape) != len(into.shape))
        if disagree or any(a != b and a >= 0 and b >= 0 for a, b in zip(out.shape, into.shape, strict=False)):
            raise SpecError(
                f"pipeline '{pipeline_uri}' gives {graph.describe(out)}, the model takes {graph.describe(into)}; "
                "both must agree in type and shape"
            )
        links.append((out.name, into.name))
    return links


def _same_opsets(pipeline: Any, model: Any, pipeline_uri: str, model_uri: str) -> tuple[Any, Any]:
    """Copies, both at the higher version of every operator set.

    Only ONNX's own set is converted; others (ai.onnx.ml) add operators from version to version and keep the old.
    """
    versions: dict[str, int] = {}
    for part in (pipeline, model):
        for domain, version in _opsets(part).items():
            versions[domain] = max(versions.get(domain, 0), version)
    raised = []
    for part, uri in ((pipeline, pipeline_uri), (model, model_uri)):
        converts = _opsets(part).get("", versions.get("")) != versions.get("")
        fresh = _convert(part, uri, versions[""]) if converts else _copy(part)
        del fresh.opset_import[:]
        fresh.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
        raised.append(fresh)
    return raised[0], raised[1]


def _opsets(model: Any) -> dict[str, int]:
    return {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}


def _convert(part: Any, uri: str, version: int) -> Any:
    remedy = f"export it with operator set {version}"
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in onnx_check.tensors(part)):
        raise SpecError(f"'{uri}' has external data and an older operator set than its partner; {remedy}")
    try:
        return version_converter.convert_version(part, version)
    except (RuntimeError, ValueError) as error:
        raise SpecError(f"'{uri}' cannot be raised to operator set {version} ({_line(error)}); {remedy}") from error


def _copy_data(source: Path, uri: str, location: str, target: Path) -> None:
    data = source.parent / location
    if not location or PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
        raise SpecError(f"model '{uri}': external data '{location[:80]}' is outside the model's folder")
    try:
        size = data.stat().st_size
        if size > limits.MEMBER_BYTES:
            raise SpecError(
                f"model '{uri}': external data '{location}' has {size} bytes, a bundle's file at most 8 GiB; shard it: "
                "onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=False)"
            )
        shutil.copyfile(data, target)  # never a hard link: ONNX's checker takes one for an attack
    except OSError as error:
        raise SpecError(f"model '{uri}': cannot read external data '{location}': {error.strerror}") from error


def _plain_name(location: str, taken: set[str]) -> str:
    base = _PLAIN.sub("-", location.replace("\\", "/").rpartition("/")[2]).lstrip("._-")[:60] or "weights.bin"
    candidates = (base, *(f"{number}-{base}" for number in range(1, limits.MEMBERS)))
    return next(name for name in candidates if name not in taken | {"model.onnx"})


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
