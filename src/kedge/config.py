"""Settings of a server: where each comes from, what it may be, and errors that name the source of a bad one.

Precedence: command-line flag, then environment variable ``KEDGE_<NAME>``, then the file of ``--config`` or
``KEDGE_CONFIG`` (YAML, the names below as keys), then the defaults here. What a bundle says
about its own model (batching, execution, monitoring) stands in the bundle.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kedge import strict_yaml
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CONFIG_BYTES: Final = 1024 * 1024
"""Of the settings file: it is read whole."""
MAX_UNIX_PATH: Final = 107
"""Bytes of a unix socket's path that the kernel's sockaddr_un has room for."""
FILE_ONLY: Final = frozenset({"admin_auth", "alerts", "audit"})
"""Settings with a structure, which neither a flag nor a variable can give."""


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host: name or IP address, IPv6 without brackets; empty for a unix socket.
        port: 0 to 65535; 0 asks for a free one.
        path: of a unix socket, or None.
    """

    host: str
    port: int
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse ``host:port``, ``[::1]:port`` or ``unix:/absolute/path``. Raises `ConfigError`."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/") or len(os.fsencode(path)) > MAX_UNIX_PATH:
                raise ConfigError(f"'{text}' must be unix: and an absolute path of at most {MAX_UNIX_PATH} bytes")
            return cls("", 0, path)
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        bare = host[1:-1] if bracketed else host
        if not colon or not bare or (":" in bare) != bracketed:
            raise ConfigError(f"'{text}' is no address; write host:port, [::1]:port or unix:/path")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ConfigError(f"'{text}': the port must be a number from 0 to 65535")
        return cls(bare, int(port))

    @property
    def loopback(self) -> bool:
        """True where only this machine can connect."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return Address.parse(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _named(value: object) -> object:
    if value == "":  # the path of no text is the current directory, which nobody meant who left a variable unset
        raise ValueError("is empty; name a directory, or . for this one")
    return value


Listen = Annotated[Address, BeforeValidator(_address)]
Directory = Annotated[Path, BeforeValidator(_named)]
PlaneName = Literal["auto", "native", "portable"]
KernelName = Literal["auto", "native", "numba", "reference"]
LogFormat = Literal["text", "json"]
RoleName = Literal["viewer", "operator", "deployer", "admin"]
"""Of callers of the admin port, from the least to the most allowed."""


class AdminAuth(BaseModel):
    """Section ``admin_auth``: what callers with a client certificate may do.

    Attributes:
        certificates: role by a name (subject alternative or common) in a certificate that `admin_tls_client_ca` signed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificates: dict[Annotated[str, Field(pattern=r"^\P{Cc}+$", max_length=256)], RoleName] = {}


