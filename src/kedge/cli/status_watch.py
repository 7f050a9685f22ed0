"""`kedge status --watch`: rollouts as they go, with the evidence towards each decision as bars."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar

from kedge.cli.common import console, table, to_json
from kedge.cli.moments import lasting, shown
from kedge.cli.rollout_text import OK, VERDICTS, counted, state_text, under_way, unwatched, watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from kedge.cli.connecting import Server
    from kedge.proto import admin as pb

EVERY: Final = 1.0
"""Seconds between two looks: as often as the server's evaluator has something new to say."""
BAR: Final = 20
"""Columns of a bar."""


def follow(server: Server, model: str, payload: Callable[[pb.ServerStatus], dict[str, Any]], *, as_json: bool) -> None:
    """Show a server's status until interrupted: a live view on a terminal, else one after the other.

    Args:
        server: that is asked.
        model: only this one; empty: all.
        payload: a status for JSON.
        as_json: print a line of JSON a look.

    Raises:
        RequestError: no such model.
        UnreachableError: nothing answers at the address, or it went away.
    """
    screen = console()
    try:
        with server.client() as client:
            if as_json or not sys.stdout.isatty():
                while True:
                    answer = client.status(model)
                    if as_json:
                        sys.stdout.write(to_json({"time": time.time(), **payload(answer)}) + "\n")
                        sys.stdout.flush()
                    else:
                        screen.print(view(answer, time.time()))
                    time.sleep(EVERY)
            with Live(console=screen, auto_refresh=False, screen=False) as live:
                while True:
                    live.update(view(client.status(model), time.time()), refresh=True)
                    time.sleep(EVERY)
    except KeyboardInterrupt:  # how one stops watching
        return


def view(answer: pb.ServerStatus, now: float) -> RenderableType:
    """One look at a server.

    Args:
        answer: what it said.
        now: seconds since 1970.
    """
    state = "[green]ready[/]" if answer.ready else "[yellow]not ready[/]"
    head = f"kedge {answer.kedge_version} {state}, up {lasting(answer.uptime_seconds)}, {shown(now)}; Ctrl-C ends"
    blocks: list[RenderableType] = [head]
    for item in answer.models:
        blocks += ["", *_model(item, now)]
    if not answer.models:
        blocks += ["", "no model is live"]
    return Group(*blocks)


def _model(item: pb.ModelStatus, now: float) -> list[RenderableType]:
    total = sum(item.requests.values())
    failed = total - item.requests.get(OK, 0)
    live = f"{escape(item.version)} live since {shown(item.live_since)}" if item.bundle else "nothing is live"
    good = f", {escape(item.last_good_version)} warm to go back to" if item.last_good else ""
    counts = f", {total:,} requests, {failed:,} failed, {item.rows:,} rows" if item.bundle else ""
    lines: list[RenderableType] = [f"[bold]{escape(item.model)}[/] {live}{good}{counts}"]
    lines += [f"[red]quarantined[/] {escape(one.version)}: {escape(one.reason)}" for one in item.quarantined]
    if item.unrecorded:
        lines.append(f"[bold red]not yet in the audit log:[/] {escape(item.unrecorded)}")
    if item.HasField("rollout"):
        lines += _rollout(item, now)
    return lines


def _rollout(item: pb.ModelStatus, now: float) -> list[RenderableType]:
    rollout = item.rollout
    against = f" against {escape(rollout.control_version)}" if rollout.control_version else ""
    who = f", paused by {escape(rollout.paused_by)}" if rollout.paused_by else ""
    lines: list[RenderableType] = [f"{escape(rollout.version)}{against}: {state_text(rollout)}{who}"]
    if rollout.decision:
        lines.append(f"  {escape(rollout.decision)}")
    if not under_way(item):
        return lines
    lines.append(f"  {_steps(rollout)}")
    grid = table(None, "", "", "")
    grid.show_header = False
    grid.add_row("  share", _bar(rollout.share, width=BAR), f"{rollout.share * 100:.3g} % of requests")
    spent = max(0.0, now - rollout.step_started)
    if rollout.step_started and rollout.step_seconds:
        grid.add_row(
            "  time",
            _bar(spent / rollout.step_seconds, width=BAR),
            f"{lasting(spent)} of {lasting(rollout.step_seconds)}",
        )
    grid.add_row("  units", "", f"{rollout.candidate_units:,} candidate, {rollout.control_units:,} control")
    lines.append(grid)
    if item.legal:
        lines.append(f"  fits now: {', '.join(item.legal)} (revision {item.revision})")
    if rollout.readings:  # last: what a low terminal cuts off is the end
        lines.append(_guards(rollout))
    return lines


def _steps(rollout: pb.Rollout) -> str:
    """Every stage of the plan; the one under way stands out."""
    stage = rollout.held or rollout.state
    canary = [f"{share * 100:.3g} %" for share in rollout.shares]
    names = ["shadow"] * (rollout.strategy == "shadow" or stage == "SHADOW") + canary
    names += ["baking", "live"] if rollout.strategy != "swap" or stage == "BAKING" else ["live"]
    now = {"SHADOW": 0, "BAKING": len(names) - 2, "LIVE": len(names) - 1}.get(stage)
    if stage == "CANARY":
        now = len(names) - 2 - len(canary) + rollout.step
    styles = ["dim"] * len(names)
    if now is not None:
        styles[:now] = ["green"] * now
        styles[now] = "bold reverse"
    words = [f"[{style}] {name} [/]" for style, name in zip(styles, names, strict=True)]
    return " > ".join(words)


def _guards(rollout: pb.Rollout) -> RenderableType:
    """How far every guard is from rolling back, and from letting the candidate pass."""
    grid = table(None, "  guard", "verdict", "", "to roll back", "", "to be proven", "counted", right=("counted",))
    for column in grid.columns:  # on a narrow terminal the bars give way
        column.no_wrap, column.max_width = bool(column.header), None if column.header else BAR
    for item in watched(rollout):
        harm: tuple[RenderableType, str] = ("", "")
        if item.HasField("log_e") and item.threshold > 0:
            harm = (_bar(item.log_e / item.threshold, "red"), f"{item.log_e:.2f} of {item.threshold:.2f}")
        proof: tuple[RenderableType, str] = ("", "")
        if item.HasField("upper") and item.margin > 0:
            share = 1.0 if item.upper < item.margin else item.margin / item.upper
            proof = (_bar(share), f"{item.upper * 100:.3g} % of {item.margin * 100:.3g} %")
        verdict = f"[{VERDICTS.get(item.verdict, 'default')}]{item.verdict}[/]"
        name = f"  {escape(item.guard)}{' *' if item.required else ''}"
        grid.add_row(name, verdict, *harm, *proof, counted(item))
    return Group("", grid, *unwatched(rollout), "  * promotion waits for its proof: harm surely below the margin")


def _bar(share: float, colour: str = "green", width: int | None = None) -> ProgressBar:
    full = min(1.0, max(0.0, share))
    return ProgressBar(total=1.0, completed=full, width=width, complete_style=colour, finished_style=f"bold {colour}")
