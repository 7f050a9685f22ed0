"""The second half of `kedge demo`: one release goes live step by step, another is hauled back."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from kedge.cli.common import progress
from kedge.demo.commands import DemoError, kedge
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from kedge.cli.demo import Story
    from kedge.demo.commands import Server
    from kedge.demo.stream import Stream
    from kedge.proto import admin as pb

PATIENCE_SECONDS: Final = 120.0
"""For one rollout, which takes about ten."""
END_STATES: Final = ("LIVE", "QUARANTINED", "PAUSED", "ABORTED")
WARM_UP_REQUESTS: Final = 2_000
"""Before the first release, so that there is something to compare it with."""
RELEASES: Final = (
    ("Release 2.0.0, trained to June: shadow, canary, live", "LIVE"),
    ("Release 3.0.0, the same trees behind a tidied pipeline: somebody mixed up Fahrenheit and Celsius", "QUARANTINED"),
)


class Releases:
    """Tells how two releases fared.

    Args:
        story: the demo it is part of.
        server: with the first version live.
    """

    def __init__(self, story: Story, server: Server) -> None:
        self._story = story
        self._server = server
        self._seen = 0

    def tell(self, model: str, traffic: pa.Table) -> dict[str, Any]:
        """Make both, roll both out under traffic, show the evidence. Returns the figures, for --json."""
        from kedge.demo import flights, plans, train  # noqa: PLC0415 - needs the demo's own packages
        from kedge.demo.stream import Stream  # noqa: PLC0415

        story = self._story
        story.head("Two releases want to follow: one retrained on half a year, one that only tidies the features")
        with progress("retraining", train.TREES, quiet=story.quiet) as step:
            specs = train.retrain(story.directory, step.advance)
        archives = [story.build(spec) for spec in specs]
        labels = traffic[flights.LATE].to_numpy()
        with Stream(self._server.grpc, model, train.inputs(traffic), labels) as stream:
            self._wait(stream, WARM_UP_REQUESTS)
            releases = [
                self._release(title, wanted, archive=archive, plan=plan, stream=stream, model=model)
                for (title, wanted), archive, plan in zip(RELEASES, archives, plans.write(story.directory), strict=True)
            ]
        story.head("What it cost, and what is left of it")
        reported = stream.reported
        story.say(
            f"{stream.answered:,} flights were asked about meanwhile, one a request; every one was answered. "
            f"{reported.accepted:,} labels came back."
        )
        right = self._right(model)
        shares = (f"{version} {share:.1%} of {labelled:,}" for version, (share, labelled) in right.items())
        story.say(f"Right, by version: {', '.join(shares)}")
        self._show("audit", "list", "--state", str(story.state), "--model", model)
        self._show("audit", "verify", "--state", str(story.state))
        return {
            "releases": releases,
            "answered": stream.answered,
            "labels": reported.accepted,
            "accuracy": {version: share for version, (share, _) in right.items()},
        }

    def _right(self, model: str) -> dict[str, tuple[float, int]]:
        """Share of labels that were predicted, and how many there are, by version, whichever arm it answered in."""
        from kedge.client import AdminClient  # noqa: PLC0415 - the command line starts without it

        with AdminClient(self._server.admin) as client:
            report = client.outcomes(model)
        right: dict[str, tuple[float, int]] = {}
        for bundle in sorted(report.bundles, key=lambda one: one.version):
            arms = [arm.open for arm in bundle.arms if arm.open.labelled]
            if arms:
                labelled = sum(figures.labelled for figures in arms)
                share = sum(figures.labelled * figures.accuracy for figures in arms) / labelled
                right[bundle.version] = share, labelled
        return right

    def _release(
        self, title: str, wanted: str, *, archive: Path, plan: Path, stream: Stream, model: str
    ) -> dict[str, Any]:
        story, started = self._story, time.monotonic()
        story.head(title)
        arguments = ["deploy", str(archive), "--plan", str(plan), "--admin", self._server.admin]
        story.command(*arguments)
        deployed = json.loads(kedge([*arguments, "--reason", title.partition(",")[0], "--json"]))
        version = deployed["rollout"]["version"]
        last = self._follow(stream, model, version, started + PATIENCE_SECONDS)
        if last.next_state != wanted:
            raise DemoError(f"release {version} ended as {last.next_state}, not {wanted}: {last.words}")
        seconds = time.monotonic() - started
        return {"version": version, "state": last.next_state, "words": last.words, "seconds": seconds}

    def _follow(self, stream: Stream, model: str, version: str, end: float) -> pb.Event:
        """Show what happens to a version until its rollout ends; returns the last event."""
        from kedge.client import AdminClient  # noqa: PLC0415 - the command line starts without it

        with AdminClient(self._server.admin) as client:
            while time.monotonic() < end:
                stream.check()
                for event in client.events(model, after=self._seen, once=True):
                    self._seen = event.sequence
                    if event.version != version:
                        continue
                    before = f"{event.previous_state} -> " if event.previous_state else ""
                    style = {"LIVE": "green", "QUARANTINED": "red"}.get(event.next_state, "")
                    self._story.screen.print(Text.assemble((f"{before}{event.next_state}", style), f"  {event.words}"))
                    if event.next_state in END_STATES:
                        return event
                time.sleep(0.1)
        raise DemoError(f"the rollout of {model} {version} did not end within {PATIENCE_SECONDS:.0f} s")

    def _wait(self, stream: Stream, requests: int) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while stream.answered < requests:
            stream.check()
            if time.monotonic() > end:
                raise DemoError(f"{self._server.grpc} answered {stream.answered} of {requests} requests in time")
            time.sleep(0.05)

    def _show(self, *arguments: str) -> None:
        self._story.say("")
        self._story.command(*arguments)
        try:
            kedge(list(arguments), allowed=(0, 1), show=not self._story.quiet)
        except KedgeError as error:
            raise DemoError(f"the demo could not show its evidence: {error}") from error
