"""What a load run is to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from kedge import pem
from kedge.errors import ConfigError

if TYPE_CHECKING:
    from kedge.client import Credentials

METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
MAX_RATE: Final = 10_000_000.0
MAX_DURATION: Final = 86_400.0
"""Seconds."""
MAX_CONNECTIONS: Final = 4_096
MAX_STREAMS: Final = 65_536
MAX_THREADS: Final = 64
MAX_REQUESTS: Final = 2**32
"""Of a run: requests carry their number, of 32 bits, as their id."""
MAX_TIMEOUT_DIGITS: Final = 99_999_999


@dataclass(frozen=True)
class Security:
    """TLS of the client.

    Attributes:
        ca: PEM text of the CA that signed the server's certificate.
        certificate, key: PEM texts of the client's own (mTLS); empty: none.
    """

    ca: bytes
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def read(cls, credentials: Credentials) -> Security | None:
        """From the files that credentials name; None where they name no CA. Raises `ConfigError`."""
        if credentials.channel() is None or credentials.ca is None:  # it checks what goes with what, and the files
            return None
        if credentials.certificate is None or credentials.key is None:
            return cls(pem.read(credentials.ca))
        return cls(pem.read(credentials.ca), pem.read(credentials.certificate), pem.read(credentials.key))


@dataclass(frozen=True)
class Plan:
    """How much, how fast and over what.

    Attributes:
        rate: requests a second of an open loop; 0 for a closed one.
        closed: requests outstanding at a time of a closed loop, each sent when one is answered; 0 for an open one.
        duration: seconds in which requests are planned.
        requests: at most so many are planned; 0: as many as the time gives.
        arrivals: ``poisson``: gaps are exponential, as of many independent clients; ``uniform``: all gaps are equal.
        seed: of the arrivals.
        connections: HTTP/2 connections.
        streams: outstanding requests on a connection, at most; fewer where the server says so.
        deadline: seconds from the intended time, sent as grpc-timeout; 0 for none.
        grace: seconds to wait for answers after the last request was planned.
        threads: of the generator.
        method: full gRPC method.

    Raises:
        ConfigError: a value is out of its range, or both or neither of `rate` and `closed` are given.
    """

    rate: float = 0.0
    closed: int = 0
    duration: float = 10.0
    requests: int = 0
    arrivals: Literal["poisson", "uniform"] = "poisson"
    seed: int = 0
    connections: int = 8
    streams: int = 256
    deadline: float = 0.0
    grace: float = 5.0
    threads: int = 1
    method: str = METHOD

    def __post_init__(self) -> None:
        if (self.rate > 0) == (self.closed > 0):
            raise ConfigError(
                "give either a rate (open loop, --rate) or how many requests are outstanding (closed loop, --closed)"
            )
        for name, value, least, most in (
            ("rate", self.rate, 0, MAX_RATE),
            ("closed", self.closed, 0, MAX_CONNECTIONS * MAX_STREAMS),
            ("duration", self.duration, 0.001, MAX_DURATION),
            ("requests", self.requests, 0, MAX_REQUESTS),
            ("connections", self.connections, 1, MAX_CONNECTIONS),
            ("streams", self.streams, 1, MAX_STREAMS),
            ("deadline", self.deadline, 0, MAX_DURATION),
            ("grace", self.grace, 0, MAX_DURATION),
            ("threads", self.threads, 1, MAX_THREADS),
            ("seed", self.seed, 0, 2**63),
        ):
            if not least <= value <= most:
                raise ConfigError(f"{name}: {value:g} is not between {least:g} and {most:g}")
        if self.closed > self.connections * self.streams:
            raise ConfigError(
                f"closed: {self.closed} requests need more streams than {self.connections} connections of "
                f"{self.streams} have; raise connections or streams"
            )
        if self.arrivals not in ("poisson", "uniform"):
            raise ConfigError(f"arrivals: '{self.arrivals}' is neither poisson nor uniform")

    @property
    def planned(self) -> float:
        """Requests of an open loop, on average; infinite for a closed one without a bound."""
        by_time = self.rate * self.duration if self.rate else float("inf")
        return min(by_time, self.requests) if self.requests else by_time

    @property
    def timeout(self) -> str:
        """The deadline as grpc-timeout: eight digits at the most, and a unit."""
        if not self.deadline:
            return ""
        microseconds = max(1, round(self.deadline * 1e6))
        return f"{microseconds}u" if microseconds <= MAX_TIMEOUT_DIGITS else f"{round(self.deadline * 1e3)}m"
