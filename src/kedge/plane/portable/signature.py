"""What requests for a model must look like, worked out once at load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.dtypes import DTYPES, DType

if TYPE_CHECKING:
    from kedge.bundle.manifest import Manifest, TensorSpec


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    Attributes:
        name: as in the model.
        dtype: its element type.
        shape: extents, -1 where any is accepted; batch dimension first.
        position: in the model's order.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    position: int

    def empty_shape(self) -> tuple[int, ...] | None:
        """Shape of this tensor for zero rows, or None where it cannot be known without a run."""
        trailing = self.shape[1:]
        return (0, *trailing) if self.shape and -1 not in trailing else None


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model.

    Attributes:
        model, version: for error messages and answers.
        inputs, outputs: by name, in the model's order.
        batchable: requests may run together.
    """

    model: str
    version: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    batchable: bool

    @classmethod
    def of(cls, manifest: Manifest) -> Signature:
        """The signature a bundle's manifest states."""
        return cls(
            manifest.name, manifest.version, _tensors(manifest.inputs), _tensors(manifest.outputs), manifest.batchable
        )


def _tensors(specs: tuple[TensorSpec, ...]) -> dict[str, Tensor]:
    return {
        spec.name: Tensor(spec.name, DTYPES[spec.dtype], spec.shape, position) for position, spec in enumerate(specs)
    }
