"""`make soak`: SOAK_SECONDS (default 3600), SOAK_SEED (default drawn), SOAK_PLANE (default native)."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path

from kedge_testing.soak import report
from kedge_testing.soak.run import Soak
from kedge_testing.soak.schedule import drawn


def main() -> int:
    """Run a soak; 1 if it found anything."""
    seconds = float(os.environ.get("SOAK_SECONDS", "3600"))
    seed = int(os.environ.get("SOAK_SEED") or secrets.randbelow(10**6))
    where = Path(os.environ.get("SOAK_REPORT", "build/soak.json"))
    where.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kedge-soak-") as root:
        soak = Soak(Path(root), seed=seed, plane=os.environ.get("SOAK_PLANE", "native"), say=say)
        world = soak.run(drawn(seed, seconds))
        (where.parent / "soak-server.log").write_bytes((Path(root) / "server.log").read_bytes())
    report.write(where, world, soak.probes)
    say(report.table(world, soak.probes))
    say(f"{len(world.findings)} findings; report: {where}; again with SOAK_SEED={seed}")
    return bool(world.findings)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
