"""Every method of the admin port over its real socket: any bytes, from callers of every kind.

The first byte picks the method, the second the caller, the rest are the messages, cut where `CUT` stands.
"""

from __future__ import annotations

import hashlib
import itertools

import grpc
import harness
import making
from kedge_testing import admins

from kedge.admin import tokens
from kedge.admin.access import METHODS, Access, local_actor
from kedge.bundle.store import Store
from kedge.proto import admin as pb
from kedge.proto import audit as audit_pb
from kedge.proto import outcomes_report as reports_pb

ROOM = harness.room()
CUT = b"\xff\xfe\xff"
ROLES = ("viewer", "operator", "deployer", "admin")
PATHS = tuple(METHODS)
SECONDS = 10.0
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}


class Door:
    """The port, and its callers."""

    def __init__(self) -> None:
        given = [tokens.new(ROOM / "tokens", role, role) for role in ROLES]
        self.callers = [None, "kedge_wrong", *given]
        access = Access(tokens=ROOM / "tokens", local=local_actor(unix=False))
        self._listening = admins.listening(ROOM / "state", access=access)
        self.port = self._listening.__enter__()
        self.channel = grpc.insecure_channel(self.port.server.address)

    def call(self, path: str, caller: int, messages: list[bytes]) -> None:
        token = self.callers[caller % len(self.callers)]
        given = {
            "timeout": SECONDS,
            "metadata": () if token is None else (("authorization", f"Bearer {token}"),),
        }
        try:
            if path.endswith("/UploadBundle"):
                self.channel.stream_unary(path)(iter(messages), **given)
            elif "/Watch" in path:
                stream = self.channel.unary_stream(path)(messages[0], **{**given, "timeout": 0.05})
                list(itertools.islice(stream, 3))
                stream.cancel()
            else:
                self.channel.unary_unary(path)(messages[0], **given)
        except grpc.RpcError as error:
            watching = "/Watch" in path and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if error.code() in FAULTS and not watching:
                raise AssertionError(f"{path}: {error.code().name}: {error.details()}") from error
            if not (error.details() or "x").isprintable():
                raise AssertionError(f"{path}: the message is no line for a person") from error
        else:
            if token is None or token == "kedge_wrong":  # noqa: S105 - it is none
                raise AssertionError(f"{path}: a stranger was answered")


def one(data: bytes) -> None:
    if len(data) > 1:
        DOOR.call(f"/{PATHS[data[0] % len(PATHS)]}", data[1], data[2:].split(CUT))


def seeds() -> list[bytes]:
    archive = (ROOM / "seed.kedge").read_bytes()
    header = pb.UploadHeader(sha256=hashlib.sha256(archive).hexdigest(), size=len(archive), reason="it is due")
    chunk = pb.UploadBundleRequest(chunk=pb.UploadChunk(offset=0, data=archive))
    said = {"reason": "it is due", "idempotency_key": "k1"}
    requests = {
        "GetStatus": pb.GetStatusRequest(model="flights"),
        "GetDriftReport": pb.GetDriftReportRequest(model="flights"),
        "Deploy": pb.DeployRequest(reference="flights-1.0.0", strategy="canary", plan='{"alpha": 0.1}', **said),
        "Rollback": pb.RollbackRequest(model="flights", to="flights-1.0.0", expected_revision=1, **said),
        "ClearQuarantine": pb.ClearQuarantineRequest(reference="flights-1.0.0", **said),
        "DeleteBundle": pb.DeleteBundleRequest(reference="00" * 32, **said),
        "GetBundle": pb.GetBundleRequest(reference="flights-1.0.0"),
        "QueryUpload": pb.QueryUploadRequest(sha256="ab" * 32),
        "RecommendRollback": pb.RecommendRollbackRequest(model="flights"),
        "WatchEvents": pb.WatchEventsRequest(model="flights", after=1, once=True),
        "ListEntries": audit_pb.ListEntriesRequest(first=1, limit=3),
        "GetInclusionProof": audit_pb.GetInclusionProofRequest(sequence=1, size=2),
        "GetConsistencyProof": audit_pb.GetConsistencyProofRequest(first=1, second=2),
        "GetOutcomesReport": reports_pb.GetOutcomesReportRequest(model="flights"),
    }
    found = []
    for number, path in enumerate(PATHS):
        name = path.rpartition("/")[2]
        message = requests.get(name) or (pb.CommandRequest(model="flights", **said) if name in COMMANDS else None)
        data = message.SerializeToString() if message is not None else b""
        if name == "UploadBundle":
            data = pb.UploadBundleRequest(header=header).SerializeToString() + CUT + chunk.SerializeToString()
        found.append(bytes([number, 5]) + data)
    return found


COMMANDS = {"Promote", "Pause", "Resume", "Abort"}

if __name__ == "__main__":
    (ROOM / "seed.kedge").write_bytes(making.pack(making.files()))
    Store(ROOM / "state" / "store").add(ROOM / "seed.kedge")
    DOOR = Door()
    harness.main(one, seeds())
