"""What writes the file of --plot."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kedge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def writer(plot: Path | None, **modules: str) -> Any:
    """The function that draws that kind of file; found before any work is done.

    Args:
        plot: the file; None for none.
        modules: by ending, the module of this package whose ``write`` draws it. Only who plots pays for loading it.

    Raises:
        ConfigError: nothing draws such a file, or what draws it is not installed.
    """
    if plot is None:
        return None
    module = modules.get(plot.suffix.removeprefix("."))
    if module is None:
        raise ConfigError(f"--plot: '{plot}' must end in {' or '.join(f'.{ending}' for ending in modules)}")
    return importlib.import_module(f"kedge.cli.{module}").write
