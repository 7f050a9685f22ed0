"""What requests for a model must look like, worked out once at load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.dtypes import DTYPES, DType
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from kedge.bundle.manifest import Manifest, TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One input or output.

    Attributes:
        name: as in the model.
        dtype: its element type.
        shape: extents, -1 where any is accepted; batch dimension first.
        position: in the model's order.
        where: "for input 'x' for model 'm'", for error messages.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    position: int
    where: str

    def empty_shape(self) -> tuple[int, ...] | None:
        """Shape of this tensor for zero rows, or None where it cannot be known without a run."""
        trailing = self.shape[1:]
        return (0, *trailing) if self.shape and -1 not in trailing else None


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """Inputs and outputs of a model. Equal to itself alone, so that caches may be keyed by it.

    Attributes:
        model, version: for error messages and answers.
        inputs, outputs: by name, in the model's order.
        batchable: requests may run together.
        of_model: "for model 'm'", for error messages.
    """

    model: str
    version: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    batchable: bool
    of_model: str

    @classmethod
    def of(cls, manifest: Manifest) -> Signature:
        """The signature a bundle's manifest states."""
        of_model = f"for model {quoted(manifest.name)}"
        return cls(
            manifest.name,
            manifest.version,
            _tensors("input", manifest.inputs, of_model),
            _tensors("output", manifest.outputs, of_model),
            manifest.batchable,
            of_model,
        )


def _tensors(what: str, specs: tuple[TensorSpec, ...], of_model: str) -> dict[str, Tensor]:
    return {
        spec.name: Tensor(
            spec.name, DTYPES[spec.dtype], spec.shape, position, f"for {what} {quoted(spec.name)} {of_model}"
        )
        for position, spec in enumerate(specs)
    }
