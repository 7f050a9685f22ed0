"""What holds after every start, and of a process over its whole life."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from kedge.audit import files
from kedge.audit.reader import Reader
from kedge.audit.second import SecondFile
from kedge.audit.verify import verify
from kedge.client import AdminClient
from kedge_testing.soak.life import ROOT
from kedge_testing.soak.operator import UNDER_WAY
from kedge_testing.soak.probes import ANSWER_SECONDS
from kedge_testing.soak.world import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kedge_testing.soak.life import Life
    from kedge_testing.soak.probes import Sample
    from kedge_testing.soak.world import World

WARM_UP: Final = 0.25
"""Share of a life after which memory is held to be what it will be."""
LEAST_SECONDS: Final = 240.0
"""Shorter lives say nothing about a slope."""
GROWTH: Final = 0.20
GROWTH_BYTES: Final = 32 << 20
"""What the least resident memory of a life's last third may have grown over that of the third before: the counts of
closed epochs are kept for a while, so memory settles only after some hundred rollouts."""
MORE_FDS: Final = 8
MORE_THREADS: Final = 4
"""What descriptors and threads may rise by between those thirds, at their least: connections come and go."""


def audit(world: World, state: Path) -> None:
    """The log is whole: recomputed from its stored bytes."""
    with Reader(state / files.DATABASE) as log:
        report = verify(log, SecondFile(state / files.CHECKPOINTS).lines(), pinned=files.known_keys(state))
    world.add("audit verifications")
    if not report.ok:
        world.wrong("audit", "a log that verifies", "; ".join(map(str, report.findings)))


def verified(world: World, state: Path) -> None:
    """What an auditor runs says the same."""
    command = [sys.executable, "-m", "kedge", "audit", "verify", "--state", str(state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
    world.add("kedge audit verify: intact", done.returncode == 0)
    if done.returncode:
        world.wrong("kedge audit verify", "exit status 0", f"{done.returncode}: {done.stdout}{done.stderr}")


def records(state: Path) -> int:
    """Audit records so far."""
    database = state / files.DATABASE
    if not database.exists():
        return 0
    with Reader(database) as log:
        return log.size()


def standing(world: World, life: Life, before: Mapping[str, tuple[str, str, str]], *, clean: bool) -> None:
    """A start serves the stable bundle alone; what was under way waits, or is quarantined after an unclean end.

    Args:
        before: live version, candidate's version and its state by model, as the last server had them.
    """
    with AdminClient(life.admin, timeout=ANSWER_SECONDS) as admin:
        found = {model.model: model for model in admin.status().models}
    for name, (live, candidate, state) in before.items():
        model = found.get(name)
        if model is None or model.version != live:
            world.wrong(f"start of {name}", f"{live} live", model and model.version)
            continue
        under_way = state in UNDER_WAY
        expected = ("PAUSED" if clean else "QUARANTINED") if under_way else state
        if candidate and (model.rollout.version, model.rollout.state) != (candidate, expected):
            got = f"{model.rollout.version} {model.rollout.state}"
            world.wrong(f"start of {name} after {state}", f"{candidate} {expected}", got)
        if under_way and model.rollout.share:
            world.wrong(f"start of {name}", "all traffic on the stable bundle", model.rollout.share)
    world.add("starts checked")


def flat(world: World, samples: Sequence[Sample]) -> None:
    """Memory, descriptors and threads of lives that were long enough."""
    for life in sorted({one.life for one in samples}):
        mine = [one for one in samples if one.life == life]
        first, last = mine[0].second, mine[-1].second
        if last - first < LEAST_SECONDS:
            continue
        begin = first + WARM_UP * (last - first)
        step = (last - begin) / 3
        earlier = [one for one in mine if begin + step <= one.second < begin + 2 * step]
        later = [one for one in mine if one.second >= begin + 2 * step]
        rss, now = min(one.rss for one in earlier), min(one.rss for one in later)
        if now > rss * (1 + GROWTH) + GROWTH_BYTES:
            world.wrong(f"memory of life {life}", f"{rss >> 20} MiB as before", f"{now >> 20} MiB")
        for what, more in (("fds", MORE_FDS), ("threads", MORE_THREADS)):
            was, is_ = (min(getattr(one, what) for one in part) for part in (earlier, later))
            if is_ > was + more:
                world.wrong(f"{what} of life {life}", f"{was} as before", is_)
