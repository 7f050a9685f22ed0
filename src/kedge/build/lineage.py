"""Where a bundle came from. Free of timestamps and machine names, so that equal inputs give equal bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import pyarrow as pa

import kedge
from kedge.build import tables
from kedge.bundle.manifest import Provenance
from kedge.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from kedge.build.spec import Spec

GIT_SECONDS: Final = 10.0


def provenance(spec: Spec, folder: Path) -> Provenance:
    """Lineage as the spec says it; the commit, if unsaid, is the one checked out in `folder`.

    The commit is an input like any other: the same spec built from another commit is another bundle.

    Raises:
        SpecError: the environment file cannot be read.
    """
    import onnxruntime  # noqa: PLC0415 - loaded by the session before, with telemetry off

    environment = None
    if spec.lineage.environment is not None:
        try:
            environment = tables.sha256_of(folder / spec.lineage.environment)
        except OSError as error:
            raise SpecError(
                f"lineage.environment: cannot read '{spec.lineage.environment}': {error.strerror}"
            ) from error
    said = spec.lineage.code_commit
    return Provenance(
        code_commit=said if said is not None else _checked_out(folder),
        training_run=spec.lineage.training_run,
        environment_sha256=environment,
        parent=spec.parent,
        builder=f"kedge {kedge.__version__}",
        packages={
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "pyarrow": pa.__version__,
        },
    )


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
