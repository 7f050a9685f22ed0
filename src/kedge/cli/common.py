"""What every command shares: the --json flag, output, progress, and how errors become exit statuses.

A command module defines `app = new_app()` and one `@app.command(epilog=examples(...))`; its name and summary are
listed in `kedge.cli`. A command raises `KedgeError` (or lets an OSError pass) for what the user can mend, and `NO` when
it worked and the answer is no. It never prints an error itself.

Exit statuses: 0 done, 1 the answer is no, 2 bad usage or input, 3 a fault of Kedge's own, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

DONE: Final = 0
ANSWER_IS_NO: Final = 1
BAD_INPUT: Final = 2
INTERNAL_FAULT: Final = 3
INTERRUPTED: Final = 130

WIDTH_OF_PIPES: Final = 160
"""Columns of tables where output is not a terminal, so that they are neither cut nor folded."""

NO: Final = typer.Exit(ANSWER_IS_NO)
"""Raise it when a command did its work and the answer is no: drift found, bundle refused, server not ready."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of text, errors included.")]

_ClickError: Final[type[Exception]] = typer.BadParameter.__mro__[2]


def new_app(summary: str | None = None) -> typer.Typer:
    """A typer application with Kedge's settings. `summary` is the help of a group of commands."""
    return typer.Typer(
        add_completion=False,
        help=summary,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def examples(*lines: str) -> str:
    """The epilog of a command's --help: one or more command lines a user can copy."""
    head = "[bold]Examples[/bold]" if len(lines) > 1 else "[bold]Example[/bold]"
    return "\n\n".join([head, *(f"  {escape(line)}" for line in lines)])


def console(*, stderr: bool = False) -> Console:
    """A console on the present standard output (or error); wide where that is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else WIDTH_OF_PIPES)


def emit(payload: object, *text: RenderableType, as_json: bool) -> None:
    """Print a command's result: one JSON document, or rich renderables.

    Args:
        payload: what JSON shows; mappings, sequences, strings, numbers. NaN and infinity become null.
        text: what a person sees, one renderable after the other.
        as_json: the command's --json.
    """
    if as_json:
        sys.stdout.write(to_json(payload) + "\n")
        sys.stdout.flush()
        return
    screen = console()
    for renderable in text:
        screen.print(renderable)


def to_json(payload: object) -> str:
    """One line of JSON; NaN and infinity become null, so that every parser can read it.

    Text that standard output has no bytes for is escaped, as that of a file's name which is not UTF-8.
    """
    value = _finite(payload)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False)
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(title: str | None, *columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table in the house style; columns named in `right` are aligned to the right."""
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for name in columns:
        grid.add_column(escape(name), justify="right" if name in right else "left", overflow="fold")
    return grid


def key_values(rows: Mapping[str, object]) -> Table:
    """A two-column table of names and values."""
    grid = Table(show_header=False, box=None, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(name, escape(str(value)))
    return grid


class Step:
    """A handle on the progress bar of one task."""

    def __init__(self, update: Callable[..., None]) -> None:
        self._update = update

    def advance(self, amount: float = 1) -> None:
        """Move the bar by `amount` of its total."""
        self._update(advance=amount)

    def describe(self, text: str) -> None:
        """Replace the text before the bar."""
        self._update(description=escape(text))


@contextlib.contextmanager
def progress(description: str, total: float | None = None, *, quiet: bool = False) -> Iterator[Step]:
    """A progress bar on standard error, gone when the work is done.

    Args:
        description: what is being done.
        total: what `Step.advance` counts up to; None for work of unknown length.
        quiet: show nothing (a command's --json). Nothing is shown either where standard error is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield Step(lambda **_: None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(description), total=total)
        yield Step(lambda **change: bar.update(task, **change))


def run(invoke: Callable[[], int | None], *, as_json: bool) -> int:
    """Run a command and turn whatever it raises into an exit status and one line: the only place that prints errors."""
    try:
        status = invoke() or DONE
        sys.stdout.flush()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # click met it first, and makes it a failure
            return _unread()
        raise
    except KedgeError as error:
        return _fail(type(error).__name__, error.code.name, str(error), BAD_INPUT, as_json=as_json)
    except _ClickError as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return _fail("UsageError", "INVALID_ARGUMENT", f"{message} (see --help)", BAD_INPUT, as_json=as_json)
    except BrokenPipeError:
        return _unread()
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        message = f"{error.strerror or error}:{where}" if where else str(error.strerror or error)
        return _fail("OSError", "INVALID_ARGUMENT", message, BAD_INPUT, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line before the user: whatever it is, one line and a status
        if os.environ.get("KEDGE_DEBUG") == "1":
            traceback.print_exc()
        message = (
            f"internal fault: {type(error).__name__}: {error}; this is a bug in Kedge, please report it "
            "(KEDGE_DEBUG=1 shows where it happened)"
        )
        return _fail("InternalFault", "INTERNAL", message, INTERNAL_FAULT, as_json=as_json)
    else:
        return status


def _unread() -> int:
    """Whoever read the output has seen enough, as ``kedge ... | head``: nothing failed."""
    _drop()
    return DONE


def _drop() -> None:
    """What is left of standard output goes nowhere: it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)


def _fail(kind: str, code: str, message: str, status: int, *, as_json: bool) -> int:
    line = " ".join(message.split())
    if as_json:
        try:
            sys.stdout.write(to_json({"error": {"kind": kind, "code": code, "message": line}}) + "\n")
            sys.stdout.flush()
        except OSError as error:
            _drop()
            if not isinstance(error, BrokenPipeError):  # then somebody may still read the other one
                sys.stderr.write(f"error: {line}\n")
    else:
        sys.stderr.write(f"error: {line}\n")
    return status
