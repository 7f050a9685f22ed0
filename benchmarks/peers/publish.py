"""Write what a run of the suite found into both READMEs and the chart.

python -m benchmarks --only peers --json > build/bench/peers.json
python -m benchmarks.peers.publish build/bench/peers.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from benchmarks.load.process import ROOT
from benchmarks.peers.chart import draw
from benchmarks.peers.section import Found, SectionError, details, replaced, summary

CHART: Final = ROOT / ".github/peers.png"


def main(path: Path) -> None:
    try:
        found = Found(json.loads(path.read_text()))
        parts = {ROOT / "benchmarks/README.md": details(found), ROOT / "README.md": summary(found)}
        for readme, part in parts.items():
            readme.write_text(replaced(readme.read_text(), part))
        draw(found, CHART)
    except (SectionError, OSError, ValueError) as error:
        sys.exit(f"error: {path}: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
