"""`kedge doctor`: what this installation has, what a server would use, and whether it works."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

import kedge
from kedge.cli import checks
from kedge.cli.common import NO, JsonFlag, emit, examples, new_app, table

if TYPE_CHECKING:
    from kedge.cli.checks import Check

MARKS: Final = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "failed": "[bold red]failed[/]"}

app = new_app()


@app.command(epilog=examples("kedge doctor", "kedge doctor --json"))
def doctor(
    *,
    ports: Annotated[bool, typer.Option(help="Look whether the default ports are free.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Check this installation and say what it would use.

    Exit status: 0 if a server would run here, 1 if something it needs is missing or broken.
    """
    results: list[Check] = [
        *checks.packages(),
        checks.cpu(),
        *checks.kernels(),
        checks.sketch(),
        checks.plane(),
        checks.sealer(),
        checks.runtime_library(),
        checks.runtime(),
        *(checks.default_ports() if ports else ()),
    ]
    healthy = all(check.state != "failed" for check in results)
    grid = table(None, "", "what", "found")
    for check in results:
        grid.add_row(MARKS[check.state], escape(check.name), escape(check.found))
    head = f"kedge {kedge.__version__}, Python {platform.python_version()} on {platform.platform()}"
    payload = {
        "kedge": kedge.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "healthy": healthy,
        "checks": [asdict(check) for check in results],
    }
    words = "a server would run here" if healthy else "a server would not run here: mend what failed"
    emit(payload, head, "", grid, "", words, as_json=as_json)
    if not healthy:
        raise NO
