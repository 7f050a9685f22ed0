"""What the commands to a server share: the options by which they reach its admin port, and common arguments."""

from __future__ import annotations

import functools
import inspect
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kedge.client import AdminClient, Credentials
from kedge.errors import Code, ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN: Final = "KEDGE_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
MAX_TOKEN_BYTES: Final = 4096

Model = Annotated[str, typer.Argument(help="Name of the model, as its bundle says.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it goes into the audit log.")]
Key = Annotated[
    str,
    typer.Option(metavar="TEXT", help="Idempotency key: the same command under it is done once, however often sent."),
]
Revision = Annotated[
    int | None,
    typer.Option("--if-revision", metavar="N", min=0, help="Only if the model's revision is still this; see status."),
]

OPTIONS: Final[dict[str, tuple[Any, object]]] = {
    "admin": (Annotated[str, typer.Option(help="Admin port of the server.")], "127.0.0.1:8003"),
    "token_file": (
        Annotated[Path | None, typer.Option(metavar="FILE", help=f"File of your bearer token; or {TOKEN}.")],
        None,
    ),
    "tls_ca": (
        Annotated[Path | None, typer.Option(metavar="FILE", help="PEM CA of the admin port; turns TLS on.")],
        None,
    ),
    "tls_cert": (Annotated[Path | None, typer.Option(metavar="FILE", help="PEM certificate of yours (mTLS).")], None),
    "tls_key": (Annotated[Path | None, typer.Option(metavar="FILE", help="PEM key of that certificate.")], None),
}
"""By parameter: its annotation and default."""


@dataclass(frozen=True)
class Server:
    """A server as a command line names it.

    Attributes:
        address: of its admin port.
        credentials: of the one who asks.
    """

    address: str
    credentials: Credentials

    def client(self, timeout: float = 30.0) -> AdminClient:
        """A client of it. Raises `ConfigError`."""
        return AdminClient(self.address, timeout=timeout, credentials=self.credentials)


def connecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `OPTIONS`; it is called with the `server` they name instead."""

    @functools.wraps(command)
    def connected(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in OPTIONS}
        try:
            command(**given, server=_server(**chosen))
        except RequestError as error:
            if error.code is not Code.PERMISSION_DENIED:
                raise
            # The server names the method that was refused; who typed a command knows that by another name.
            group, name = command.__module__.rpartition(".")[2], command.__name__.rstrip("_")
            typed = f"'kedge {group}'" if group == name else f"'kedge {group} {name}'"
            words = re.sub(r"^[A-Za-z]+(?= needs role)", typed, str(error))
            raise RequestError(error.code, words) from error

    signature = inspect.signature(command, eval_str=True)
    kept = [item for name, item in signature.parameters.items() if name not in {"server", "as_json"}]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in OPTIONS.items()
    ]
    keyword = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in kept]
    last = [signature.parameters["as_json"]] if "as_json" in signature.parameters else []
    parameters = [*keyword, *added, *(item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in last)]
    connected.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    connected.__annotations__ = {item.name: item.annotation for item in parameters}
    return connected


def _server(
    *, admin: str, token_file: Path | None, tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None
) -> Server:
    token = os.environ.get(TOKEN) or None
    if token_file is not None:
        try:
            with token_file.open("rb") as file:
                data = file.read(MAX_TOKEN_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"--token-file: cannot read '{token_file}': {error.strerror}") from error
        token = data.decode("utf-8", "replace").strip()
        if not token or len(data) > MAX_TOKEN_BYTES:
            raise ConfigError(f"--token-file: '{token_file}' holds no token")
    return Server(admin, Credentials(token=token, ca=tls_ca, certificate=tls_cert, key=tls_key))
