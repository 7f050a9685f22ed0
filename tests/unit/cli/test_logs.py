"""Log lines: structured, on one line, and bounded when one repeats."""

from __future__ import annotations

import json
import logging
import sys

from kedge.cli.logs import BURST, PER_SECONDS, JsonFormatter, RateLimit, TextFormatter


def record(message: str = "queue full", level: int = logging.WARNING, **data: object) -> logging.LogRecord:
    made = logging.LogRecord("kedge.x", level, __file__, 1, message, (), None)
    if data:
        made.__dict__["data"] = data
    return made


def test_json_has_the_fields_a_machine_asks_for() -> None:
    line = json.loads(JsonFormatter().format(record(model="m", waiting=3)))
    assert line["time"].endswith("Z")
    assert {k: line[k] for k in ("level", "logger", "message", "model", "waiting")} == {
        "level": "warning",
        "logger": "kedge.x",
        "message": "queue full",
        "model": "m",
        "waiting": 3,
    }


def test_text_is_one_line_even_for_an_exception() -> None:
    made = record()
    try:
        raise ValueError("two\nlines")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = TextFormatter().format(made)
    assert "\n" not in line
    assert "ValueError: two lines" in line
    assert "Traceback" not in line


def test_what_a_stranger_chose_does_not_steer_a_terminal() -> None:
    line = TextFormatter().format(record(model="\x1b[2Ja\u202eb\x00"))
    assert line.endswith("model=?[2Ja?b? [kedge.x]")
    assert json.loads(JsonFormatter().format(record(model="\x1b[2J")))["model"] == "\x1b[2J"


def test_a_message_that_repeats_is_bounded_and_the_dropped_are_counted() -> None:
    now = [0.0]
    limit = RateLimit(clock=lambda: now[0])
    kept = sum(bool(limit.filter(record())) for _ in range(50))
    assert kept == BURST
    assert limit.filter(record("something else"))
    now[0] = PER_SECONDS
    later = record(model="m")
    assert limit.filter(later)
    assert later.__dict__["data"] == {"model": "m", "dropped_before": 50 - BURST}


def test_critical_is_never_dropped() -> None:
    limit = RateLimit(clock=lambda: 0.0)
    assert all(limit.filter(record(level=logging.CRITICAL)) for _ in range(3 * BURST))
