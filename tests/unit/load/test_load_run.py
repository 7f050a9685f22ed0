"""Runs against servers that stall, refuse, lie and break: what is planned is answered or failed, and once."""

from __future__ import annotations

import itertools
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import kedge
from kedge.client.calls import UnreachableError
from kedge.config import Address
from kedge.errors import ConfigError
from kedge.load import Plan, Report, Security, run
from kedge.load.run import _native, _options
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = [pb.ModelInferRequest(model_name=f"m{number}").SerializeToString() for number in range(7)]


def nothing(_request: pb.ModelInferRequest, _context: grpc.ServicerContext) -> None:
    """An answer as it should be."""


def check_sums(report: Report) -> None:
    """What holds for every run."""
    assert report.planned == report.answered + sum(report.failures.values())
    never_sent = report.failures.get("expired", 0) + report.failures.get("unsent", 0)
    assert report.sent == report.planned - never_sent
    assert report.ok == report.latency.count == report.service.count == sum(one.count for one in report.origins)
    assert report.answered - report.ok == report.other_latency.count == report.other_service.count
    for name, total in (("planned", report.planned), ("sent", report.sent), ("ok", report.ok)):
        assert sum(getattr(one, name) for one in report.intervals) == total
    assert sum(one.shed + one.failed for one in report.intervals) == report.planned - report.ok


def test_every_message_is_sent_in_turn_under_ids_of_their_own(answering: Callable[..., str]) -> None:
    seen: list[tuple[str, str]] = []
    address = answering(lambda request, _: seen.append((request.model_name, request.id)))
    report = run(address, MESSAGES, Plan(rate=1000, requests=70, connections=2))
    check_sums(report)
    assert report.ok == report.planned == 70
    assert not report.failures
    assert [(one.bundle, one.version) for one in report.origins] == [("", "9")]
    assert sorted(seen) == sorted((f"m{number % 7}", f"{number:08x}") for number in range(70))


def test_a_run_under_way_has_no_tally_yet(answering: Callable[..., str]) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hold(_request: pb.ModelInferRequest, _context: grpc.ServicerContext) -> None:
        asked.set()
        assert answer.wait(30)

    where = Address.parse(answering(hold))
    generator = _native().Generator(_options(where, Plan(closed=1, requests=1, grace=30), None, None), MESSAGES)
    generator.start()
    assert asked.wait(30)
    with pytest.raises(RuntimeError, match="has not ended"):
        generator.tally()
    answer.set()
    while not generator.wait(1):
        pass
    assert generator.tally()["ok"] == 1


def test_a_stall_is_charged_to_all_who_would_have_waited(answering: Callable[..., str]) -> None:
    """The server stops for the first 200 ms of every half second; one stream at a time, as a shy client has.

    A client that waits for its answers sends next to nothing meanwhile, and would find two slow answers of hundreds.
    """
    began = time.monotonic()

    def stall(_request: pb.ModelInferRequest, _context: grpc.ServicerContext) -> None:
        phase = (time.monotonic() - began) % 0.5
        if phase < 0.2:
            time.sleep(0.2 - phase)

    address = answering(stall)
    report = run(
        address, MESSAGES, Plan(rate=400, arrivals="uniform", duration=1.0, connections=1, streams=1, grace=60)
    )
    check_sums(report)
    assert report.ok == report.planned == 400
    assert report.latency.p99 > 0.15  # 40 % fell into a stall, and waited up to all of it
    assert report.latency.p90 > 0.1
    assert report.latency.p90 > report.service.p90
    assert report.waited > 100
    assert report.streams_limited
    assert max(one.p99 for one in report.intervals) > 0.15


def test_statuses_are_counted_one_by_one_with_the_first_words_of_each(answering: Callable[..., str]) -> None:
    codes = itertools.cycle(
        [None, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND, None, grpc.StatusCode.UNAVAILABLE]
    )
    lock = threading.Lock()

    def refuse(_request: pb.ModelInferRequest, context: grpc.ServicerContext) -> None:
        with lock:
            code = next(codes)
        if code is not None:
            context.abort(code, f"no, {code.name} \n ü")

    report = run(answering(refuse), MESSAGES, Plan(closed=3, requests=100, connections=2))
    check_sums(report)
    assert report.statuses == {"OK": 40, "RESOURCE_EXHAUSTED": 20, "NOT_FOUND": 20, "UNAVAILABLE": 20}
    assert report.texts["NOT_FOUND"] == "no, NOT_FOUND ? ü"
    assert sum(one.shed for one in report.intervals) == 20
    assert report.errors == pytest.approx(0.6)


def test_deadlines_are_sent_and_goodput_is_what_met_them(answering: Callable[..., str]) -> None:
    left: list[float] = []

    def slow(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> None:
        left.append(context.time_remaining())
        if int(request.id, 16) % 2:
            time.sleep(0.7)

    report = run(answering(slow, 20), MESSAGES, Plan(closed=20, requests=20, deadline=0.5))
    check_sums(report)
    assert max(left) <= 0.51
    assert report.good <= report.ok <= 10
    assert report.statuses["DEADLINE_EXCEEDED"] >= 10


def test_an_answer_to_another_request_is_no_answer(answering: Callable[..., str]) -> None:
    address = answering(lambda _request, _context: pb.ModelInferResponse(id="ffffffff"))
    report = run(address, MESSAGES, Plan(closed=2, requests=10))
    check_sums(report)
    assert report.failures == {"malformed": 10}
    assert report.texts["malformed"] == "an answer with another request's id"


def test_a_server_that_invents_versions_is_bounded(answering: Callable[..., str]) -> None:
    address = answering(lambda request, _: pb.ModelInferResponse(id=request.id, model_version=request.id))
    report = run(address, MESSAGES, Plan(closed=4, requests=400))
    check_sums(report)
    assert len(report.origins) == 256


def test_threads_share_the_rate_and_the_connections(answering: Callable[..., str]) -> None:
    address = answering(nothing)
    report = run(address, MESSAGES, Plan(rate=2000, requests=101, connections=3, threads=2))
    check_sums(report)
    assert report.ok == 101


def test_ctrl_c_ends_a_run_with_the_figures_so_far(answering: Callable[..., str]) -> None:
    address = answering(nothing)
    steps = itertools.count()

    def interrupt(_now: Any) -> None:
        if next(steps) == 1:
            signal.raise_signal(signal.SIGINT)

    report = run(address, MESSAGES, Plan(rate=200, duration=600), on_progress=interrupt)
    check_sums(report)
    assert report.interrupted
    assert 0 < report.planned < 10_000


def test_who_does_not_listen_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"no connection to 127.0.0.1:{port}: Connection refused"):
        run(f"127.0.0.1:{port}", MESSAGES, Plan(rate=10))


def test_a_build_without_the_generator_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(kedge, "_load", raising=False)
    monkeypatch.setitem(sys.modules, "kedge._load", None)
    with pytest.raises(ConfigError, match=r"no load generator .* pip install"):
        run("127.0.0.1:1", MESSAGES, Plan(rate=10))


def test_bad_input_is_refused(answering: Callable[..., str]) -> None:
    address = answering(nothing)
    with pytest.raises(ConfigError, match="no requests"):
        run(address, [], Plan(rate=10))
    with pytest.raises(ConfigError, match="no address"):
        run("nowhere", MESSAGES, Plan(rate=10))
    with pytest.raises(ConfigError, match="the CA is not usable"):
        run(address, MESSAGES, Plan(rate=10), security=Security(b"no PEM"))
