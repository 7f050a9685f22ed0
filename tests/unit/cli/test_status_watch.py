"""The live view: every state draws, bars say how far a decision is, and Ctrl-C ends it."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kedge_testing import admins

import kedge.cli
from kedge.cli import status_watch
from kedge.proto import admin as pb
from kedge.rollout.states import State


def drawn(*models: pb.ModelStatus, now: float = 1000.0, width: int = 160) -> str:
    screen = Console(file=io.StringIO(), width=width, highlight=False)
    screen.print(status_watch.view(pb.ServerStatus(kedge_version="1", ready=True, models=models), now))
    out = screen.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def model(state: str = "CANARY", **fields: Any) -> pb.ModelStatus:
    said: dict[str, Any] = {
        "state": state, "version": "2.0.0", "control_version": "1.0.0", "strategy": "canary", "steps": 3, "step": 1,
        "shares": [0.05, 0.25, 0.5], "share": 0.25, "step_started": 700.0, "step_seconds": 600.0,
        "candidate_units": 2113, "control_units": 6400, "decision": "waiting for 387 more units",
    }  # fmt: skip
    return pb.ModelStatus(
        model="flights", version="1.0.0", bundle="a" * 64, legal=["pause"], rollout=pb.Rollout(**said | fields)
    )


def test_a_canary_shows_steps_share_time_units_and_evidence() -> None:
    readings = [
        pb.Reading(
            guard="errors", log_e=3.2, threshold=6.4, upper=0.01, margin=0.005, n=40, verdict="open", required=True
        ),
        pb.Reading(guard="slow", log_e=-2.0, threshold=6.4, upper=0.004, margin=0.01, n=9, verdict="proven"),
        pb.Reading(guard="scores", lower=0.02, margin=0.1, n=2000, verdict="insufficient"),
        pb.Reading(guard="outcomes", verdict="off"),
        pb.Reading(guard="labels", verdict="off"),
    ]
    text = drawn(model(readings=readings))
    for words in (
        "2.0.0 against 1.0.0: CANARY, step 2 of 3, 25 % of requests",
        "waiting for 387 more units",
        "5 %  >  25 %  >  50 %  >  baking  >  live",
        "5 min of 10 min",
        "2,113 candidate, 6,400 control",
        "errors *",
        "3.20 of 6.40",
        "1 % of 0.5 %",
        "not watched: outcomes, labels",
        "fits now: pause",
    ):
        assert words in text, text
    bars = {line.split()[0]: line.count("━") + line.count("╸") for line in text.splitlines() if "━" in line}
    assert bars["errors"] > 0


def test_on_a_narrow_terminal_a_guard_takes_one_line_and_its_bars_give_way() -> None:
    reading = pb.Reading(
        guard="sample_ratio", log_e=3.2, threshold=6.4, upper=0.067, margin=0.005, n=2113, verdict="insufficient"
    )
    text = drawn(model(readings=[reading]), width=80)
    (line,) = (line for line in text.splitlines() if line.startswith("  sample_ratio"))
    for words in ("insufficient", "3.20 of 6.40", "6.7 % of 0.5 %", "2,113", "━"):
        assert words in line, text
    assert text.index("fits now") < text.index("sample_ratio")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("strategy", ["swap", "shadow", "canary"])
def test_every_state_of_every_strategy_draws(state: State, strategy: str) -> None:
    shares = [] if strategy == "swap" else [0.05, 0.25, 0.5]
    steps = len(shares)
    held = "SHADOW" if state is State.PAUSED and strategy == "shadow" else ""
    item = model(state.value, held=held, strategy=strategy, shares=shares, steps=steps, step=min(1, steps))
    assert state.value in drawn(item)
    item.rollout.over = True
    assert state.value in drawn(item, width=40)


def test_figures_without_sense_draw_as_nothing() -> None:
    readings = [
        pb.Reading(guard="a", log_e=math.inf, threshold=0.0, upper=0.0, margin=0.0),
        pb.Reading(guard="b", log_e=math.nan, threshold=6.0, upper=math.nan, margin=0.1),
        pb.Reading(guard="[red]c[/]", log_e=1e9, threshold=6.0, upper=-1.0, margin=0.1, verdict="harm"),
    ]
    text = drawn(model(readings=readings, share=0.0, step_started=2000.0))
    assert "[red]c[/]" in text


def test_nothing_live_and_quarantines_are_said() -> None:
    assert "no model is live" in drawn()
    item = pb.ModelStatus(model="flights", unrecorded="the disk is full")
    item.quarantined.add(version="2.0.0", reason="errors rose")
    text = drawn(item)
    assert "nothing is live" in text
    assert "quarantined 2.0.0: errors rose" in text
    assert "not yet in the audit log: the disk is full" in text


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_ctrl_c_ends_the_view(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    looks: list[float] = []

    def interrupt(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("kedge.cli.status_watch.time.sleep", interrupt)
    with admins.listening(tmp_path / "state") as port, pytest.raises(SystemExit) as end:
        kedge.cli.main(["status", "--watch", "--admin", port.server.address, *flags])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == (2 if flags else 6)
    assert looks == [status_watch.EVERY] * 2
