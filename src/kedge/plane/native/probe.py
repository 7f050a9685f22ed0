"""The child process of a load: ``python -m kedge.plane.native.probe DIRECTORY [golden] [warm-up]``.

Exits with 0 if the bundle loads, with 1 and one line on stderr if it is refused; whatever else happens is a crash.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

from kedge import privileges
from kedge._dataplane import ControlError, LoadError, Plane
from kedge.bundle.contents import Bundle
from kedge.dtypes import DTYPES
from kedge.errors import KedgeError, ModelLoadError, PlaneError
from kedge.plane.contract import LoadOptions
from kedge.plane.native import settings
from kedge.plane.native.confine import confine
from kedge.plane.native.runtime import find_runtime
from kedge.plane.native.tensors import pack, unpack
from kedge.plane.replay import replay
from kedge.plane.text import one_line, quoted

ADDRESS_SPACE: Final = 8 * 1024**3
"""Bytes a load may map, beside what its files ask for: a model that allocates without end stops here."""
PER_MODEL_BYTE: Final = 16
"""Optimising a graph and preparing weights hold several copies of them for a while."""
CPU_SECONDS: Final = 600
NICE: Final = 10
FILES: Final = 1024
"""Open at a time: the runtime, packages, and a file of external data each."""


def limit(directory: Path) -> None:
    """Bound memory, CPU time, files and priority of this process, and take from it what a load never needs."""
    privileges.harden()
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    space = min(ADDRESS_SPACE + PER_MODEL_BYTE * size, max(physical, ADDRESS_SPACE))
    for which, bound in (
        (resource.RLIMIT_AS, space),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, FILES),
    ):
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
    os.nice(NICE)
    confine()


def attempt(directory: Path, options: LoadOptions) -> None:
    """Load as the server would.

    Raises:
        KedgeError: why the bundle is refused.
    """
    bundle = Bundle.read(directory)
    library = find_runtime()
    plane = Plane(str(library.path), library.version, 1, 1)
    try:
        plane.load(settings.load_settings(bundle, options, 1), settings.sample(bundle), options.warm_up)
    except (LoadError, ControlError) as error:
        raise ModelLoadError(f"model {quoted(bundle.name)} cannot be loaded by ONNX Runtime: {error}") from None
    specs = bundle.manifest.inputs

    def run(tensors):  # type: ignore[no-untyped-def]
        try:
            outputs = plane.run(1, [pack(DTYPES[spec.dtype], tensors[spec.name]) for spec in specs])
        except ControlError as error:
            raise PlaneError(str(error)) from None
        return {name: unpack(onnx, shape, data) for name, onnx, shape, data in outputs}

    if options.golden:
        replay(bundle, run)
    plane.stop()


def main(arguments: list[str]) -> int:
    """See the module."""
    directory = Path(arguments[0])
    limit(directory)
    try:
        attempt(directory, LoadOptions(golden="golden" in arguments, warm_up="warm-up" in arguments))
    except KedgeError as error:
        sys.stderr.write(one_line(str(error)) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
