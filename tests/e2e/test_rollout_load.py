"""Every strategy and every command while clients keep the server busy: no answer is lost, mixed or miscounted."""

from __future__ import annotations

import contextlib
import re
import signal
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from kedge_testing.serving import eventually
from kedge_testing.traffic import Traffic, plus

from kedge.audit import files
from kedge.audit.reader import Reader
from kedge.audit.second import SecondFile
from kedge.audit.verify import verify
from kedge.client import AdminClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERIES = re.compile(r'kedge_(requests|rows)_total\{arm="(\w+)",(?:code="(\w+)",)?model="plus",version="(\d)"\} (\S+)')
QUICK: dict[str, Any] = {
    "steps": [
        {"share": 0.3, "units": 20, "min_seconds": 0.2},
        {"share": 0.6, "units": 20, "min_seconds": 0.2, "proof": False},
    ],
    "baking": {"keep": 0.2, "seconds": 0.2, "units": 20},
}
"""Goes on by itself, a step a look: three seconds in all."""
STILL: dict[str, Any] = {"steps": [{"share": 0.4, "min_seconds": 3600}], "baking": {"keep": 0.2, "seconds": 3600}}
"""Goes on when it is told to."""
SHADOW: dict[str, Any] = {"strategy": "shadow", "shadow": {"min_seconds": 3600}}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("plus")
    return {version: plus(folder, version) for version in ("1", "2", "3")}


class Operator:
    """Commands, each given while answers flow, and what they must lead to."""

    def __init__(self, admin: AdminClient, metrics: str, traffic: Traffic) -> None:
        self.admin = admin
        self.metrics = metrics
        self.traffic = traffic
        self.rollbacks = 0

    def does(self, name: str, subject: str = "plus", **words: Any) -> None:
        getattr(self.admin, name)(subject, reason="a test", **words)
        self.rollbacks += name == "rollback"

    def sees(self, live: str, state: str = "", version: str = "") -> None:
        """The bundle that is live, and where the rollout stands; 50 more requests are answered meanwhile."""
        (model,) = self.admin.status("plus").models
        assert (model.version, model.rollout.state) == (live, state or model.rollout.state)
        assert not version or model.rollout.version == version
        self.answers(50)

    def answers(self, count: int, version: str = "") -> None:
        """Wait for so many more answers, of any bundle or of one."""

        def answered() -> int:
            self.traffic.check()
            found = self.traffic.versions()
            return found[version] if version else found.total()

        wanted = answered() + count
        eventually(lambda: answered() >= wanted)

    def shadowed(self) -> int:
        """Requests that shadows were given and have run."""
        return sum(count for _, arm, _, count in series(self.metrics, "requests") if arm == "shadow")

    def reaches(self, state: str) -> None:
        """Wait until the rollout is there by itself."""
        eventually(lambda: self.admin.status("plus").models[0].rollout.state == state, every=0.1)


def swap(does: Operator, _: Any) -> None:
    does.does("deploy", "plus-2", strategy="swap")
    does.sees("2", "LIVE")
    does.answers(20, "2")


def rollback(does: Operator, _: Any) -> None:
    does.does("rollback")
    does.sees("1", "QUARANTINED")
    does.answers(20, "1")


def commands(does: Operator, _: Any) -> None:
    does.does("clear_quarantine", "plus-2")
    does.does("deploy", "plus-2", strategy="canary", plan=STILL)
    does.sees("1", "CANARY", "2")
    does.answers(20, "2")
    does.does("pause")
    does.sees("1", "PAUSED")
    does.does("resume")
    does.sees("1", "CANARY")
    does.does("abort")
    does.sees("1", "ABORTED")
    does.does("deploy", "plus-2", strategy="canary", plan=STILL)
    does.sees("1", "CANARY")
    does.does("rollback")
    does.sees("1", "QUARANTINED")
    does.does("clear_quarantine", "plus-2")


