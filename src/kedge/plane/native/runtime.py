"""Where the installed ONNX Runtime's shared library stands, found without importing the package."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from kedge.errors import PlaneError


@dataclass(frozen=True)
class RuntimeLibrary:
    """The library to open.

    Attributes:
        path: of ``libonnxruntime.so.<version>``.
        version: what the installed package says it is; the library must agree.
    """

    path: Path
    version: str


def find_runtime() -> RuntimeLibrary:
    """The one library of the installed onnxruntime package.

    Importing the package as well would load a second full runtime. Telemetry, which writes to the home directory, is
    switched off for this process and its children.

    Raises:
        PlaneError: the package is missing, or has not exactly one library of its own version.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise PlaneError(
            "onnxruntime is not installed, and the native plane runs on its library: pip install onnxruntime"
        )
    folder = Path(spec.submodule_search_locations[0]) / "capi"
    found = sorted(folder.glob("libonnxruntime.so.*"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise PlaneError(
            f"expected one libonnxruntime.so.<version> in the onnxruntime package, found {names}; reinstall it"
        )
    return RuntimeLibrary(found[0], found[0].name.removeprefix("libonnxruntime.so."))
