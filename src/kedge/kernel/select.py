"""The one place where a kernel is chosen. Nothing is ever substituted for a kernel that was asked for by name."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from kedge.errors import KernelError

if TYPE_CHECKING:
    from kedge.kernel.contract import Kernel

NAMES: Final = ("auto", "native", "numba", "reference")


def available() -> tuple[str, ...]:
    """Names of the kernels that can be used here, best first; `reference` is always last."""
    found = []
    if importlib.util.find_spec("kedge._kernel") is not None:
        found.append("native")
    if importlib.util.find_spec("numba") is not None:
        found.append("numba")
    return (*found, "reference")


def select(name: str = "auto") -> Kernel:
    """The kernel to count with.

    Args:
        name: ``auto`` takes ``native``, else ``numba``; ``reference`` is slow and chosen only by its name.

    Raises:
        KernelError: the name is not known, or the kernel is not installed.
    """
    if name not in NAMES:
        raise KernelError(f"no kernel is called '{name}'; choose one of {', '.join(NAMES)}")
    found = available()
    if name == "auto":
        name = found[0]
        if name == "reference":
            raise KernelError(
                "no fast kernel is installed: install a wheel of kedge that has the native kernel, "
                "or numba with: pip install 'kedge[numba]'"
            )
    if name not in found:
        remedy = "pip install 'kedge[numba]'" if name == "numba" else "install a wheel of kedge built for this machine"
        raise KernelError(f"kernel '{name}' was asked for and is not installed; {remedy}")
    if name == "native":
        from kedge.kernel.native import NativeKernel  # noqa: PLC0415  a kernel not chosen is never imported

        return NativeKernel()
    if name == "numba":
        from kedge.kernel.numba_ import NumbaKernel  # noqa: PLC0415

        return NumbaKernel()
    from kedge.kernel.reference import ReferenceKernel  # noqa: PLC0415

    return ReferenceKernel()
