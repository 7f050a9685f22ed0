"""A server whose admin port wants TLS and tokens, as its operator starts it and its callers reach it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedge_testing.admins import Authority

from kedge.audit.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable


def test_callers_with_tokens_deploy_over_tls_and_the_log_says_who(
    serve: Callable[..., Any], kedge: Callable[..., Any], bundles: Callable[..., Path], tmp_path: Path
) -> None:
    authority = Authority()
    certificate, key = authority.pair("kedge")
    for name, data in (("ca.pem", authority.pem), ("server.pem", certificate), ("server.key", key)):
        (tmp_path / name).write_bytes(data)
    tokens = tmp_path / "tokens"
    for name, role in (("dora", "deployer"), ("vera", "viewer")):
        made = kedge("token", "new", name, "--role", role, "--tokens", tokens, "--json")
        (tmp_path / name).write_text(made.json["token"])
    server = serve(
        "--plane", "portable", "--admin-tls-cert", tmp_path / "server.pem", "--admin-tls-key", tmp_path / "server.key",
        "--admin-tokens", tokens, "--bundle", bundles("flights", "1.0.0"),
    )  # fmt: skip
    there = ("--admin", server.admin, "--tls-ca", tmp_path / "ca.pem")

    done = kedge("deploy", bundles("flights", "2.0.0", bias=0.1), "--strategy", "swap", "--reason", "trained to June",
                 "--wait", "--json", *there, "--token-file", tmp_path / "dora")  # fmt: skip
    assert done.status == 0, done
    assert (done.json["version"], done.json["last_good"]["version"]) == ("2.0.0", "1.0.0")

    viewer = (tmp_path / "vera").read_text()
    refused = kedge("rollback", "flights", "--reason", "mine", *there, KEDGE_ADMIN_TOKEN=viewer)
    assert (refused.status, refused.out) == (2, "")
    assert "'kedge rollback' needs role 'operator'; 'vera' is 'viewer'" in refused.err
    assert "it may want TLS" in kedge("status", "--admin", server.admin).err

    with Reader(tmp_path / "state" / "kedge.db") as log:
        records = [json.loads(data) for _, data in log.records()]
    said = [(record["action"], record["actor"]["name"], record["actor"]["authenticated_by"]) for record in records]
    assert ("bundle.uploaded", "dora", "token") in said
    assert ("admin.denied", "vera", "token") in said
    assert any(actor == "dora" and action.startswith("rollout.") for action, actor, _ in said)

    secrets = [(tmp_path / name).read_text().strip().encode() for name in ("dora", "vera")]
    secrets.append(key.splitlines()[1])
    process = Path("/proc") / str(server.process.pid)
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    for place in (server.log, tokens, process / "cmdline", process / "environ", *kept):
        found = place.read_bytes()
        assert not any(secret in found for secret in secrets), f"{place} holds a secret"
