"""How a model and its rollout are told: as JSON, and in lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from kedge.cli.common import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kedge.proto import admin as pb

COLOURS: Final = {
    "LIVE": "green",
    "PAUSED": "yellow",
    "ABORTED": "yellow",
    "ROLLING_BACK": "bold red",
    "ROLLED_BACK": "bold red",
    "QUARANTINED": "bold red",
}
VERDICTS: Final = {"harm": "bold red", "proven": "green", "insufficient": "dim"}
OFF: Final = "off"
COUNTED: Final = {
    **dict.fromkeys(("labels", "sample_ratio", "distribution"), "units"),
    "confidence": "rows",
    **dict.fromkeys(("disagreement", "difference", "failed"), "pairs"),
}
"""What readings count that do not count events."""
OK: Final = 0


def model_payload(item: pb.ModelStatus) -> dict[str, Any]:
    """Where a model stands, for JSON."""
    return {
        "model": item.model,
        "version": item.version or None,
        "bundle": item.bundle or None,
        "epoch": item.epoch,
        "live_since": item.live_since,
        "last_good": {"bundle": item.last_good, "version": item.last_good_version} if item.last_good else None,
        "rollout": rollout_payload(item.rollout) if item.HasField("rollout") else None,
        "quarantined": [
            {"bundle": one.bundle, "version": one.version, "since": one.since, "reason": one.reason}
            for one in item.quarantined
        ],
        "legal": list(item.legal),
        "revision": item.revision,
        "unrecorded": item.unrecorded or None,
    }


def rollout_payload(item: pb.Rollout) -> dict[str, Any]:
    """A rollout for JSON."""
    fields = (
        "bundle", "version", "state", "strategy", "plan", "step", "steps", "share", "started", "step_started",
        "step_seconds", "candidate_units", "control_units", "decision", "over",
    )  # fmt: skip
    return {
        **{name: getattr(item, name) for name in fields},
        "held": item.held or None,
        "control": item.control or None,
        "control_version": item.control_version or None,
        "paused_by": item.paused_by or None,
        "shares": list(item.shares),
        "readings": [reading_payload(one) for one in item.readings],
    }


def reading_payload(item: pb.Reading) -> dict[str, Any]:
    """A guard's reading for JSON; figures that it does not have are null."""
    some = ("log_e", "lower", "upper", "detectable")
    fields = ("guard", "threshold", "margin", "n", "verdict", "words", "action", "required")
    return {
        **{name: getattr(item, name) for name in fields},
        **{name: getattr(item, name) if item.HasField(name) else None for name in some},
        "numbers": dict(sorted(item.numbers.items())),
    }


def under_way(item: pb.ModelStatus) -> bool:
    """Whether a rollout of this model goes on."""
    return item.HasField("rollout") and not item.rollout.over


def state_text(item: pb.Rollout) -> str:
    """A rollout's state in colour, with its step and share."""
    colour = COLOURS.get(item.state, "cyan")
    held = f" in {item.held}" if item.held else ""
    step = ""
    if item.steps and "CANARY" in {item.state, item.held}:
        step = f", step {item.step + 1} of {item.steps}"
    share = f", {item.share * 100:.3g} % of requests" if item.share and not item.over else ""
    return f"[{colour}]{item.state}[/]{held}{step}{share}"


def watched(item: pb.Rollout) -> list[pb.Reading]:
    """Readings of the guards that watch."""
    return [one for one in item.readings if one.verdict != OFF]


def counted(item: pb.Reading) -> str:
    """What a guard counted so far and of what: few events among many units are not few units."""
    return f"{item.n:,} {COUNTED.get(item.guard, 'events')}"


def unwatched(item: pb.Rollout) -> list[str]:
    """A line that names the guards that do not; none where all do."""
    names = ", ".join(one.guard for one in item.readings if one.verdict == OFF)
    return [f"  [dim]not watched: {escape(names)}[/]"] if names else []


def rollout_lines(item: pb.ModelStatus) -> list[RenderableType]:
    """A model's rollout: where it stands, why, what each guard says and what may be done. Empty without one."""
    if not item.HasField("rollout"):
        return []
    rollout = item.rollout
    against = f" against {escape(rollout.control_version)}" if rollout.control_version else ""
    who = f", paused by {escape(rollout.paused_by)}" if rollout.paused_by else ""
    head = f"[bold]{escape(item.model)}[/] {escape(rollout.version)}{against}: {state_text(rollout)}{who}"
    lines: list[RenderableType] = [head]
    if rollout.decision:
        lines.append(f"  {escape(rollout.decision)}")
    if under_way(item) and rollout.readings:
        grid = table(None, "  guard", "verdict", "counted", "says", right=("counted",))
        for one in watched(rollout):
            verdict = f"[{VERDICTS.get(one.verdict, 'default')}]{one.verdict}[/]"
            grid.add_row(f"  {escape(one.guard)}", verdict, counted(one), escape(one.words))
        lines += [grid, *unwatched(rollout)]
    return lines


def model_lines(item: pb.ModelStatus) -> list[RenderableType]:
    """What a command did, and what fits now."""
    live = f"{escape(item.version)} is live (bundle {item.bundle[:12]})" if item.bundle else "nothing is live"
    lines: list[RenderableType] = [f"[bold]{escape(item.model)}[/]: {live}", *rollout_lines(item)]
    if item.unrecorded:
        lines.append(f"[bold red]not yet in the audit log:[/] {escape(item.unrecorded)}")
    if item.legal:
        lines.append(f"fits now: {', '.join(item.legal)} (revision {item.revision})")
    return lines


def quarantined_lines(items: list[pb.ModelStatus]) -> list[RenderableType]:
    """What waits for a person."""
    return [
        f"[red]quarantined[/] {escape(item.model)} {escape(one.version)} ({one.bundle[:12]}): {escape(one.reason)}"
        for item in items
        for one in item.quarantined
    ]
