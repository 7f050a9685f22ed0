"""Addresses and services that are not what a client takes them for."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from kedge.client import AdminClient, AsyncClient, Client, calls
from kedge.errors import Code, ConfigError


@pytest.mark.parametrize("client", [Client, AdminClient])
def test_a_malformed_address_is_refused_when_the_client_is_made(client: type[Client | AdminClient]) -> None:
    with pytest.raises(ConfigError, match=r"'nonsense' is no address; write host:port"):
        client("nonsense")


def test_the_asynchronous_client_refuses_it_too() -> None:
    async def make() -> None:
        AsyncClient("nonsense")

    with pytest.raises(ConfigError, match="'nonsense' is no address"):
        asyncio.run(make())


@pytest.mark.parametrize("address", ["127.0.0.1:8001", "[::1]:8001", "unix:/run/kedge.sock", "localhost:8001"])
def test_an_address_reaches_grpc_as_it_was_written(address: str) -> None:
    assert calls.target(address) == address


class Unimplemented(grpc.RpcError):
    """What a server answers that does not have the service."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNIMPLEMENTED

    def details(self) -> str:
        return "Method not found!"


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (calls.INFERENCE, "h:1 does not answer inference.GRPCInferenceService; is it the data port (8001 by default)?"),
        (calls.ADMIN, "h:1 does not answer kedge.v1.Admin; is it the admin port (8003 by default)?"),
    ],
)
def test_a_port_without_the_service_is_named_with_the_port_that_has_it(service: str, message: str) -> None:
    error = calls.failure(Unimplemented(), "h:1", service)
    assert (str(error), error.code) == (message, Code.UNIMPLEMENTED)
