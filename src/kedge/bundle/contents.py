"""A bundle that has been opened: what its files say, as validated values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from kedge.bundle import canonical, layout, limits
from kedge.bundle.archive import MANIFEST, first_error, parse_manifest
from kedge.bundle.manifest import (
    Distributions,
    Gates,
    Golden,
    Manifest,
    Metrics,
    Model,
    Role,
    Schema,
    Serving,
    Snapshots,
)
from kedge.bundle.provenance import Provenance
from kedge.bundle.slices import Slices
from kedge.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.kernel.contract import Layout

MODEL_FOLDER: Final = "model"
MODEL: Final = "model/model.onnx"
PIPELINE: Final = "features/pipeline.onnx"
GOLDEN: Final = "golden/golden.json"

PATHS: Final[dict[Role, str]] = {
    "model": MODEL,
    "pipeline": PIPELINE,
    "schema": "features/schema.json",
    "snapshots": "data/snapshots.json",
    "distributions": "reference/distributions.json",
    "serving": "config/serving.json",
    "metrics": "eval/metrics.json",
    "gates": "eval/gates.json",
    "provenance": "lineage/provenance.json",
    "golden": GOLDEN,
    "card": "docs/modelcard.md",
}
"""Where each role's one file stands. External data is any number of files in the model's folder."""

REQUIRED: Final[tuple[Role, ...]] = ("model", "schema", "snapshots", "serving", "metrics", "gates", "provenance")

_M = TypeVar("_M", bound=Model)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        id: SHA-256 of bundle.json, 64 hex digits.
        directory: where its files stand.
        manifest, schema, serving, metrics, gates, snapshots, provenance: its JSON files.
        distributions: None where the spec named no data.
        golden: None where there are no golden rows.
    """

    id: str
    directory: Path
    manifest: Manifest
    schema: Schema
    distributions: Distributions | None
    serving: Serving
    golden: Golden | None
    metrics: Metrics
    gates: Gates
    snapshots: Snapshots
    provenance: Provenance

    @property
    def name(self) -> str:
        """Model name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Model version."""
        return self.manifest.version

    @property
    def model_path(self) -> Path:
        """The ONNX file that runs; its external data stands beside it."""
        return self.directory / MODEL

    @classmethod
    def read(cls, directory: Path) -> Bundle:
        """Read the JSON files of an extracted bundle, each checked against its digest in bundle.json.

        The model and its external data are not read: `kedge.bundle.verify` does that when a bundle is opened.

        Raises:
            BundleError: a file is missing, damaged, or not what its model says.
        """
        data = _load(directory, MANIFEST, limits.MANIFEST_BYTES)
        manifest = parse_manifest(data)
        check_roles(manifest)

        def optional(role: Role, model: type[_M]) -> _M | None:
            return _parse(directory, manifest, role, model)

        def required(role: Role, model: type[_M]) -> _M:
            value = _parse(directory, manifest, role, model)
            if value is None:
                raise BundleError(f"{PATHS[role]} is missing")
            return value

        return cls(
            id=hashlib.sha256(data).hexdigest(),
            directory=directory,
            manifest=manifest,
            schema=required("schema", Schema),
            distributions=optional("distributions", Distributions),
            serving=required("serving", Serving),
            golden=optional("golden", Golden),
            metrics=required("metrics", Metrics),
            gates=required("gates", Gates),
            snapshots=required("snapshots", Snapshots),
            provenance=required("provenance", Provenance),
        )

    def layout(self) -> Layout:
        """What the kernel counts for this bundle. Raises `KernelError` where the reference does not fit the schema."""
        return layout.build(self.manifest, self.schema, self.distributions, self.serving)

    def slices(self) -> Slices:
        """By what its labels are told apart."""
        return Slices.of(self.schema)


def check_roles(manifest: Manifest) -> None:
    """Check that every file stands where its role says, that none is missing and each is within its own limit.

    Raises:
        BundleError: naming the file.
    """
    for entry in manifest.files:
        folder = entry.path.partition("/")[0]
        fits = entry.path == PATHS[entry.role] if entry.role != "external-data" else folder == MODEL_FOLDER
        if not fits or (entry.role == "external-data" and entry.path == MODEL):
            raise BundleError(f"{MANIFEST}: '{entry.path}' is no place for a file of role '{entry.role}'")
        if entry.size > (limit := _limit(entry.role)):
            raise BundleError(f"{entry.path}: {entry.size} bytes, limit {limit}")
    roles = {entry.role for entry in manifest.files}
    for role in REQUIRED:
        if role not in roles:
            raise BundleError(f"{PATHS[role]} is missing from {MANIFEST}")


def _limit(role: Role) -> int:
    if role == "external-data":
        return limits.MEMBER_BYTES
    if role in ("model", "pipeline"):
        return limits.MODEL_BYTES
    return {"golden": limits.GOLDEN_BYTES, "card": limits.CARD_BYTES}.get(role, limits.JSON_BYTES)


def _parse(directory: Path, manifest: Manifest, role: Role, model: type[_M]) -> _M | None:
    entry = next((entry for entry in manifest.files if entry.role == role), None)
    if entry is None:
        return None
    data = _load(directory, entry.path, entry.size)
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleError(f"{entry.path}: size or SHA-256 differs from {MANIFEST}")
    try:
        return model.model_validate(canonical.decode(data, entry.path))
    except ValidationError as error:
        raise BundleError(f"{entry.path}: {first_error(error)}") from error


def _load(directory: Path, path: str, limit: int) -> bytes:
    try:
        with (directory / path).open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"cannot read '{directory / path}': {error.strerror}") from error
