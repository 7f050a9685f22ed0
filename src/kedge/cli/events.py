"""`kedge events`: what happened to models."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from kedge.cli.common import JsonFlag, emit, examples, new_app, to_json
from kedge.cli.connecting import Server, connecting
from kedge.cli.moments import shown

if TYPE_CHECKING:
    from kedge.proto import admin as pb

app = new_app()


@app.command(
    epilog=examples("kedge events", "kedge events flights-late --last 5", "kedge events flights-late --follow --json")
)
@connecting
def events(
    *,
    model: Annotated[str, typer.Argument(help="Only of this model.")] = "",
    last: Annotated[int, typer.Option(min=0, max=100_000, metavar="N", help="How many of the newest events.")] = 20,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only events after this one.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones until interrupted.")] = False,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Show what happened to models: deployments, steps, rollbacks, and who or what did it.

    With --follow --json, one line of JSON an event.
    """
    with server.client() as client:
        newest: deque[pb.Event] = deque(maxlen=last)
        for event in client.events(model, after=after, once=True):
            newest.append(event)
            after = event.sequence
        if not follow:
            lines = [_line(event) for event in newest] or [f"no such event{f' of {model}' if model else ''}"]
            emit({"events": [_payload(event) for event in newest]}, *map(escape, lines), as_json=as_json)
            return
        try:
            for event in newest:
                _print(event, as_json=as_json)
            for event in client.events(model, after=after):
                _print(event, as_json=as_json)
        except KeyboardInterrupt:  # how one stops following
            return


def _print(event: pb.Event, *, as_json: bool) -> None:
    sys.stdout.write((to_json(_payload(event)) if as_json else _line(event)) + "\n")
    sys.stdout.flush()


def _payload(event: pb.Event) -> dict[str, Any]:
    fields = ("sequence", "time", "model", "bundle", "version", "action", "epoch", "actor", "words")
    return {
        **{name: getattr(event, name) for name in fields},
        "previous_state": event.previous_state or None,
        "next_state": event.next_state or None,
    }


def _line(event: pb.Event) -> str:
    change = f" {event.previous_state or 'new'} -> {event.next_state}" if event.next_state else ""
    what = f"{event.model} {event.version}".strip()
    words = f": {event.words}" if event.words else ""
    return f"{event.sequence:>5}  {shown(event.time)}  {event.action:<20} {what}{change} by {event.actor}{words}"
