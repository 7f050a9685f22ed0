from __future__ import annotations

from typing import get_args

import pytest

from kedge.alerts.model import Cause, OwnerKind, Severity
from kedge.alerts.routing import FALLBACK, OWNER_OF, Router, owner
from kedge.alerts.settings import parse
from kedge.bundle.manifest import Owners

KINDS = set(get_args(OwnerKind))
OWNERS = Owners(data="d", feature="f", model="m", platform="p", compliance="c")


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (Cause.INPUT_DRIFT, "data"),
        (Cause.MISSING, "feature"),
        (Cause.UNSEEN, "feature"),
        (Cause.OUT_OF_RANGE, "feature"),
        (Cause.PIPELINE, "feature"),
        (Cause.CANARY, "model"),
        (Cause.CONFIDENCE, "model"),
        (Cause.OUTCOMES, "model"),
        (Cause.ERRORS, "platform"),
        (Cause.LATENCY, "platform"),
        (Cause.SIGNATURE, "compliance"),
        (Cause.AUDIT, "compliance"),
    ],
)
def test_trouble_goes_to_who_can_act_on_it(cause: Cause, kind: str) -> None:
    assert owner(cause, OWNERS) == (kind, kind[0])


def test_every_cause_has_an_owner_and_every_owner_a_full_fallback() -> None:
    assert set(OWNER_OF) == set(Cause)
    assert set(FALLBACK) == KINDS == set(Owners.model_fields)
    for kind, order in FALLBACK.items():
        assert order[0] == kind
        assert len(order) == len(set(order)) == len(KINDS)


def test_the_next_owner_named_is_told_where_the_first_is_empty() -> None:
    assert owner(Cause.INPUT_DRIFT, Owners(model="m", compliance="c")) == ("model", "m")
    assert owner(Cause.ERRORS, Owners(data="d")) == ("data", "d")
    assert owner(Cause.AUDIT, Owners(platform=" ", data="d")) == ("data", "d")


def test_without_any_owner_the_kind_still_routes() -> None:
    assert owner(Cause.LATENCY, Owners()) == ("platform", "")


def router(*routes: dict[str, object]) -> Router:
    sinks = [{"name": name, "type": "webhook", "url": "https://h/"} for name in ("a", "b")]
    return Router(parse({"sinks": sinks, "routes": list(routes)}, "alerts"))


def test_every_route_that_matches_counts() -> None:
    by = router({"owners": ["data"], "sinks": ["a"]}, {"severity": "critical", "sinks": ["b", "a"]})
    assert by.sinks("data", Severity.INFO) == ("a",)
    assert by.sinks("data", Severity.CRITICAL) == ("a", "b")
    assert by.sinks("model", Severity.CRITICAL) == ("b", "a")


def test_what_no_route_takes_is_logged() -> None:
    assert router({"owners": ["data"], "sinks": ["a", "b"]}).sinks("model", Severity.CRITICAL) == ("log",)


def test_without_routes_everything_goes_everywhere() -> None:
    assert router().sinks("model", Severity.INFO) == ("a", "b")
    assert Router(parse(None, "alerts")).sinks("model", Severity.INFO) == ("log",)
