"""Golden rows: what a bundle answered when it was built must come out again before it may serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kedge.bundle import golden
from kedge.dtypes import widened
from kedge.errors import ModelLoadError, PlaneError
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle

Run = Callable[[Mapping[str, "NDArray[Any]"]], dict[str, "NDArray[Any]"]]


def replay(bundle: Bundle, run: Run) -> None:
    """Run the golden rows and compare.

    Raises:
        ModelLoadError: the model fails on them, or answers something else.
    """
    rows = bundle.golden
    if rows is None:
        return
    try:
        outputs = run({tensor.name: golden.decode(tensor) for tensor in rows.inputs})
    except PlaneError as error:
        raise ModelLoadError(f"golden rows of bundle {bundle.id[:12]}: {error}") from error
    for expected in rows.outputs:
        if expected.name not in outputs:
            raise ModelLoadError(f"golden rows name an output {quoted(expected.name)} that the model does not have")
        want, got = golden.decode(expected), outputs[expected.name]
        if expected.dtype == "BF16":
            want, got = widened(want), widened(got)
        difference = golden.differs(want, got, rows.rtol, rows.atol)
        if difference is not None:
            raise ModelLoadError(
                f"model {quoted(bundle.name)} version {quoted(bundle.version)} does not give its golden output "
                f"{quoted(expected.name)}: {difference}"
            )
