"""`kedge serve` from start to end: what is live, who holds the state, how it drains, what a crash leaves."""

from __future__ import annotations

import json
import signal
import stat
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from kedge_testing import flights
from kedge_testing.serving import Caller, eventually, outputs

from kedge.client import AdminClient, Client
from kedge.client.values import request
from kedge.errors import Code, KedgeError
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rows(count: int = 1, temp: float = 40.0) -> dict[str, Any]:
    return {
        "temp": np.full((count, 1), temp, np.float32),
        "distance": np.full((count, 1), 500.0, np.float32),
        "carrier": np.array([["UA"]] * count, dtype=object),
    }


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def log_has(server: Any, text: str) -> Callable[[], bool]:
    return lambda: text in server.log.read_text()


def test_a_bundle_is_deployed_served_and_counted(serve: Any, bundles: Any) -> None:
    server = serve("--bundle", bundles())
    assert server.ready["plane"] in ("native", "portable")
    assert server.ready["kernel"] in ("native", "numba")
    assert [(m["model"], m["version"], m["epoch"]) for m in server.ready["models"]] == [("flights", "1.0.0", 1)]
    with Client(server.grpc) as client, AdminClient(server.admin) as admin:
        assert client.ready()
        assert client.ready("flights")
        assert not client.ready("other")
        answer = client.infer("flights", rows(3), request_id="r1")
        assert answer.outputs["probabilities"].shape == (3, 2)
        assert (answer.model_version, answer.arm, answer.id) == ("1.0.0", "live", "r1")
        assert answer.bundle == server.ready["models"][0]["bundle"]
        # what is counted is counted after its answer has left
        eventually(lambda: dict(admin.status("flights").models[0].requests) == {0: 1})
        assert admin.status("flights").models[0].rows == 3
        with pytest.raises(KedgeError, match="'temp'") as refused:
            client.infer("flights", {"distance": np.zeros((1, 1), np.float32)})
        assert refused.value.code is Code.INVALID_ARGUMENT
    assert get(server.metrics, "/healthz") == (200, "ok\n")
    assert get(server.metrics, "/readyz")[0] == 200
    assert 'kedge_rows_total{arm="live",model="flights",version="1.0.0"} 3.0' in get(server.metrics, "/metrics")[1]


def test_the_state_directory_is_private_and_held_by_one_process(
    serve: Any, bundles: Any, kedge: Any, tmp_path: Path
) -> None:
    server = serve("--bundle", bundles())
    state = tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for path in state.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    second = kedge(
        "serve", "--state", state, "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0"
    )
    assert second.status == 2
    assert second.err.count("\n") == 1
    assert f"in use by process {server.process.pid}" in second.err


def test_a_state_directory_others_may_write_is_refused(kedge: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = kedge("serve", "--state", tmp_path)
    assert done.status == 2
    assert "chmod 700" in done.err


def test_kill_9_then_restart_serves_the_live_bundle(serve: Any, bundles: Any) -> None:
    first = serve("--bundle", bundles(), "--bundle", bundles("other"))
    first.signal(signal.SIGKILL)
    first.end()
    again = serve()
    # Epochs rise after an unclean end: answers of before and after are counted apart.
    served = [{key: one[key] for key in ("model", "version", "bundle")} for one in again.ready["models"]]
    assert served == [{key: one[key] for key in ("model", "version", "bundle")} for one in first.ready["models"]]
    assert all(
        new["epoch"] > old["epoch"] for new, old in zip(again.ready["models"], first.ready["models"], strict=True)
    )
    with Client(again.grpc) as client:
        assert client.infer("flights", rows()).model_version == "1.0.0"
        assert client.infer("other", rows()).model_version == "1.0.0"


def test_a_bundle_of_a_model_that_is_live_is_not_deployed_and_that_is_said(serve: Any, bundles: Any) -> None:
    first = serve("--bundle", bundles())
    first.signal(signal.SIGTERM)
    assert first.end() == 0
    again = serve("--bundle", bundles(version="2.0.0", bias=1.0))
    assert [m["version"] for m in again.ready["models"]] == ["1.0.0"]
    (note,) = again.ready["notes"]
    assert "flights-2.0.0.kedge is not deployed" in note
    with Client(again.grpc) as client:
        assert client.infer("flights", rows()).model_version == "1.0.0"


@pytest.mark.parametrize("plane", ["auto", "portable"])
def test_sigterm_answers_what_is_under_way_then_exits_0(serve: Any, bundles: Any, plane: str) -> None:
    server = serve("--bundle", bundles(slow=True), "--drain-grace", "0.5", "--plane", plane)
    caller = Caller(server.grpc)
    under_way = caller.future(request("flights", rows(temp=flights.SLOW_TEMP)))
    caller.sent()
    server.signal(signal.SIGTERM)
    eventually(log_has(server, "draining"))
    eventually(lambda: get(server.metrics, "/readyz")[0] == 503)
    assert get(server.metrics, "/healthz")[0] == 200
    answer = pb.ModelInferResponse.FromString(under_way.result())
    assert outputs(answer)["probabilities"].shape == (1, 2)
    assert server.end() == 0
    caller.channel.close()
    with Client(server.grpc, timeout=5) as client, pytest.raises(KedgeError, match="no server answers"):
        client.infer("flights", rows())


def test_a_second_signal_stops_at_once(serve: Any, bundles: Any) -> None:
    server = serve("--bundle", bundles(), "--drain-grace", "600")
    server.signal(signal.SIGTERM)
    eventually(log_has(server, "draining"))
    server.signal(signal.SIGTERM)
    assert server.end() == 128 + signal.SIGTERM


def test_an_idle_server_with_no_bundle_says_so_and_is_not_ready(serve: Any) -> None:
    server = serve()
    assert server.ready["models"] == []
    assert "no bundle is live" in server.ready["notes"][0]
    assert get(server.metrics, "/readyz")[0] == 503
    server.signal(signal.SIGINT)
    assert server.end() == 0


def test_logs_are_json_on_request_and_hold_no_request_body(serve: Any, bundles: Any) -> None:
    server = serve("--bundle", bundles(), "--log-format", "json")
    with Client(server.grpc) as client, pytest.raises(KedgeError):
        client.infer("flights", {**rows(), "secret-name": np.array([["secret-value"]], dtype=object)})
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    messages = [line["message"] for line in lines if not line["message"].startswith("running as root")]
    assert messages == ["ready", "draining", "stopped"]
    assert "secret" not in text


def test_unix_sockets_work_for_every_port(serve: Any, bundles: Any, tmp_path: Path) -> None:
    sockets = {name: f"unix:{tmp_path / name}.sock" for name in ("grpc", "admin", "metrics")}
    flags = [part for name, address in sockets.items() for part in (f"--{name}", address)]
    first = serve("--bundle", bundles(), *flags)
    assert {name: first.ready[name] for name in sockets} == sockets
    first.signal(signal.SIGKILL)
    first.end()
    again = serve(*flags)  # over the sockets that the crash left behind
    with Client(again.grpc) as client, AdminClient(again.admin) as admin:
        assert client.infer("flights", rows()).model_version == "1.0.0"
        eventually(lambda: admin.status().models[0].rows == 1)


def test_the_portable_plane_and_each_kernel_can_be_asked_for(serve: Any, bundles: Any, tmp_path: Path) -> None:
    server = serve("--bundle", bundles(), "--plane", "portable", "--kernel", "numba")
    assert (server.ready["plane"], server.ready["kernel"]) == ("portable", "numba")
    with AdminClient(server.admin) as admin:
        assert (admin.status().plane, admin.status().kernel) == ("portable", "numba")
