"""Five stock clients behind one function: rows in, outputs back, each client in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ROOT: Final = Path(__file__).resolve().parents[3]
CLIENTS: Final = ROOT / "tests" / "conformance" / "clients"
KINDS: Final = ("triton", "triton-aio", "triton-stream", "grpcio", "grpc-js")
_OUTPUTS: Final = {"FP32": np.float32, "INT64": np.int64}


def install_js() -> Path:
    """Install grpc-js under ``build/``, once; returns the folder to look for it in."""
    folder = ROOT / "build" / "js"
    wanted = (CLIENTS / "js" / "package.json").read_bytes()
    installed = folder / "package.json"
    if not (folder / "node_modules" / "@grpc" / "grpc-js").is_dir() or installed.read_bytes() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        installed.write_bytes(wanted)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=folder, check=True, timeout=240, stdout=subprocess.DEVNULL)
    return folder / "node_modules"


def ask(
    kind: str,
    address: str,
    model: str,
    inputs: Mapping[str, tuple[str, NDArray[Any]]],
    outputs: Mapping[str, str],
    *,
    form: str,
    batch: int,
) -> dict[str, NDArray[Any]]:
    """The outputs a client gets for all rows, sent `batch` rows a request.

    Args:
        kind: one of `KINDS`.
        address: of the data port.
        model: its name.
        inputs: datatype (FP32 or BYTES) and array [N, C] by name; BYTES as an object array [N, 1] of `str`.
        outputs: datatype (FP32 or INT64) by name.
        form: ``raw`` or ``typed``.
        batch: rows a request.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = []
        for index, (tensor, (datatype, array)) in enumerate(inputs.items()):
            file = folder / f"input-{index}"
            if datatype == "BYTES":
                file.write_text(json.dumps(array.ravel().tolist()))
            else:
                file.write_bytes(np.ascontiguousarray(array, np.float32).tobytes())
            described.append({"name": tensor, "datatype": datatype, "file": str(file)})
        (folder / "result").mkdir()
        rows = len(next(iter(inputs.values()))[1])
        job = {"address": address, "model": model, "inputs": described, "form": form, "rows": rows, "batch": batch}
        (folder / "job.json").write_text(json.dumps(job | {"result": str(folder / "result")}))
        environment = dict(os.environ)
        if kind == "grpc-js":
            environment["NODE_PATH"] = str(install_js())
            command = ["node", str(CLIENTS / "js" / "client.js"), str(ROOT / "protos"), str(folder / "job.json")]
        else:
            command = [sys.executable, str(CLIENTS / "python_client.py"), kind, str(folder / "job.json")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{kind}: {done.stderr[-2000:]}"
        return {
            output: np.frombuffer((folder / "result" / f"{output}.bin").read_bytes(), _OUTPUTS[datatype])
            for output, datatype in outputs.items()
        }
