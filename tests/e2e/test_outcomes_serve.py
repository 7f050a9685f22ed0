"""The whole way of a label: predicted by a server, reported weeks or seconds later, counted once, shown everywhere."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedge_testing import flights
from prometheus_client.parser import text_string_to_metric_families

from kedge.client import PREDICTION_IDS, AdminClient, AsyncClient, ClassIndex, Client, Reported
from kedge.plane.contract import TokenKey
from kedge.plane.token import CLASS, VALID, Label, Sealed, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NATIVE = importlib.util.find_spec("kedge._dataplane") is not None
PLANES = ["native", pytest.param("portable", marks=pytest.mark.long)] if NATIVE else ["portable"]
"""Other tests of outcomes serve with the portable one."""
DAY = 86400


def inputs(table: pa.Table) -> dict[str, Any]:
    return {
        name: np.array(table[name].to_pylist(), dtype=object if name == "carrier" else np.float32).reshape(-1, 1)
        for name in ("temp", "distance", "carrier")
    }


def keys(state: Path) -> list[TokenKey]:
    stored = json.loads((state / "keys" / "tokens.json").read_text())
    return [TokenKey(key["id"], bytes.fromhex(key["secret"])) for key in stored["keys"]]


def metrics(address: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name.startswith("kedge_outcome")
    }


@pytest.mark.parametrize("plane", PLANES)
def test_labels_are_counted_once_and_the_figures_are_numpys(
    serve: Callable[..., Any], bundles: Callable[..., Path], kedge: Callable[..., Any], tmp_path: Path, plane: str
) -> None:
    state = tmp_path / "state"
    server = serve("--bundle", bundles(), "--plane", plane)
    table = flights.rows(500, 99)
    truth = np.array(table["late"].to_pylist())
    with Client(server.grpc) as client:
        answer = client.infer("flights", inputs(table), outputs=("probabilities", PREDICTION_IDS))
        single = client.infer("flights", inputs(table.slice(0, 1)))
    p, ids = answer.outputs["probabilities"].astype(np.float64), list(answer.prediction_ids)
    assert list(answer.outputs) == ["probabilities"]
    assert len(set(ids)) == 500
    assert len(single.prediction_ids) == 1
    assert single.prediction_ids[0] not in ids
    opened = unseal(ids, keys(state))
    assert set(opened["status"]) == {VALID}
    assert set(opened["kind"]) == {CLASS}
    assert opened["bundle"][0] == int(answer.bundle[:16], 16)
    assert opened["probabilities"][:, 1] == pytest.approx(p[:, 1] * 65535, abs=0.51)

    sealed = Sealed(
        bytes.fromhex(answer.bundle)[:8], 1, 7, 0, 0, int(opened["seconds"][0]), predicted=Label(1, (0, 65535))
    )
    old = seal(Sealed(**{**fields(sealed), "seconds": sealed.seconds - 31 * DAY}), keys(state)[0])
    late = seal(Sealed(**{**fields(sealed), "seconds": sealed.seconds - 2 * DAY}), keys(state)[0])
    foreign = seal(Sealed(**{**fields(sealed), "bundle": b"\0" * 8}), keys(state)[0])
    forged = ids[0][:-4] + ("AAAA" if ids[0][-4:] != "AAAA" else "BBBB")
    with Client(server.grpc) as client:
        assert client.report(zip(ids[:300], truth[:300].tolist(), strict=True), batch=70) == Reported(accepted=300)
        others = [(old, 1), (late, 1), (foreign, 1), (forged, 1), ("nonsense", 1), (ids[400], "perhaps"), (ids[0], 0)]
        assert client.report(others) == Reported(expired=1, late=1, unknown_bundle=1, forged=2, invalid=1, duplicate=1)

    async def more() -> Reported:
        async with AsyncClient(server.grpc) as client:
            return await client.report([(ids[300], ClassIndex(int(truth[300]))), (ids[301], str(truth[301]))])

    assert asyncio.run(more()) == Reported(accepted=2)
    _report_file(kedge, server, tmp_path, ids, truth)
    with AdminClient(server.admin) as admin:
        (bundle,) = admin.outcomes("flights").bundles
        (arm,) = bundle.arms
    chosen = p.argmax(axis=1)
    right = (chosen == truth)[:499]
    assert (arm.arm, arm.open.labelled, arm.closed.labelled, arm.late.labelled) == ("live", 499, 0, 1)
    assert arm.open.accuracy == right.mean()
    assert arm.open.brier == pytest.approx(((p[:499, 1] - truth[:499]) ** 2).mean(), abs=1e-4)
    own = p[np.arange(499), truth[:499]]
    assert arm.open.log_loss == pytest.approx(-np.log(own).mean(), rel=1e-3)
    assert arm.open.intervals == 499
    assert [verdict.verdict for verdict in bundle.verdicts] == ["INSUFFICIENT", "INSUFFICIENT"]
    found = metrics(server.metrics)
    assert found["kedge_outcomes_total", (("model", ""), ("status", "forged"), ("version", ""))] == 2
    who = (("arm", "live"), ("mature", "false"), ("model", "flights"), ("version", "1.0.0"))
    assert found["kedge_outcome_labelled_predictions", who] == 499
    if plane == "native" or not NATIVE:
        _shown(kedge, server, right.mean())
    server.signal(signal.SIGKILL)
    server.end()
    again = serve("--plane", plane, state=state)
    with Client(again.grpc) as client:
        assert client.report(zip(ids[:499], truth[:499].tolist(), strict=True)) == Reported(duplicate=499)


def _report_file(kedge: Callable[..., Any], server: Any, folder: Path, ids: list[str], truth: Any) -> None:
    """All but the last, which has no label yet; of those 302 were reported before."""
    labels = pa.table({"prediction_id": ids, "late": pa.array([*map(int, truth[:499]), None])})
    pq.write_table(labels, folder / "labels.parquet")
    done = kedge("outcomes", "flights", "--input", folder / "labels.parquet", "--server", server.grpc, "--json")
    assert done.status == 0, done
    assert (done.json["accepted"], done.json["duplicate"], done.json["without_label"]) == (197, 302, 1)


def _shown(kedge: Callable[..., Any], server: Any, accuracy: float) -> None:
    shown = kedge("outcomes", "flights", "--admin", server.admin)
    assert shown.status == 0, shown
    assert f"{100 * accuracy:.1f} %" in shown.out
    assert kedge("outcomes", "flights", "--admin", server.admin, "--json").json["bundles"][0]["statuses"]["late"] == 1


def fields(sealed: Sealed) -> dict[str, Any]:
    return {name: getattr(sealed, name) for name in sealed.__slots__}
