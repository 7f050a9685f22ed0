"""Where a bundle came from. Free of timestamps and machine names, so that equal inputs give equal bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import pyarrow as pa

import kedge
from kedge.build import tables
from kedge.bundle.provenance import (
    BUILD_TYPE,
    BUILDER_ID,
    BUNDLE_URN,
    BuildDefinition,
    Builder,
    DigestSet,
    ExternalParameters,
    Provenance,
    ResourceDescriptor,
    RunDetails,
)
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kedge.build.spec import Spec
    from kedge.bundle.manifest import DataSnapshot

GIT_SECONDS: Final = 10.0
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def provenance(spec: Spec, folder: Path, snapshots: Sequence[DataSnapshot]) -> Provenance:
    """Lineage as the spec says it; the commit, if unsaid, is the one checked out in `folder`.

    The commit is an input like any other: the same spec built from another commit is another bundle.

    Args:
        spec: that was built.
        folder: where it stands.
        snapshots: the data it was measured on.

    Raises:
        SpecError: the environment file, the model or the pipeline cannot be read.
    """
    import onnxruntime  # noqa: PLC0415 - loaded by the session before, with telemetry off

    said = spec.lineage.code_commit
    commit = said if said is not None else _checked_out(folder)
    return Provenance(
        build_definition=BuildDefinition(
            build_type=BUILD_TYPE,
            external_parameters=ExternalParameters(
                spec=spec.model_dump(mode="json", exclude_unset=True),
                training_run=spec.lineage.training_run,
                code_commit=commit,
            ),
            resolved_dependencies=tuple(_dependencies(spec, folder, snapshots, commit)),
        ),
        run_details=RunDetails(
            builder=Builder(
                id=BUILDER_ID,
                version={
                    "kedge": kedge.__version__,
                    "numpy": np.__version__,
                    "onnx": onnx.__version__,
                    "onnxruntime": onnxruntime.__version__,
                    "pyarrow": pa.__version__,
                },
            )
        ),
    )


def _dependencies(
    spec: Spec, folder: Path, snapshots: Sequence[DataSnapshot], commit: str
) -> Iterator[ResourceDescriptor]:
    yield _file("model", spec.model, folder, "model")
    if spec.pipeline is not None:
        yield _file("pipeline", spec.pipeline, folder, "pipeline")
    for one in snapshots:
        yield ResourceDescriptor(name=one.role, uri=one.uri, digest=DigestSet(sha256=one.sha256))
    if spec.lineage.environment is not None:
        yield _file("environment", spec.lineage.environment, folder, "lineage.environment")
    if _COMMIT.fullmatch(commit):
        yield ResourceDescriptor(name="code", digest=DigestSet(git_commit=commit))
    if spec.parent is not None:
        yield ResourceDescriptor(name="parent", uri=BUNDLE_URN + spec.parent, digest=DigestSet(sha256=spec.parent))


def _file(name: str, uri: str, folder: Path, said: str) -> ResourceDescriptor:
    try:
        return ResourceDescriptor(name=name, uri=uri, digest=DigestSet(sha256=tables.sha256_of(folder / uri)))
    except OSError as error:
        raise SpecError(f"{said}: cannot read '{uri}': {error.strerror}") from error


def _checked_out(folder: Path) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [git, "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"],
            check=False,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
