"""`kedge audit replay | rotate-key`, as a user runs them on a state directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kedge.audit import files, keys
from kedge.audit.clock import Moment
from kedge.audit.counts import COUNTS, CountStore
from kedge.audit.reader import Reader
from kedge.audit.record import Record
from kedge.bundle.store import Store
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.monitor.evaluator import Evaluator
from kedge.monitor.frame import Frame
from kedge.monitor.panes import Key, Panes
from kedge.rollout import traffic
from kedge.rollout.digest import LEAST_SECONDS, Digests

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from kedge_testing import flights

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def state(bundles: Callable[..., Path], tmp_path: Path) -> Path:
    """Of a server whose inputs drifted, and which then stopped."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    bundle = Store(directory / "store").add(bundles())
    database = files.connect(directory)
    now = [1_800_000_000.0]
    log = files.open_log(directory, database, software="kedge test", clock=lambda: Moment(int(now[0] * 1e9), "test"))
    frame = Frame.of(bundle)
    evaluator = Evaluator(lambda: now[0], Panes(lambda: now[0]), lambda _: frame)
    digests = Digests(log, CountStore(directory / COUNTS), evaluator, lambda _: frame, lambda: now[0])
    sketch = select("reference").sketch(frame.layout)
    for seed, temp in enumerate((40.0, 58.0, 58.0)):
        table = flights.rows(1000, seed, temp=temp)
        columns = [table[tensor.name] for tensor in frame.layout.tensors]
        sketch.observe([np.array(c.to_pylist(), object) if str(c.type) == "string" else c.to_numpy() for c in columns])
        now[0] += LEAST_SECONDS
        evaluator.tick(lambda: {Key(bundle.id, "live"): Counts.parse(sketch.snapshot(), frame.layout)})
        digests.look()
    digests.close()
    database.close()
    return directory


def sequence_of(state: Path, action: str) -> int:
    with Reader(state / files.DATABASE) as log:
        found = [Record.parse(bytes(data)) for _, data in log.records()]
    return next(record.sequence for record in found if record.action == action)


def test_replay_judges_a_verdict_again_and_exits_1_where_it_cannot(kedge: Callable[..., Any], state: Path) -> None:
    number = sequence_of(state, traffic.VERDICT)
    done = kedge("audit", "replay", number, "--state", state)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"equal record {number} (verdict.changed): 1 computed again")
    assert "live feature temp" in done.out
    value = kedge("audit", "replay", sequence_of(state, traffic.DIGEST), "--state", state, "--json").json
    assert (value["equal"], value["checked"]) == (True, ["flights 1.0.0 live"])

    for path in (state / COUNTS).rglob("*.z"):
        path.unlink()
    done = kedge("audit", "replay", number, "--state", state)
    assert (done.status, done.err) == (1, "")
    assert "gone: live feature temp: counts" in done.out


def test_the_log_goes_on_under_another_key(kedge: Callable[..., Any], state: Path, tmp_path: Path) -> None:
    (before,) = files.known_keys(state)
    keys.generate(tmp_path / "witness.key")
    config = tmp_path / "kedge.yaml"
    config.write_text(
        f"audit: {{pseudonyms: true, witness: {{key: {tmp_path / 'witness.key'}, name: example.com/w}}}}\n"
    )
    done = kedge(
        "audit", "rotate-key", "--state", state, "--reason", "yearly", "--actor", "alice", "--config", config, "--json"
    )
    assert (done.status, done.err) == (0, "")
    assert done.json["previous"] == before.vkey != done.json["key"]
    after = kedge("audit", "verify", "--state", state, "--key", done.json["previous"], "--json").json
    assert (after["ok"], after["size"], after["findings"]) == (True, done.json["sequence"] + 1, [])
    assert [one["key"] for one in after["keys"]] == [done.json["previous"], done.json["key"]]
    with Reader(state / files.DATABASE) as log:
        record = Record.parse(log.record(done.json["sequence"]))
    assert (record.action, record.rationale) == ("log.key_rotated", "yearly")
    assert record.actor.name.startswith("actor-")
    assert "example.com/w" in (state / "kedge.checkpoints").read_text().splitlines()[-1]

    done = kedge("audit", "rotate-key", "--state", tmp_path, "--reason", "x")
    assert (done.status, done.err.startswith("error: no database")) == (2, True)


def test_the_key_of_a_running_server_is_left_alone(
    kedge: Callable[..., Any], serve: Callable[..., Any], state: Path
) -> None:
    serve("--plane", "portable", state=state)
    done = kedge("audit", "rotate-key", "--state", state, "--reason", "x")
    assert done.status == 2
    assert "is in use by process" in done.err