def shadow(does: Operator, _: Any) -> None:
    before, given = does.traffic.versions()["3"], does.shadowed()
    does.does("deploy", "plus-3", strategy="shadow", plan=STILL | SHADOW)
    does.sees("1", "SHADOW", "3")
    eventually(lambda: does.shadowed() > given, every=0.1)
    assert does.traffic.versions()["3"] == before, "a shadow answers nobody"
    for state, live in (("CANARY", "1"), ("BAKING", "1"), ("LIVE", "3")):
        does.does("promote")
        does.sees(live, state)
        does.answers(5, "3")


def canary(does: Operator, _: Any) -> None:
    """Equal bundles by all that guards look at: it goes through by itself."""
    does.does("deploy", "plus-2", strategy="canary", plan=QUICK)
    does.reaches("LIVE")
    does.sees("2", "LIVE", "2")


def elsewhere(does: Operator, check: Callable[[str], None]) -> None:
    """Back to a bundle that is named, and out of the store with the one that is left: its counts go with it."""
    does.does("rollback", to="plus-1")
    does.sees("1", "QUARANTINED")
    check("2")
    does.does("clear_quarantine", "plus-2")
    does.does("delete", "plus-2")
    eventually(lambda: "2" not in {version for version, *_ in series(does.metrics, "requests")}, every=0.1)
    does.traffic.forget("2")
    does.answers(50)


ACTS = (swap, rollback, commands, shadow, canary, elsewhere)


def series(address: str, what: str) -> list[tuple[str, str, str, int]]:
    """Version, arm, status (of requests) and count of what the server says it answered."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        found = SERIES.findall(answer.read().decode())
    return [(version, arm, code, int(float(n))) for kind, arm, code, version, n in found if kind == what and float(n)]


def counted(address: str, versions: str) -> dict[str, Counter[tuple[str, str]]]:
    """Requests and rows of these versions by version and arm as the server counts them, shadows apart; all were OK."""
    counts: dict[str, Counter[tuple[str, str]]] = {"requests": Counter(), "rows": Counter()}
    for what, counter in counts.items():
        for version, arm, code, count in series(address, what):
            assert code in {"", "OK"}, (version, arm, code, count)
            if version in versions and arm != "shadow":
                counter[version, arm] += count
    return counts


@pytest.mark.parametrize("plane", ["native", "portable"])
def test_no_command_loses_a_request_or_mixes_a_batch(
    plane: str, serve: Any, archives: dict[str, Path], tmp_path: Path
) -> None:
    drive(plane, serve, archives, tmp_path, clients=6, pause=0.06, rounds=1)


@pytest.mark.long
@pytest.mark.parametrize("plane", ["native", "portable"])
def test_no_command_loses_a_request_under_full_load(
    plane: str, serve: Any, archives: dict[str, Path], tmp_path: Path
) -> None:
    drive(plane, serve, archives, tmp_path, clients=24, pause=0.0, rounds=5)


def drive(plane: str, serve: Any, archives: dict[str, Path], state: Path, rounds: int, **load: Any) -> None:
    """All acts under load, `rounds` times; then everything is counted."""
    server = serve("--plane", plane, "--bundle", archives["1"], state=state / "state")
    with AdminClient(server.admin) as admin:
        bundles = {one.version: one.id for one in (admin.bundle("plus-1").bundle, admin.upload(archives["3"]))}
        traffic = Traffic(server.grpc, bundles, seed=7, **load)

        def check(versions: str) -> None:
            """What is counted is counted after the answer has left."""
            with contextlib.suppress(AssertionError):
                eventually(lambda: counted(server.metrics, versions) == traffic.tally(versions))
            assert counted(server.metrics, versions) == traffic.tally(versions)

        with traffic:
            does = Operator(admin, server.metrics, traffic)
            for _ in range(rounds):
                bundles["2"] = admin.upload(archives["2"]).id
                for act in ACTS:
                    act(does, check)
        assert traffic.sent == traffic.answered.total()
        check("13")
        events = list(admin.events("plus", once=True))
    moves = [event for event in events if event.next_state == "ROLLING_BACK"]
    assert len(moves) == does.rollbacks
    assert [event.words for event in moves if event.actor == "system"] == []
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    with Reader(state / "state" / files.DATABASE) as log:
        lines = SecondFile(state / "state" / files.CHECKPOINTS).lines()
        assert verify(log, lines, pinned=files.known_keys(state / "state")).ok
