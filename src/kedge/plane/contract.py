"""What a data plane is: the only interface between answering requests and deciding about them.

Two planes implement it, `portable` (Python, grpc.aio) and `native` (C++). Every method is thread-safe and idempotent,
and never blocks the request path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Arm(IntEnum):
    """The role a bundle plays for a request. The values are part of the snapshot format."""

    LIVE = 0
    CONTROL = 1
    CANARY = 2
    SHADOW = 3
    PINNED = 4


@dataclass(frozen=True)
class Handle:
    """A loaded bundle. Valid on the plane that made it until it is retired.

    Attributes:
        bundle: bundle id, 64 hex digits.
        model, version: name and version from the bundle.
        key: the plane's own number for it, never reused.
    """

    bundle: str
    model: str
    version: str
    key: int


@dataclass(frozen=True)
class LoadOptions:
    """How to load.

    Attributes:
        golden: replay the bundle's golden rows and refuse the load if they differ.
        warm_up: runs of every batch size in powers of two up to max_batch before the handle is returned.
        intra_op_threads: ONNX Runtime threads inside one run; None takes the bundle's serving config.
    """

    golden: bool = True
    warm_up: bool = True
    intra_op_threads: int | None = None


@dataclass(frozen=True)
class ArmRoute:
    """A share of a model's traffic.

    Attributes:
        handle: who answers.
        arm: under which name it is counted.
        share: of requests, in [0, 1]; the shares of a route sum to 1.
    """

    handle: Handle
    arm: Arm
    share: float


@dataclass(frozen=True)
class Shadow:
    """Who runs beside the arms and answers nobody.

    Attributes:
        handle: who it is.
        sample: share of the requests that LIVE or CONTROL answered whose inputs it is given too, in (0, 1].
    """

    handle: Handle
    sample: float = 1.0


@dataclass(frozen=True)
class Route:
    """Where requests for one model go.

    Attributes:
        model: name in the request.
        epoch: from 1; grows with every change of this route; a lower one than that in force is refused.
        arms: who answers when no version is named. With a key, arms take their shares in this order, each from the
            start of the remaining key space, so the last arm should be the one that shrinks (live or control). A key's
            place is SipHash-2-4 under `salt` of the period (8 bytes, little-endian: seconds since 1970 // sticky_for)
            and the key's UTF-8; arm i takes the places below int((share_0 + ... + share_i) * 2.0**64), the last one
            all that is left.
        pinned: versions reachable by name beside those of `arms`. Whoever names a version is counted under PINNED.
        salt: secret of this rollout, 16 bytes; empty stands for 16 zero bytes.
        sticky_for: seconds a key keeps its arm, above zero.
        shadow: a bundle that is compared with the one that answers, on a thread of its own; it drops rather than
            delays.
        slow_ns: by batch-size bucket (`kedge.kernel.contract.BATCH_SIZE_BUCKETS` entries), the run time above which
            every request of a batch counts as slow; 0 for a bucket without one. Empty: none is slow.
    """

    model: str
    epoch: int
    arms: tuple[ArmRoute, ...]
    pinned: tuple[Handle, ...] = ()
    salt: bytes = b""
    sticky_for: int = 3600
    shadow: Shadow | None = None
    slow_ns: tuple[int, ...] = ()


@dataclass(frozen=True)
class RouteTable:
    """All routes; publishing one replaces the table in force, whole."""

    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class PublishReport:
    """What a publish cost.

    Attributes:
        nanoseconds: from the store of the new table until every shard picks from it.
        shards: how many there are.
    """

    nanoseconds: int
    shards: int


@dataclass(frozen=True)
class Tls:
    """Server credentials, PEM bytes.

    Attributes:
        certificate, key: the server's chain and private key.
        client_ca: when given, clients must present a certificate it signed (mTLS).
    """

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


@dataclass(frozen=True)
class TokenKey:
    """A secret that seals prediction ids.

    Attributes:
        id: in [0, 255]; the token names it.
        secret: 16 random bytes.
    """

    id: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Tokens:
    """With what predictions are sealed; without it no answer carries a prediction id.

    Attributes:
        key: seals.
        boot: 64 bits that name this replica and this start of it; with shard and sequence it makes an id unique.
    """

    key: TokenKey
    boot: int


@dataclass(frozen=True)
class Limits:
    """Bounds of the data port. Each names what it stops; see `kedge.plane.limits` for the fixed ones.

    Attributes:
        max_message_bytes: a request message, inflated (memory exhaustion).
        max_queue: requests waiting a model (unbounded queues under overload).
        max_connections: open connections; not enforced by the portable plane, whose gRPC core has no such setting.
        max_concurrent_streams: per connection.
    """

    max_message_bytes: int = 64 * 1024 * 1024 + 64 * 1024
    max_queue: int = 4096
    max_connections: int = 4096
    max_concurrent_streams: int = 1024


class Event(Enum):
    """What happens to a cold call."""

    OPEN = "open"
    MESSAGE = "message"
    HALF_CLOSE = "half_close"
    CANCEL = "cancel"


ColdCallback = Callable[[int, Event, str, Mapping[str, str], bytes], None]
"""`callback(call, event, method, metadata, payload)`: a call the plane does not answer itself.

`call` is the number to give to `DataPlane.reply`; `method` is the full path such as
``/inference.GRPCInferenceService/ServerMetadata``. Events of all calls come on one thread, in order. It must not block.
A call that the client ends gets CANCEL; after a call was ended by `reply`, events that were already on their way may
still come. The plane itself answers ServerLive, ServerReady, ModelReady, ModelInfer, ModelStreamInfer and Health.Check.
"""


@dataclass(frozen=True)
class CallStatus:
    """How a cold call ends: a gRPC status number and a message."""

    code: int = 0
    message: str = ""


class DataPlane(Protocol):
    """Answers requests and counts. Errors are `PlaneError`; a failed call changes nothing."""

    name: Literal["native", "portable"]

    def configure(self, *, tls: Tls | None = None, limits: Limits | None = None, tokens: Tokens | None = None) -> None:
        """Set credentials, bounds and the sealing key.

        TLS and tokens given again while serving hold for new connections and new answers.
        """

    def on_cold(self, callback: ColdCallback) -> None:
        """Who answers cold RPCs. Set before `start`."""

    def start(self, address: str) -> str:
        """Listen on ``host:port`` (port 0: a free one), ``[::1]:port`` or ``unix:/path``; returns the bound address."""

    def load(self, directory: Path, options: LoadOptions) -> Handle:
        """Load an opened bundle directory (of the store); replays golden rows, warms up. Raises `ModelLoadError`."""

    def run(self, handle: Handle, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run off the request path, uncounted: advice, golden rows."""

    def publish(self, table: RouteTable) -> PublishReport:
        """Replace the whole route table; returns when no new request can reach the old one.

        Raises:
            PlaneError: an epoch is lower than the one in force, or equal with different content; a handle is unknown or
                retired; shares do not sum to 1. Nothing was changed.
        """

    def retire(self, handle: Handle, grace: float) -> int:
        """Wait up to `grace` seconds for work in flight, then free the session; returns bytes of resident memory freed.

        Raises:
            PlaneError: the handle is still in the route table, or work did not end in time.
        """

    def snapshot(self) -> bytes:
        """Counts of every (bundle, arm, epoch), as versioned bytes: see `kedge.plane.cells`."""

    def forget(self, bundle: str) -> None:
        """Drop the counts of a bundle that was deleted: now, or once it is retired.

        A bundle that is loaded again before that keeps them.
        """

    def confide(self, handle: Handle, threshold: float) -> None:
        """Use another conformal threshold for a bundle than its calibration gave: adaptive alpha moves it.

        Args:
            handle: of a bundle with calibration scores.
            threshold: the score up to which a class is in the set, or half the width of an interval; may be infinite.

        Raises:
            PlaneError: the handle is unknown, or its bundle has no calibration scores.
        """

    def suspects(self, handle: Handle) -> Sequence[Mapping[str, NDArray[Any]]]:
        """Input rows, all of them finite, whose prediction was not: the first `limits.SUSPECTS` since the last call.

        Whoever judges them makes room by asking, or rows that are finite and still no model's fault would keep out
        those that are.
        """

    def reservoir(self, handle: Handle) -> Sequence[Mapping[str, NDArray[Any]]]:
        """A bounded uniform sample of recent requests' input rows, each a mapping of tensor name to one row."""

    def reply(self, call: int, payload: bytes | None, last: bool, status: CallStatus | None = None) -> None:
        """Send a message of a cold call (None: no message), and end it when `last`. Ended calls are ignored."""

    def drain(self, timeout: float, grace: float = 0.0) -> bool:
        """Answer "not ready" but serve for `grace` seconds, then send GOAWAY and finish what is under way.

        Returns:
            True if all of it ended within `timeout` seconds after the grace. Balancers use the grace to look elsewhere.
        """

    def stop(self) -> None:
        """Stop at once and join every thread. The plane cannot be started again."""
