"""What a soak did and found, as a table for people and JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from kedge_testing.soak.probes import Probes
    from kedge_testing.soak.world import World

MIB = 1 << 20


def line(world: World, probes: Probes) -> str:
    """How it stands, in one line."""
    counts = world.counts
    last = probes.samples[-1] if probes.samples else None
    using = "" if last is None else f", {last.rss // MIB} MiB, {last.fds} fds, {last.threads} threads"
    happened = sum(n for name, n in counts.items() if name.startswith(("rollouts", "act ", "life ")))
    return (
        f"{world.second:6.0f} s  {counts['requests OK']:,} answers, {counts['rows']:,} rows, {happened} events, "
        f"{counts['comparisons of counts']} comparisons, {len(world.findings)} findings{using}"
    )


def table(world: World, probes: Probes) -> str:
    """All counts, and the least and most memory of each life."""
    lines = [f"{name:40} {count:>12,}" for name, count in sorted(world.counts.items())]
    lines += [f"slowest {name:32} {seconds:>10.2f} s" for name, seconds in sorted(probes.slowest.items())]
    for life in sorted({one.life for one in probes.samples}):
        mine = [one for one in probes.samples if one.life == life]
        begin, end = mine[min(10, len(mine) - 1)], mine[-1]
        lines.append(
            f"life {life:3} {begin.second:6.0f} to {end.second:6.0f} s: {begin.rss // MIB} to {end.rss // MIB} MiB, "
            f"{begin.fds} to {end.fds} fds, {begin.threads} to {end.threads} threads"
        )
    return "\n".join([*lines, *(f"WRONG {finding}" for finding in world.findings)])


def write(path: Path, world: World, probes: Probes) -> None:
    """The same as JSON."""
    said: dict[str, Any] = {
        "seed": world.seed,
        "seconds": world.second,
        "counts": dict(world.counts),
        "findings": world.findings,
        "slowest": probes.slowest,
        "samples": [asdict(one) for one in probes.samples],
    }
    path.write_text(json.dumps(said, indent=1) + "\n")
