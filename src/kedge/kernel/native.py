"""The native kernel: C++, one vector lane a feature, compiled for every instruction set and chosen at run time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kedge import _kernel
from kedge.errors import KernelError, SnapshotError
from kedge.kernel.state import layout_digest

if TYPE_CHECKING:
    from kedge.kernel.contract import Layout
    from kedge.kernel.snapshot import Counts

ISA_VARIABLE: Final = "KEDGE_KERNEL_ISA"


class NativeSketch(_kernel.Sketch):
    """`kedge.kernel.contract.Sketch` in C++. Calls of 4,096 values and more release the GIL."""

    def __init__(self, layout: Layout, isa: str) -> None:
        super().__init__(layout, layout_digest(layout), isa)
        self.layout = layout

    def merge(self, counts: Counts) -> None:
        if layout_digest(counts.layout) != layout_digest(self.layout):
            raise SnapshotError("counts of two layouts never mix")
        self.merge_words(counts.words, counts.bounds)


class NativeKernel:
    """Makes native sketches.

    Attributes:
        isa: ``avx512``, ``avx2``, ``sse2``, ``neon`` or ``generic``.
    """

    name = "native"

    def __init__(self, isa: str | None = None) -> None:
        """Choose an instruction set.

        Args:
            isa: its name; None takes that of the environment variable KEDGE_KERNEL_ISA, else the best there is.

        Raises:
            KernelError: this processor does not have it.
        """
        isas = _kernel.isas()
        self.isa = isa or os.environ.get(ISA_VARIABLE) or isas[0]
        if self.isa not in isas:
            raise KernelError(f"this processor cannot count with '{self.isa}'; {ISA_VARIABLE} may be {', '.join(isas)}")

    def sketch(self, layout: Layout) -> NativeSketch:
        """A fresh sketch with every count at zero."""
        return NativeSketch(layout, self.isa)
