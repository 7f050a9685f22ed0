"""The section ``alerts`` of the settings file: sinks, routes and times, validated.

Secrets never stand in it. They are named, as an environment variable or a file, and read when they are used.
"""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kedge.alerts.model import OWNER_KINDS, OwnerKind, Severity
from kedge.config import Address
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG: Final = "log"
"""Name of the sink that always exists, and gets what no route takes."""
MAX_SECRET_BYTES: Final = 8192
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
RESERVED_LABELS: Final = frozenset(
    {"alertname", "instance", "severity", "model", "version", "bundle", "cause", "subject", "owner", "owner_kind"}
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Secret(_Model):
    """Where a secret stands: exactly one of an environment variable and a file (whose last line break is dropped)."""

    env: str | None = Field(default=None, min_length=1)
    file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("name one of 'env' and 'file'")
        return self

    def read(self, environment: Mapping[str, str]) -> str:
        """The secret as it is now.

        Raises:
            ConfigError: it is missing, empty, too long, or cannot stand in a header. Never says what it is.
        """
        if self.file is not None:
            where = f"file '{self.file}'"
            try:
                with self.file.open("rb") as file:
                    text = file.read(MAX_SECRET_BYTES + 1).decode("utf-8").rstrip("\r\n")
            except OSError as error:
                raise ConfigError(f"cannot read a secret from {where}: {error.strerror}") from error
            except UnicodeDecodeError:
                raise ConfigError(f"the secret in {where} is not UTF-8 text") from None
        else:
            where = f"environment variable {self.env}"
            text = environment.get(str(self.env), "")
        if not text:
            raise ConfigError(f"the secret in {where} is missing or empty")
        if len(text) > MAX_SECRET_BYTES or not (text.isascii() and text.isprintable()):
            raise ConfigError(
                f"the secret in {where} is no line of at most {MAX_SECRET_BYTES} printable ASCII characters"
            )
        return text


def _named(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("a secret is never written here; name where it stands: {env: NAME} or {file: PATH}")  # noqa: TRY004 - pydantic wants a ValueError
    return value


SecretRef = Annotated[Secret, BeforeValidator(_named)]


def check_url(text: str) -> str:
    """The same text if it is an absolute http or https URL without credentials in it. Raises `ValueError`."""
    try:
        parts = urllib.parse.urlsplit(text)
        host, _ = parts.hostname, parts.port
        fits = text.isascii() and text.isprintable() and " " not in text and bool((host or "").encode("idna"))
    except ValueError:
        fits = False
    if not fits or parts.scheme not in {"http", "https"}:
        raise ValueError("must be an absolute http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or password; use 'token'")
    if parts.fragment:
        raise ValueError("must not have a fragment (#...)")
    return text


def in_clear(url: str) -> bool:
    """True if others could read what is sent there: http, and not to this machine."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and not Address(parts.hostname or "", 0).loopback


Url = Annotated[str, AfterValidator(check_url)]
SinkName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class LogSink(_Model):
    """Alerts as lines of the server's log."""

    name: SinkName
    type: Literal["log"]


class _Http(_Model):
    name: SinkName
    timeout: float = Field(default=5.0, gt=0, le=30)
    """Seconds for a whole attempt: connecting, sending, and reading the answer."""
    ca_file: Path | None = None
    """PEM file of authorities to trust instead of the system's."""


class _Authenticated(_Http):
    token: SecretRef | None = None
    """Sent as ``Authorization: Bearer``."""

    def _guard(self, url: str | None) -> None:
        if self.token is not None and url is not None and in_clear(url):
            raise ValueError("'token' would cross the network in clear; use https")


class WebhookSink(_Authenticated):
    """CloudEvents 1.0 by POST, structured mode. Some services put a secret into the URL: then use `url_from`."""

    type: Literal["webhook"]
    url: Url | None = None
    url_from: SecretRef | None = None

    @model_validator(mode="after")
    def _consistent(self) -> WebhookSink:
        if (self.url is None) == (self.url_from is None):
            raise ValueError("name one of 'url' and 'url_from'")
        self._guard(self.url)
        return self

    def read_url(self, environment: Mapping[str, str]) -> str:
        """The URL as it is now; one that is a secret is held to the same rules.

        Raises:
            ConfigError: it cannot be read or used. Never says what it is.
        """
        if self.url_from is None:
            return str(self.url)
        url = self.url_from.read(environment)
        try:
            check_url(url)
            if in_clear(url):
                raise ValueError("would cross the network in clear; use https")
        except ValueError as error:
            raise ConfigError(f"the URL of 'url_from' {error}") from None
        return url


class AlertmanagerSink(_Authenticated):
    """Prometheus Alertmanager, API v2; `url` is its base, without ``/api/v2/alerts``."""

    type: Literal["alertmanager"]
    url: Url
    refresh: float = Field(default=60.0, ge=1, le=3600)
    """Seconds between two posts of an alert that goes on; Alertmanager takes one as over after three of them missed."""

    @model_validator(mode="after")
    def _consistent(self) -> AlertmanagerSink:
        self._guard(self.url)
        return self


class PagerDutySink(_Http):
    """PagerDuty Events API v2; `url` is its base, without ``/v2/enqueue``."""

    type: Literal["pagerduty"]
    routing_key: SecretRef
    url: Url = "https://events.pagerduty.com"

    @model_validator(mode="after")
    def _consistent(self) -> PagerDutySink:
        if in_clear(self.url):
            raise ValueError("'routing_key' would cross the network in clear; use https")
        return self


SinkConfig = Annotated[LogSink | WebhookSink | AlertmanagerSink | PagerDutySink, Field(discriminator="type")]


class RouteConfig(_Model):
    """Which alerts go to which sinks. Every route that matches counts, not the first alone."""

    owners: tuple[OwnerKind, ...] = Field(default=OWNER_KINDS, min_length=1)
    severity: Severity = Severity.INFO
    """The least."""
    sinks: tuple[SinkName, ...] = Field(min_length=1, max_length=32)


class AlertsConfig(_Model):
    """The whole section. Without routes every alert goes to every sink; without sinks, to the log.

    Attributes:
        sinks: where alerts can go; a sink named ``log`` always exists.
        routes: who hears what; an alert that no route takes goes to ``log``.
        repeat: seconds after which an alert that goes on is told again.
        clear_after: evaluations in a row that must not find a problem before it counts as over; at one a second the
            default is three panes, so that a verdict at its line does not open and close an alert with each pane.
        instance: this server's name in alerts.
        external_url: where people reach this server, for links in alerts.
        labels: carried by every alert, such as an environment or a region.
    """

    sinks: tuple[SinkConfig, ...] = Field(default=(), max_length=32)
    routes: tuple[RouteConfig, ...] = Field(default=(), max_length=64)
    repeat: float = Field(default=4 * 3600.0, ge=10, le=30 * 86400)
    clear_after: int = Field(default=30, ge=1, le=1000)
    instance: str = Field(default="kedge", pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")
    external_url: Url | None = None
    labels: dict[str, Annotated[str, Field(pattern=r"^\P{Cc}+$", max_length=256)]] = Field(default={}, max_length=16)

    @model_validator(mode="after")
    def _consistent(self) -> AlertsConfig:
        names = [sink.name for sink in self.sinks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sinks are named '{name}'")
        if any(sink.name == LOG and sink.type != "log" for sink in self.sinks):
            raise ValueError(f"the name '{LOG}' belongs to the log; choose another")
        routed = {name for route in self.routes for name in route.sinks}
        if unknown := sorted(routed - {*names, LOG}):
            raise ValueError(f"a route names '{unknown[0]}', and no sink is called that")
        if self.routes and (idle := sorted(set(names) - routed)):
            raise ValueError(f"sink '{idle[0]}' is in no route, so it would never hear anything")
        for label in self.labels:
            if not _LABEL.match(label) or label.startswith("__") or label in RESERVED_LABELS:
                raise ValueError(f"label '{label}' is reserved, or not of letters, digits and underscores")
        return self


def parse(section: Any, where: str) -> AlertsConfig:
    """Validate the section as YAML gave it; None stands for an empty one.

    Args:
        section: mappings, lists and plain values.
        where: file and key, for messages.

    Raises:
        ConfigError: naming the first key that is wrong, and never a value that may be a secret.
    """
    try:
        return AlertsConfig.model_validate({} if section is None else section)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = where
        types = {"log", "webhook", "alertmanager", "pagerduty"}  # the tags that pydantic adds to the path
        for before, part in zip((None, *first["loc"]), first["loc"], strict=False):
            if isinstance(part, int):
                path += f"[{part}]"
            elif not (isinstance(before, int) and part in types):
                path += f".{part}"
        raise ConfigError(f"{path}: {first['msg'].removeprefix('Value error, ')}") from None