class Settings(BaseModel):
    """Everything `kedge serve` can be told.

    Attributes:
        state: directory of the store, the database and the keys; created if missing.
        bundle: archives to deploy where their model has no live bundle yet.
        grpc, metrics, admin: addresses of the data port, of metrics and health, of the admin port.
        plane, kernel: implementations; one that is asked for by name and missing is an error.
        shards: threads that serve connections (native plane); None: half the cores, at least one.
        max_connections: open at a time on the data port (native plane).
        drain_grace: seconds between "not ready" and the refusal of new requests, for load balancers to notice.
        drain_timeout: seconds that requests under way have to finish.
        log_format: ``text`` for people, ``json`` for machines; always on standard error.
        tls_cert, tls_key, tls_client_ca: PEM files for the data port; a client CA makes it mutual TLS. Renewed
            files are taken up while serving, for new connections.
        admin_tls_cert, admin_tls_key, admin_tls_client_ca: the same for the admin port; certificates that the CA signed
            have the roles that `admin_auth` gives their names.
        admin_mtls: second address of the admin port, for callers with certificates; those of `admin` then need none,
            and a token instead. Without it and with `admin_tls_client_ca` every caller of `admin` needs a certificate.
        admin_tokens: file of callers known by a bearer token, as `kedge token new` writes it.
        admin_auth: section of the file.
        retain: bundles of a model that were live before its last good one and stay in the store.
        user: whom a server that is started as root becomes before it does anything; None: it stays who it is.
        alerts: section of the file, as YAML gave it, for `kedge.alerts.settings.parse`; it may hold what is secret by
            mistake, so that nothing here quotes it.
        policy: signing policy that bundles must meet to come in, to be loaded and to be deployed.
        audit: section of the file, as YAML gave it, for `kedge.audit.settings.parse`.
        config: the file itself, for messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    state: Directory
    bundle: tuple[Path, ...] = ()
    grpc: Listen = Address("127.0.0.1", 8001)
    metrics: Listen = Address("127.0.0.1", 8002)
    admin: Listen = Address("127.0.0.1", 8003)
    plane: PlaneName = "auto"
    kernel: KernelName = "auto"
    shards: int | None = Field(default=None, ge=1, le=256)
    max_connections: int = Field(default=4096, ge=1, le=1_000_000)
    drain_grace: float = Field(default=0.0, ge=0, le=3600, allow_inf_nan=False)
    drain_timeout: float = Field(default=30.0, ge=0, le=3600, allow_inf_nan=False)
    log_format: LogFormat = "text"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    admin_tls_cert: Path | None = None
    admin_tls_key: Path | None = None
    admin_tls_client_ca: Path | None = None
    admin_mtls: Listen | None = None
    admin_tokens: Path | None = None
    admin_auth: AdminAuth = AdminAuth()
    retain: int = Field(default=3, ge=0, le=1000)
    user: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$")
    alerts: Any = None
    policy: Path | None = None
    audit: Any = None
    config: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not self.admin.loopback and not (self.admin_tls_cert and (self.admin_tokens or self.admin_tls_client_ca)):
            raise ValueError(
                f"the admin port listens on '{self.admin}' only with TLS (admin_tls_cert, admin_tls_key) and "
                "authentication (admin_tokens or admin_tls_client_ca); without them on loopback or a unix socket"
            )
        for port in ("", "admin_"):
            cert, key, client_ca = (getattr(self, f"{port}tls_{name}") for name in ("cert", "key", "client_ca"))
            if (cert is None) != (key is None):
                raise ValueError(f"{port}tls_cert and {port}tls_key go together: give both or neither")
            if client_ca is not None and cert is None:
                raise ValueError(f"{port}tls_client_ca needs {port}tls_cert and {port}tls_key as well")
        if self.admin_mtls is not None and not (self.admin_tls_client_ca and self.admin_tokens):
            raise ValueError(
                "admin_mtls is for callers with certificates beside callers with tokens: it needs admin_tls_client_ca "
                "and admin_tokens as well; where all have certificates, admin alone asks for them"
            )
        if self.admin_tls_client_ca is not None and not (self.admin_auth.certificates or self.admin_tokens):
            raise ValueError(
                "admin_tls_client_ca lets nobody in by itself: give certificates a role under admin_auth in --config, "
                "or tokens in admin_tokens"
            )
        if self.admin_auth.certificates and self.admin_tls_client_ca is None:
            raise ValueError("certificates of admin_auth need admin_tls_client_ca, which says who may sign them")
        return self


@dataclass(frozen=True)
class _Given:
    """A value and, for errors, where it was given."""

    value: object
    source: str


def load(flags: Mapping[str, object], environment: Mapping[str, str], file: Path | None) -> Settings:
    """Merge all sources and validate.

    Args:
        flags: command-line flags by field name; None and empty tuples were not given.
        environment: variables; ``KEDGE_BUNDLE`` holds paths joined by the path separator. Unknown ``KEDGE_*`` names are
            left alone, because orchestrators make such variables for every service that is called kedge.
        file: YAML file of settings, or None.

    Raises:
        ConfigError: naming the flag, variable or file and key whose value is wrong.
    """
    given: dict[str, _Given] = {}
    for name, value in _read(file).items():
        given[name] = _Given(value, f"{file}: {name}")
    for name in _names() - FILE_ONLY:
        variable = f"KEDGE_{name.upper()}"
        if text := environment.get(variable):
            given[name] = _Given(
                text.split(os.pathsep) if name == "bundle" else text, f"environment variable {variable}"
            )
    for name, value in flags.items():
        if value is not None and value != ():
            given[name] = _Given(value, f"--{name.replace('_', '-')}")
    try:
        return Settings.model_validate({name: item.value for name, item in given.items()} | {"config": file})
    except ValidationError as error:
        raise ConfigError(_explain(error, given)) from error


def _names() -> set[str]:
    """Of what can be set: every field but the file that sets it."""
    return set(Settings.model_fields) - {"config"}


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    content = strict_yaml.read(file, "--config", MAX_CONFIG_BYTES, ConfigError)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected settings as 'name: value' lines, got a {type(content).__name__}")
    for name in content:
        if name not in _names():
            close = difflib.get_close_matches(str(name), known := sorted(_names()), 1)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"{file}: unknown setting '{name}'; {hint}")
    return {str(name): value for name, value in content.items()}


def _explain(error: ValidationError, given: Mapping[str, _Given]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0]) if first["loc"] else ""
    if name in given:
        value = given[name].value
        if isinstance(value, dict):  # a section: say which line of it
            return ".".join((given[name].source, *map(str, first["loc"][1:]))) + f": {message}"
        return (
            f"{given[name].source}: {message}"
            if str(value) in message
            else f"{given[name].source}: {message} (got {value!r})"
        )
    if first["type"] == "missing":
        return f"--{name.replace('_', '-')} is needed (or KEDGE_{name.upper()}, or '{name}' in --config)"
    # A rule that joins settings: name the ones that were given, wherever they came from.
    joined = [item.source for key, item in given.items() if key in message or key.replace("_", " ") in message]
    return f"{', '.join(joined)}: {message}" if joined else message
