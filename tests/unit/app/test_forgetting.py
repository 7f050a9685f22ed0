"""A bundle that is deleted from a running server: what it counted goes with it, in every part that kept any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from kedge_testing import flights
from kedge_testing.serving import eventually

from kedge.app import Server
from kedge.audit.record import SYSTEM
from kedge.client import Client
from kedge.config import Settings
from kedge.plane import cells

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_deleted_bundle_counted_is_dropped_by_the_plane_and_everywhere_else(tmp_path: Path) -> None:
    addresses = dict.fromkeys(("grpc", "admin", "metrics"), "127.0.0.1:0")
    archives = [flights.bundle(tmp_path / version, version=version) for version in ("1.0.0", "2.0.0", "3.0.0")]
    server = Server(
        Settings.model_validate(
            {"state": tmp_path / "state", "bundle": (archives[0],), "plane": "portable", **addresses}
        )
    )
    try:
        view, rollouts = server._view, server._rollouts
        old = rollouts.get("flights").bundle.id
        row = {
            "temp": np.array([[40.0]], np.float32),
            "distance": np.array([[500.0]], np.float32),
            "carrier": np.array([["UA"]], object),
        }
        with Client(server.describe()["grpc"]) as client:
            client.infer("flights", row)
        eventually(lambda: any(bundle == old for bundle, _, _ in cells.decode(view.snapshot())))
        for archive in archives[1:]:
            rollouts.deploy(rollouts._desk.store.add(archive).id, strategy="swap", by=SYSTEM)
        assert any(bundle == old for bundle, _, _ in cells.decode(view.snapshot())), "kept while it is in the store"
        rollouts.delete(old, by=SYSTEM)
        # It may still be loaded: its counts go with it, no later than a tick.
        eventually(lambda: all(bundle != old for bundle, _, _ in cells.decode(view.snapshot())))
        assert all(key.bundle != old for key in view.totals())
        assert all(key.bundle != old for key in view.evaluator.totals())
        assert server._outcomes._of(old) is None
    finally:
        server.stop()
