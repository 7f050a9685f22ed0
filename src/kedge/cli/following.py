"""Following a rollout until it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.text import Text

from kedge.cli.common import progress
from kedge.cli.rollout_text import state_text
from kedge.errors import Code, RequestError

if TYPE_CHECKING:
    from kedge.client import AdminClient
    from kedge.proto import admin as pb

EVERY: Final = 1.0
"""Seconds between two looks."""


def follow(client: AdminClient, begun: pb.ModelStatus, *, quiet: bool) -> pb.ModelStatus:
    """Look at a rollout until it ends or is paused, with a bar of the plan's steps.

    Raises:
        RequestError: another rollout took its place.
        UnreachableError: the server went away.
    """
    candidate, item = begun.rollout.bundle, begun
    stages = item.rollout.steps + 1
    with progress(_words(item), total=stages, quiet=quiet) as bar:
        done = 0
        while not item.rollout.over and item.rollout.state != "PAUSED":
            time.sleep(EVERY)
            item = client.status(begun.model).models[0]
            if item.rollout.bundle != candidate:
                raise RequestError(
                    Code.FAILED_PRECONDITION,
                    f"another rollout took the place of {begun.model} {begun.rollout.version}; see: kedge events",
                )
            now = stages - 1 if item.rollout.state == "BAKING" else item.rollout.step
            bar.describe(_words(item))
            bar.advance(now - done)
            done = now
    return item


def _words(item: pb.ModelStatus) -> str:
    return f"{item.model} {item.rollout.version}: {Text.from_markup(state_text(item.rollout)).plain}"
