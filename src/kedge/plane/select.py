"""The one place where a data plane is chosen. Nothing is ever substituted for a plane that was asked for by name."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from kedge.errors import PlaneError

if TYPE_CHECKING:
    from kedge.kernel.contract import Kernel
    from kedge.plane.contract import DataPlane

NAMES: Final = ("auto", "native", "portable")


def available() -> tuple[str, ...]:
    """Names of the planes in this build, best first; `portable` is always last."""
    native = importlib.util.find_spec("kedge._dataplane") is not None
    return ("native", "portable") if native else ("portable",)


def choose(name: str, kernel: str) -> str:
    """The plane to use with a kernel.

    Args:
        name: ``auto`` takes ``native`` where it is in this build and the kernel is the native one, else ``portable``.
        kernel: name of the kernel in use.

    Raises:
        PlaneError: the name is not known, or the plane is not in this build, or it does not count with that kernel.
    """
    if name not in NAMES:
        raise PlaneError(f"no plane is called '{name}'; choose one of {', '.join(NAMES)}")
    found = available()
    if name == "auto":
        return found[0] if kernel == "native" else "portable"
    if name not in found:
        raise PlaneError(f"--plane {name}: not in this build; use --plane portable, or install a wheel that has it")
    if name == "native" and kernel != "native":
        raise PlaneError(f"--plane native counts with the native kernel, not with '{kernel}'; drop --kernel {kernel}")
    return name


def select(name: str, kernel: Kernel, shards: int | None = None) -> DataPlane:
    """Make the plane that `choose` names.

    Args:
        name: as `choose` takes it.
        kernel: what counts.
        shards: threads that serve connections; None takes the plane's default. The portable plane has one.

    Raises:
        PlaneError: as `choose`, or the plane cannot have so many shards.
    """
    if choose(name, kernel.name) == "native":
        try:
            from kedge.plane.native import NativePlane  # noqa: PLC0415 - a plane that is not chosen is never imported
        except ImportError as error:
            raise PlaneError(f"the native plane cannot be loaded: {error}; mend it or use --plane portable") from error
        return NativePlane(kernel, shards=shards)
    if shards not in (None, 1):
        raise PlaneError(f"--shards {shards}: the portable plane serves on one thread; drop it, or use --plane native")
    from kedge.plane.portable.plane import PortablePlane  # noqa: PLC0415 - as above; it imports onnxruntime

    return PortablePlane(kernel)
