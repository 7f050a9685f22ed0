"""The checks of `kedge doctor`: each looks at one thing and never raises."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from kedge.config import Settings
from kedge.errors import KedgeError
from kedge.kernel.contract import Layout, NumericFeature, Tensor
from kedge.kernel.select import available, select
from kedge.kernel.snapshot import Counts
from kedge.plane.portable.sealer import IN_USE
from kedge.plane.select import available as planes
from kedge.plane.select import choose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedge.config import Address

PACKAGES: Final = ("onnxruntime", "onnx", "grpcio", "protobuf", "numpy", "scipy", "pyarrow", "pydantic", "cryptography")
OPTIONAL: Final = {"numba": "kedge[numba]", "matplotlib": "kedge[plot]"}


@dataclass(frozen=True)
class Check:
    """A result.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``note`` for what a server can do without; ``failed``.
        found: what was found, or what to do.
    """

    name: str
    state: Literal["ok", "note", "failed"]
    found: str


def packages() -> Iterator[Check]:
    """Versions of what Kedge stands on."""
    for name in PACKAGES:
        try:
            yield Check(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "failed", f"missing; run: pip install {name}")
    for name, extra in OPTIONAL.items():
        try:
            yield Check(name, "ok", f"{importlib.metadata.version(name)} (optional)")
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "note", f"not installed; pip install '{extra}'")


def cpu() -> Check:
    """Processor and the cores this process may use."""
    return Check("cpu", "ok", f"{platform.machine()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores usable")


def kernels() -> Iterator[Check]:
    """Every kernel that can be used here, and which one ``auto`` takes."""
    found = available()
    for name in found:
        try:
            kernel = select(name)
            yield Check(f"kernel {name}", "ok", kernel.isa)
        except (KedgeError, ImportError, OSError) as error:
            yield Check(f"kernel {name}", "failed", f"cannot be loaded: {error}")
    try:
        chosen = select("auto").name
    except (KedgeError, ImportError, OSError) as error:
        yield Check("kernel auto", "failed", str(error))
        return
    why = "the compiled extension is there" if chosen == "native" else "the compiled extension is not in this build"
    yield Check("kernel auto", "ok" if chosen == "native" else "note", f"takes {chosen}: {why}")


def sketch() -> Check:
    """Count three rows with the kernel ``auto`` takes."""
    layout = Layout((Tensor("x", 1),), (NumericFeature("x", 0, 0, (0.0, 1.0, 2.0)),))
    try:
        counter = select("auto").sketch(layout)
        counter.observe([np.array([0.5, 1.5, np.nan], dtype=np.float32)])
        counts = Counts.parse(counter.snapshot(), layout)
    except (KedgeError, ImportError, OSError) as error:
        return Check("counting", "failed", str(error))
    right = counts.rows == 3 and counts.features[0].n == 2 and counts.features[0].slots[:2].tolist() == [1, 1]
    return (
        Check("counting", "ok", "3 rows counted") if right else Check("counting", "failed", "3 rows were counted wrong")
    )


def plane() -> Check:
    """Which data plane ``auto`` takes."""
    kernel = available()[0]
    chosen = choose("auto", kernel)
    if chosen == "native":
        return Check("plane auto", "ok", "takes native: the compiled extension is there")
    why = f"the kernel is {kernel}" if "native" in planes() else "the native plane is not in this build"
    return Check("plane auto", "note", f"takes portable: {why}")


def sealer() -> Check:
    """With what the portable plane seals prediction ids."""
    if IN_USE == "native":
        return Check("prediction ids", "ok", "the portable plane seals by the compiled extension")
    return Check("prediction ids", "note", "the portable plane seals in Python, which costs CPU: no compiled extension")


def runtime_library() -> Check:
    """The shared library inside the onnxruntime wheel: exactly one, of the wheel's version."""
    name = "onnxruntime library"
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return Check(name, "failed", "onnxruntime is not installed")
    pattern = re.compile(r"libonnxruntime\.so\.(\d[\w.]*)")
    folder = Path(spec.origin).parent / "capi"
    found = [match[1] for path in folder.glob("libonnxruntime.so.*") if (match := pattern.fullmatch(path.name))]
    version = importlib.metadata.version("onnxruntime")
    if found == [version]:
        return Check(name, "ok", f"libonnxruntime.so.{version}")
    if not found:
        # Wheels for other systems link the library into the Python module; the portable plane needs no more.
        return Check(name, "note", "the wheel has no separate library, which only the native plane needs")
    return Check(
        name, "failed", f"expected only libonnxruntime.so.{version}, found {', '.join(found)}; reinstall onnxruntime"
    )


def runtime() -> Check:
    """Run a one-node ONNX model."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # noqa: PLC0415 - what is checked is that this works at all
        from onnx import TensorProto, checker, helper  # noqa: PLC0415

        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("x", "y"))
        graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubles", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (doubled,) = session.run(None, {"x": np.array([[1.0, 2.0]], dtype=np.float32)})
    except Exception as error:  # noqa: BLE001 - the runtime raises classes of its own, and any of them is the finding
        return Check("inference", "failed", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    if doubled.tolist() != [[2.0, 4.0]]:
        return Check("inference", "failed", f"2 x [1, 2] came out as {doubled.tolist()}")
    return Check("inference", "ok", f"a one-node model ran; onnxruntime {onnxruntime.__version__}")


def default_ports() -> Iterator[Check]:
    """Whether `kedge serve` without addresses could listen."""
    for name in ("grpc", "metrics", "admin"):
        address: Address = Settings.model_fields[name].default
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
            except OSError as error:
                yield Check(
                    f"port {address.port}", "note", f"{error.strerror}; give kedge serve --{name} another address"
                )
            else:
                yield Check(f"port {address.port}", "ok", f"free for --{name}")
