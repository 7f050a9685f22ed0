"""Labels over the data port's real socket of a whole server: any bytes as reports, genuine prediction ids among them.

The first byte says by which call they are sent; messages are cut where `CUT` stands.
"""

from __future__ import annotations

import grpc
import harness
import making
import numpy as np
from kedge_testing.serving import Caller, request

from kedge.app import Server
from kedge.config import Settings
from kedge.proto import outcomes as pb

ROOM = harness.room()
CUT = b"\xff\xfe\xff"
SECONDS = 10.0
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}


class Port:
    """The server, and a client of it."""

    def __init__(self) -> None:
        archive = ROOM / "seed.kedge"
        archive.write_bytes(making.pack(making.files()))
        free = dict.fromkeys(("grpc", "admin", "metrics"), "127.0.0.1:0")
        self.server = Server(Settings(state=ROOM / "state", bundle=(archive,), plane="portable", **free))
        self.caller = Caller(self.server.describe()["grpc"])
        self.report = self.caller.channel.unary_unary("/kedge.v1.Outcomes/Report")
        self.stream = self.caller.channel.stream_stream("/kedge.v1.Outcomes/ReportStream")

    def predicted(self) -> list[str]:
        rows = np.ones((1, 2), np.float32)
        answers = [self.caller.infer(request("flights", ("x", "FP32", rows))) for _ in range(4)]
        return [answer.parameters["prediction_id"].string_param for answer in answers]

    def send(self, *, streamed: bool, messages: list[bytes]) -> list[tuple[bytes, pb.ReportResponse]]:
        """What was answered to which message."""
        try:
            if streamed:
                answers = list(self.stream(iter(messages), timeout=SECONDS))
            else:
                answers = [self.report(message, timeout=SECONDS) for message in messages]
        except grpc.RpcError as error:
            if error.code() in FAULTS or not (error.details() or "x").isprintable():
                raise AssertionError(f"{error.code().name}: {error.details()}") from error
            return []
        assert len(answers) == len(messages)
        return list(zip(messages, map(pb.ReportResponse.FromString, answers), strict=True))


def one(data: bytes) -> None:
    if not data:
        return
    for message, answer in PORT.send(streamed=data[0] % 2 == 1, messages=data[1:].split(CUT)[:8]):
        asked = pb.ReportRequest.FromString(message)
        counted = sum(getattr(answer, field.name) for field in answer.DESCRIPTOR.fields if field.name != "statuses")
        assert counted == len(asked.outcomes), "an outcome was lost or counted twice"
        assert len(answer.statuses) == (len(asked.outcomes) if asked.statuses else 0)


def seeds() -> list[bytes]:
    first, second, third, fourth = PORT.predicted()
    messages = [
        pb.ReportRequest(outcomes=[pb.Outcome(prediction_id=first, class_name="yes")], statuses=True),
        pb.ReportRequest(outcomes=[pb.Outcome(prediction_id=second, class_index=1), pb.Outcome(prediction_id=third)]),
        pb.ReportRequest(outcomes=[pb.Outcome(prediction_id=fourth, number=0.5)] * 2, statuses=True),
        pb.ReportRequest(outcomes=[pb.Outcome(prediction_id="none", number=float("nan"))]),
    ]
    data = [message.SerializeToString() for message in messages]
    return [*(bytes([number % 2]) + one for number, one in enumerate(data)), b"\x01" + CUT.join(data)]


if __name__ == "__main__":
    PORT = Port()
    harness.main(one, seeds())
