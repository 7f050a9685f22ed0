"""Advice over the wire: real bundles replayed on rows that clients have just sent."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from kedge_testing import admins, flights

from kedge.audit.errors import SignatureError
from kedge.client import Client
from kedge.errors import Code, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedge_testing.admins import Port

    from kedge.bundle.contents import Bundle
    from kedge.client import AdminClient

VERSIONS = {"1.0.0": 70.0, "2.0.0": 40.0, "3.0.0": 40.0}
"""Mean temperature of the data that each was built on."""


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("seasons")
    return [
        flights.bundle(root / version, version=version, bias=temp / 1000 + index / 10, temp=temp)
        for index, (version, temp) in enumerate(VERSIONS.items())
    ]


@pytest.fixture
def serving(tmp_path: Path, seasons: list[Path]) -> Iterator[Port]:
    """A port whose model has its third version live, after the other two."""
    with admins.listening(tmp_path / "state") as port:
        with port.client() as client:
            for archive in seasons:
                client.deploy(client.upload(archive).id, strategy="swap")
        yield port


@pytest.fixture
def client(serving: Port) -> Iterator[AdminClient]:
    with serving.client() as client:
        yield client


def ask(serving: Port, temp: float, count: int = 900) -> None:
    """Requests of this many rows to the model."""
    table = flights.rows(count, 5, temp=temp)
    columns: dict[str, Any] = {
        "temp": table["temp"].to_numpy().reshape(-1, 1),
        "distance": table["distance"].to_numpy().reshape(-1, 1),
        "carrier": np.array(table["carrier"].to_pylist(), object).reshape(-1, 1),
    }
    with Client(serving.parts.plane.start("127.0.0.1:0")) as caller:
        for begin in range(0, count, 100):
            caller.infer("flights", {name: column[begin : begin + 100] for name, column in columns.items()})


def test_the_bundle_that_was_built_for_such_traffic_is_named_whatever_was_live_last(
    serving: Port, client: AdminClient
) -> None:
    ask(serving, 70.0)
    answer = client.recommend("flights")
    assert answer.rows == 900
    best, other = answer.bundles
    assert (best.version, other.version) == ("1.0.0", "2.0.0"), "the live one is nothing to go back to"
    assert answer.best == best.bundle
    assert (best.last_good, other.last_good) == (False, True)
    assert (best.fits, other.fits, best.inputs, other.inputs) == (True, True, "none", "critical")
    assert best.rows_fitting == 900
    assert "better than the last good one" in answer.words
    again = client.recommend("flights")
    assert again == answer, "what was loaded for advice leaves nothing behind"
    assert client.status("flights").models[0].version == "3.0.0"
    back = client.rollback("flights", to=f"flights-{best.version}", reason=answer.words)
    assert back.version == "1.0.0"


def test_without_traffic_there_is_nothing_to_judge_by(client: AdminClient) -> None:
    answer = client.recommend("flights")
    assert (answer.rows, answer.best) == (0, "")
    assert "no current rows are known" in answer.words
    with pytest.raises(RequestError, match="no model 'trains' is live") as unknown:
        client.recommend("trains")
    assert unknown.value.code is Code.NOT_FOUND


def test_what_was_rolled_back_is_not_advised(serving: Port, client: AdminClient) -> None:
    ask(serving, 40.0)
    client.rollback("flights", reason="worse")
    answer = client.recommend("flights")
    assert [item.version for item in answer.bundles] == ["1.0.0"]


def test_what_the_signing_policy_refuses_is_neither_loaded_nor_advised(
    serving: Port, client: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(serving, 70.0)
    doors = serving.parts.rollouts._desk.doors

    def check(bundle: Bundle, live: Bundle | None = None) -> None:
        if bundle.version == "1.0.0":
            raise SignatureError(f"{bundle.version} is not signed ({live})")

    monkeypatch.setattr(doors, "check", check)
    assert [item.version for item in client.recommend("flights").bundles] == ["2.0.0"]


def test_one_recommendation_is_made_at_a_time(
    serving: Port, client: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, done = threading.Event(), threading.Event()
    real = serving.parts.plane.reservoir

    def slow(handle: Any) -> Any:
        inside.set()
        done.wait(30)
        return real(handle)

    monkeypatch.setattr(serving.parts.plane, "reservoir", slow)
    first = threading.Thread(target=client.recommend, args=("flights",))
    first.start()
    assert inside.wait(30)
    with pytest.raises(RequestError, match="1 recommendation is being made already") as refused:
        client.recommend("flights")
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    done.set()
    first.join(30)
