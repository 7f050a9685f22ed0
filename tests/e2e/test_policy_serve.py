"""A server with a signing policy: what it refuses at its doors, and the evidence that it leaves."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kedge.audit import files
from kedge.audit.reader import Reader
from kedge.audit.record import Record
from kedge.client import Client
from kedge.rollout import traffic

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = "require: [builder]\nkeys: [{{public: build.key.pub, roles: [builder], until: {until}}}]\n"


@pytest.fixture
def archive(bundles: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(bundles(), tmp_path / "flights-1.0.0.kedge"))


def records(state: Path) -> list[Record]:
    with Reader(state / files.DATABASE) as log:
        return [Record.parse(bytes(data)) for _, data in log.records()]


def test_only_what_the_policy_lets_in_is_served_and_everything_is_on_record(
    kedge: Callable[..., Any],
    serve: Callable[..., Any],
    bundles: Callable[..., Path],
    archive: Path,
    tmp_path: Path,
) -> None:
    state, policy = tmp_path / "state", tmp_path / "policy.yaml"
    assert kedge("keygen", tmp_path / "build.key").status == 0
    policy.write_text(POLICY.format(until="2100-01-01T00:00:00Z"))
    start = ("serve", "--state", state, "--policy", policy, "--plane", "portable", "--grpc", "127.0.0.1:0")
    ports = ("--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    done = kedge(*start, *ports, "--bundle", archive)
    assert done.status == 2
    assert "is refused: no valid signature of a key in the role 'builder'" in done.err
    assert list((state / "store" / "sha256").iterdir()) == []

    assert kedge("bundle", "sign", archive, "--key", tmp_path / "build.key").status == 0
    server = serve("--policy", policy, "--bundle", archive, "--plane", "portable", state=state)
    with Client(server.grpc) as client:
        rows = 1200
        client.infer(
            "flights",
            {
                "temp": np.full((rows, 1), 40, np.float32),
                "distance": np.full((rows, 1), 500, np.float32),
                "carrier": np.full((rows, 1), "UA", object),
            },
        )
    older = Path(shutil.copy(bundles(version="0.9.0"), tmp_path))
    done = kedge("deploy", older, "--admin", server.admin)
    assert (done.status, "no valid signature" in done.err) == (2, True), done.err
    assert kedge("bundle", "sign", older, "--key", tmp_path / "build.key").status == 0
    done = kedge("deploy", older, "--admin", server.admin)
    assert done.status == 2
    assert "version 0.9.0 does not come after 1.0.0, which is live: a downgrade" in done.err
    server.signal(signal.SIGTERM)
    assert server.end() == 0

    found = records(state)
    actions = [record.action for record in found]
    assert actions.index("key.added") < actions.index("policy.changed") < actions.index("bundle.refused")
    refused = next(record for record in found if record.action == "bundle.refused")
    assert (refused.details, refused.actor.name) == ({"door": "upload"}, "kedge")
    assert [one.details["door"] for one in found if one.action == "bundle.refused"] == [
        "upload",
        "upload",
        "deployment",
    ]
    deployed = next(record for record in found if record.action == "rollout.deployed")
    assert [one["role"] for one in deployed.details["signed"]] == ["builder"]
    assert "sha256:" in deployed.software
    digest = next(one for one in reversed(found) if one.action == traffic.DIGEST)
    assert [(one.model, one.arm, one.rows) for one in traffic.digest_of(digest).counted] == [("flights", "live", 1200)]
    assert kedge("audit", "replay", digest.sequence, "--state", state, "--json").json["equal"] is True
    assert kedge("audit", "verify", "--state", state, "--json").json["ok"] is True

    policy.write_text(POLICY.format(until="2026-01-01T00:00:00Z"))
    done = kedge(*start, *ports)
    assert done.status == 2
    assert "expired on 2026-01-01T00:00:00Z; sign again with a key that is valid now" in done.err
    assert [record.action for record in records(state)[-2:]] == ["key.changed", "bundle.refused"]
