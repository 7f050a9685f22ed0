"""`kedge drift --watch`: how everything stands, as the server's evaluator finds it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from kedge.cli.common import console, table, to_json
from kedge.cli.moments import shown
from kedge.cli.verdicts import STYLES, cause_name
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from kedge.cli.connecting import Server

ORDER: Final = ("CRITICAL", "WARN", "INSUFFICIENT", "OK")
ROWS_SHOWN: Final = 30
"""Of the live table, the worst first; fewer on a low terminal."""
FRAME: Final = 5
"""Lines of the live view that are not rows: what stands above and below them, and the cursor's."""

_Key = tuple[str, str, str, str]


def follow(server: Server, model: str, *, as_json: bool) -> None:
    """Show verdicts until interrupted: a live table on a terminal, else a line (of text or JSON) a change.

    Raises:
        RequestError: no such model is live, or too many watch already.
        UnreachableError: nothing answers at the address, or it went away.
    """
    screen = console()
    standing: dict[_Key, pb.Standing] = {}
    with server.client() as client:
        verdicts = client.watch(model)
        if as_json or not sys.stdout.isatty():
            for message in verdicts:
                _print(message, standing, as_json=as_json)
            return
        with Live(console=screen, auto_refresh=False) as live:
            for message in verdicts:
                take(standing, message)
                live.update(_table(model, message.time, standing.values(), screen.height - FRAME), refresh=True)


def take(standing: dict[_Key, pb.Standing], message: pb.Verdicts) -> list[pb.Standing]:
    """Apply a message to what stands. Returns what is new or stands otherwise than before."""
    if message.complete:
        gone = standing.keys() - {_key(item) for item in message.standings}
        for key in gone:
            del standing[key]
    news = [item for item in message.standings if _said(standing.get(_key(item))) != _said(item)]
    standing.update((_key(item), item) for item in message.standings)
    return news


def payload(item: pb.Standing) -> dict[str, Any]:
    """A standing for JSON."""
    fields = (
        "model", "version", "bundle", "arm", "subject", "name", "test", "effect", "line", "statistic", "p_value",
        "rows", "smallest_detectable",
    )  # fmt: skip
    return {
        **{name: getattr(item, name) for name in fields},
        "verdict": pb.Verdict.Name(item.verdict),
        "cause": cause_name(item.cause) or None,
        "windows": [{"start": span.start, "end": span.end, "rows": span.rows} for span in item.windows],
        "reasons": list(item.reasons),
    }


def _print(message: pb.Verdicts, standing: dict[_Key, pb.Standing], *, as_json: bool) -> None:
    for item in sorted(take(standing, message), key=_rank):
        if as_json:
            sys.stdout.write(to_json({"time": message.time, **payload(item)}) + "\n")
        else:
            cause = f" ({name})" if (name := cause_name(item.cause)) else ""
            why = f": {'; '.join(item.reasons)}" if item.reasons else ""
            verdict = pb.Verdict.Name(item.verdict)
            what = f"{item.arm} {item.subject} {item.name}"
            sys.stdout.write(f"{shown(message.time)}  {verdict:<12} {what}{cause}{why}\n")
    sys.stdout.flush()


def _table(model: str, time: float, items: Iterable[pb.Standing], height: int) -> RenderableType:
    found, most = sorted(items, key=_rank), max(1, min(ROWS_SHOWN, height))
    grid = table(None, "verdict", "cause", "arm", "subject", "name", "effect", "line", "why", right=("effect", "line"))
    for item in found[:most]:
        verdict = pb.Verdict.Name(item.verdict)
        problem = item.verdict in {pb.CRITICAL, pb.WARN}  # only these are worth more than a line
        grid.add_row(
            f"[{STYLES[verdict]}]{verdict}[/]",
            cause_name(item.cause),
            item.arm,
            item.subject,
            escape(item.name),
            f"{item.effect:.3g}",
            f"{item.line:.3g}",
            Text("; ".join(item.reasons[:2]), no_wrap=not problem, overflow="fold" if problem else "ellipsis"),
        )
    head = f"[bold]{escape(model)}[/bold] as of {shown(time)}; Ctrl-C ends"
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return Group(head, "", grid, *more)


def _rank(item: pb.Standing) -> tuple[int, float]:
    return ORDER.index(pb.Verdict.Name(item.verdict)), -item.effect


def _key(item: pb.Standing) -> _Key:
    return (item.bundle, item.arm, item.subject, item.name)


def _said(item: pb.Standing | None) -> tuple[int, int, str] | None:
    return None if item is None else (item.verdict, item.cause, item.test)
