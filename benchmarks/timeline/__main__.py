"""Send a year of flights to a server that knows half a winter, and draw what it says.

python -m benchmarks.timeline [-o .github/timeline.png] [--redraw]

Nothing is injected: `kedge serve` in a process of its own, on its own clock, its evaluator looking once a second. Every
second gets 1,000 flights, about a day of them, so that it takes about seven minutes, most of them idle. A cell is the
drift report over that month; the time until a planted fault is found is the evaluator's. Control charts, which want
weeks of hours, have no part in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.timeline import season
from benchmarks.timeline.picture import draw
from benchmarks.timeline.play import Column, Play
from kedge.demo import flights, train
from kedge.demo.commands import kedge, serving
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.timeline.season import Part

ROOT: Final = Path(__file__).parent.parent.parent
WORK: Final = ROOT / "build/bench/timeline"
FOUND: Final = WORK / "timeline.json"
MODEL: Final = train.MODELS[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timeline", description="Draw a year of drift.")
    parser.add_argument(
        "-o", "--output", type=Path, default=ROOT / ".github/timeline.png", help="the picture (default: %(default)s)"
    )
    parser.add_argument("--redraw", action="store_true", help=f"draw what the last run found, from {FOUND.name}")
    options = parser.parse_args()
    try:
        if not options.redraw:
            columns = run()
            FOUND.write_text(json.dumps([dataclasses.asdict(column) for column in columns], indent=1))
        draw([Column(**item) for item in json.loads(FOUND.read_text())], options.output)
    except (KedgeError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"drawn: {options.output}")


def run() -> list[Column]:
    """Train on half of winter, serve, send everything."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    year = flights.load()
    reference, held_out = season.halves(year)
    (spec,) = train.train_on(reference, WORK, [MODEL])
    bundle = WORK / "bundle.kedge"
    kedge(["bundle", "build", str(spec), "-o", str(bundle)])
    columns = _served(bundle, season.months(year, held_out))
    for part in season.faults(held_out):  # each to a server of its own, which has seen nothing but winter
        columns += _served(bundle, [part])
    return columns


def _served(bundle: Path, parts: Iterable[Part]) -> list[Column]:
    shutil.rmtree(WORK / "state", ignore_errors=True)
    columns = []
    free = ["--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    with (
        serving(
            ["--state", str(WORK / "state"), "--bundle", str(bundle), "--plane", "native", *free], WORK / "serve.log"
        ) as server,
        Play(server, MODEL) as play,
    ):
        for part in parts:
            columns.append(play.part(part))
            print(_line(columns[-1]), flush=True)
    return columns


def _line(column: Column) -> str:
    moved = [
        f"{name} ({cell['cause'].lower()})"
        for name, cell in column.cells.items()
        if cell["verdict"] in ("WARN", "CRITICAL")
    ]
    return f"{column.name:16} {column.rows:7,} flights: {', '.join(moved) or 'quiet'}"


if __name__ == "__main__":
    main()
