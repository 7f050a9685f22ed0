"""What evidence costs: a durable append against a bare fsync'd insert, and verifying a long log.

Both inserts are one transaction in WAL with synchronous=FULL, of the same number of bytes, taken in turns on the same
disk: what the log adds is canonical JSON, the tree, a signature, and the second file, which is not waited for.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.report import BenchmarkError, Table, ratio_row
from kedge.audit import files
from kedge.audit.record import Actor, Draft, Verdict, decimal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from kedge.audit.log import AuditLog

ROUNDS: Final = 5
APPENDS: Final = 400
"""A round, of each kind."""
RECORDS: Final = 1_000_000
A_TRANSACTION: Final = 1000
BUILD: Final = Path(__file__).parent.parent / "build"
DRAFT: Final = Draft(
    action="rollout.advanced",
    actor=Actor(name="alice", authenticated_by="token"),
    model="flights-late",
    bundle="ab" * 32,
    snapshots=("cd" * 32,),
    policy="ef" * 32,
    verdict=Verdict(test="server_errors", decision="proven", e_value=decimal(0.0123), n=41_234),
    previous_state="CANARY",
    next_state="CANARY",
    epoch=7,
    rationale="server errors: at most 0.21 points more than the control, 0.5 are allowed; 5 % -> 25 %",
    details={"numbers": {f"{i}.canary.units": 1000 + i for i in range(24)}},
)


def run(*, quick: bool) -> tuple[Table, ...]:
    """Appending, and verifying."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="audit-", dir=BUILD) as folder:
        return _append(Path(folder), 1 if quick else ROUNDS), _verify(Path(folder), RECORDS // (20 if quick else 1))


def _append(folder: Path, rounds: int) -> Table:
    (folder / "log").mkdir(mode=0o700)
    database = files.connect(folder / "log")
    log = files.open_log(folder / "log", database, software="kedge benchmark")
    size = len(log.append(DRAFT).to_bytes())
    (note,) = database.execute("SELECT length(note) + length(frontier) FROM audit_checkpoint").fetchall()[-1]
    bare = files.connect(folder)
    bare.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, one BLOB, two BLOB)")
    payload = os.urandom(size), os.urandom(note)
    kinds: dict[str, Callable[[], object]] = {"bare": lambda: _insert(bare, payload), "log": lambda: log.append(DRAFT)}
    took: dict[str, list[list[int]]] = {name: [] for name in kinds}
    used = dict.fromkeys(kinds, 0)
    for turn in range(2 * rounds):
        for name in sorted(kinds, reverse=bool(turn % 2)):
            begin = time.process_time_ns()
            took[name].append(_times(kinds[name], APPENDS // 2))
            used[name] += time.process_time_ns() - begin
    each = rounds * APPENDS
    rows = [
        (what, _ms(took[name], 50), _ms(took[name], 99), _ms(took[name], 100), used[name] / each / 1e6)
        for name, what in (("bare", "bare insert"), ("log", "append to the log"))
    ]
    ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(took["log"], took["bare"], strict=True)]
    _, middle, spread, _, _, _ = ratio_row("", ratios)
    database.close()
    bare.close()
    return Table(
        f"Audit: one durable record of {size} bytes",
        ("", "median ms", "p99 ms", "worst ms", "CPU ms"),
        tuple(rows),
        (f"Ratio of medians: {middle:.2f} ({spread}); {each:,} of each, in turns.",),
    )


def _insert(database: sqlite3.Connection, payload: tuple[bytes, bytes]) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO plain (one, two) VALUES (?, ?)", payload)
    database.execute("COMMIT")


def _times(work: Callable[[], object], count: int) -> list[int]:
    found = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        work()
        found.append(time.perf_counter_ns() - begin)
    return found


def _ms(parts: list[list[int]], percent: int) -> float:
    values = sorted(value for part in parts for value in part)
    return values[min(len(values) - 1, len(values) * percent // 100)] / 1e6


def _verify(folder: Path, records: int) -> Table:
    state = folder / "long"
    state.mkdir(mode=0o700)
    database = files.connect(state)
    log = files.open_log(state, database, software="kedge benchmark")
    begin = time.perf_counter()
    for _ in range(records // A_TRANSACTION):
        _batch(log)
    wrote = time.perf_counter() - begin
    database.close()
    command = [sys.executable, "-m", "kedge", "audit", "verify", "--state", str(state), "--json"]
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout is not None
    with child.stdout:
        said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)  # of this child alone: other suites had larger ones
    child.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - begin
    if child.returncode:
        raise BenchmarkError(f"{' '.join(command)}: {said}")
    cpu = usage.ru_utime + usage.ru_stime
    size = (state / files.DATABASE).stat().st_size
    return Table(
        f"Audit: verifying {records:,} records",
        ("records", "seconds", "CPU seconds", "records a second", "peak MiB", "log MiB"),
        ((records, took, cpu, records / took, usage.ru_maxrss / 1024, size / 2**20),),
        (f"`kedge audit verify`, start included. Written at {records / wrote:,.0f} records a second.",),
    )


def _batch(log: AuditLog) -> None:
    with log.transaction() as work:
        for _ in range(A_TRANSACTION):
            work.append(DRAFT)
