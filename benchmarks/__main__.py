"""Run the benchmarks and print their tables, ratios first.

python -m benchmarks [--only load,change,neighbours,kernel,power,audit,overload,scale,peers] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from benchmarks import audit, change, neighbours, overload, report, scale, scripts
from benchmarks.load import suite as load
from benchmarks.peers import suite as peers
from benchmarks.report import BenchmarkError
from kedge.errors import KedgeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.report import Table

SUITES: Final[dict[str, Callable[..., tuple[Table, ...]]]] = {
    "load": load.run,
    "change": change.run,
    "neighbours": neighbours.run,
    "kernel": scripts.kernel,
    "power": scripts.power,
    "audit": audit.run,
    "overload": overload.run,
    "scale": scale.run,
    "peers": peers.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Kedge. benchmarks/README.md says what the figures mean."
    )
    parser.add_argument("--only", default=",".join(SUITES), help="suites, joined by commas (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="four minutes: does everything run, and about how fast")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in SUITES]:
        parser.error(f"--only: no suite '{unknown[0]}'; there are {', '.join(SUITES)}")
    facts = report.machine()
    if not options.json:
        print("\n".join(f"- {name}: {fact}" for name, fact in facts.items()), end="\n\n", flush=True)
    found = {}
    for name in names:
        others = report.OtherWork()
        try:
            tables = SUITES[name](quick=options.quick)
        except (BenchmarkError, KedgeError, subprocess.SubprocessError) as error:
            sys.exit(f"error: suite '{name}': {error}")
        cores = others.cores()
        found[name] = {"other_work_cores": cores, "tables": [table.json() for table in tables]}
        if not options.json:
            print(f"## {name}\n", *(table.markdown() for table in tables), sep="\n")
            print(f"Meanwhile other work took {cores:.2f} cores of this machine.\n", flush=True)
    if options.json:
        print(json.dumps({"machine": facts, "suites": found}))


if __name__ == "__main__":
    main()
