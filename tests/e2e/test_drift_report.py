"""`kedge drift` and `kedge status`: what was served against the reference, in the terminal, as JSON and as pictures."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedge_testing import flights

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def server(serve: Any, bundles: Any) -> Any:
    return serve("--bundle", bundles())


def send(kedge: Any, server: Any, table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)
    assert (
        kedge("predict", "flights", "--input", path, "--server", server.grpc, "--batch", "1000", "--json").status == 0
    )


def lines(report: Any) -> dict[str, Any]:
    return {f"{line['subject']} {line['name']}": line for line in report["lines"]}


def test_before_any_traffic_there_is_nothing_to_compare(server: Any, kedge: Any) -> None:
    done = kedge("drift", "flights", "--admin", server.admin)
    assert done.status == 0
    assert "nothing was served" in done.out


def test_a_window_that_is_too_small_is_never_judged(server: Any, kedge: Any, tmp_path: Path) -> None:
    send(kedge, server, flights.rows(100, 1, temp=90.0), tmp_path / "r.parquet")
    done = kedge("drift", "flights", "--admin", server.admin, "--json")
    assert done.status == 0
    assert done.json["verdict"] == "INSUFFICIENT"
    assert {line["verdict"] for line in done.json["lines"]} == {"INSUFFICIENT"}
    assert "are needed" in done.json["lines"][0]["reasons"][0]
    assert "too little data to judge: 100 rows" in kedge("drift", "flights", "--admin", server.admin).out


def test_traffic_like_the_reference_is_ok(server: Any, kedge: Any, tmp_path: Path) -> None:
    send(kedge, server, flights.rows(5000, 2), tmp_path / "r.parquet")
    done = kedge("drift", "flights", "--admin", server.admin, "--json")
    assert done.status == 0
    assert done.json["verdict"] == "OK", done.json
    assert done.json["rows"] == 5000
    assert done.json["reference_rows"] == 6000


def test_planted_faults_are_named_worst_first_and_the_answer_is_no(server: Any, kedge: Any, tmp_path: Path) -> None:
    table = flights.rows(5000, 3, temp=70.0)
    carriers = ["ZZ" if i % 20 == 0 else name for i, name in enumerate(table["carrier"].to_pylist())]
    send(kedge, server, table.set_column(2, "carrier", pa.array(carriers)), tmp_path / "r.parquet")
    page, picture = tmp_path / "drift.html", tmp_path / "drift.png"
    done = kedge("drift", "flights", "--admin", server.admin, "--json", "--plot", page)
    assert done.status == 1
    report = done.json
    assert report["verdict"] == "CRITICAL"
    first, second = report["lines"][:2]
    assert (first["name"], first["cause"]) == ("carrier", "pipeline"), "of equals the pipeline's faults come first"
    assert (second["name"], second["cause"]) == ("temp", "data")
    found = lines(report)
    assert found["feature temp"]["reasons"][0].startswith("distribution moved up: mean 39.")
    assert found["feature carrier"]["reasons"][0] == "unseen category share 5.0 % (none in the reference)"
    assert found["feature carrier"]["faults"]["unseen"]["share"] == pytest.approx(0.05)
    assert found["feature distance"]["verdict"] == "OK"
    assert found["prediction class"]["verdict"] in ("WARN", "CRITICAL")
    ranks = [["CRITICAL", "WARN", "INSUFFICIENT", "OK"].index(line["verdict"]) for line in report["lines"]]
    assert ranks == sorted(ranks)
    cells = found["feature temp"]["cells"]
    assert sum(cell["count"] for cell in cells) == 5000
    assert sum(cell["reference_count"] for cell in cells) == 6000
    text = kedge("drift", "flights", "--admin", server.admin, "--plot", picture)
    assert text.status == 1
    assert f"plot written to {picture}" in text.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    check_page(page.read_text())


def check_page(html: str) -> None:
    seen: list[str] = []
    fetched: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append(tag)
            fetched.extend(value or "" for name, value in attrs if name in ("src", "href", "xlink:href"))

    Parser().feed(html)
    assert seen.count("article") == seen.count("svg") == 8
    assert "script" not in seen
    assert fetched == []
    assert "url(" not in html
    assert "distribution moved up" in html


def test_the_window_can_be_chosen(server: Any, kedge: Any, tmp_path: Path) -> None:
    send(kedge, server, flights.rows(2000, 4), tmp_path / "r.parquet")
    for flags, rows in ((["--last", "1h"], 2000), (["--since", "2001-01-01"], 2000), (["--since", "2999-01-01"], 0)):
        assert kedge("drift", "flights", "--admin", server.admin, "--json", *flags).json["rows"] == rows
    for flags, message in (
        (["--last", "soon"], "--last: 'soon' is no duration"),
        (["--since", "soon"], "--since: 'soon' is no time"),
        (["--last", "1h", "--since", "2001-01-01"], "give one"),
        (["--plot", "x.gif"], "must end in .html or .png"),
    ):
        done = kedge("drift", "flights", "--admin", server.admin, *flags)
        assert done.status == 2
        assert message in done.err


def test_an_unknown_model_says_what_is_live(server: Any, kedge: Any) -> None:
    told = {
        "drift": "no model 'other' is live here; live: flights",
        "status": "no model 'other' is known here; known: flights",
    }
    for command, words in told.items():
        done = kedge(command, "other", "--admin", server.admin)
        assert done.status == 2
        assert words in done.err


def test_status_counts_requests_and_rows(server: Any, kedge: Any, tmp_path: Path) -> None:
    send(kedge, server, flights.rows(2500, 5), tmp_path / "r.parquet")
    answer = kedge("status", "--admin", server.admin, "--json").json
    assert answer["ready"] is True
    (model,) = answer["models"]
    assert (model["model"], model["version"], model["epoch"], model["rows"]) == ("flights", "1.0.0", 1, 2500)
    assert model["requests"] == {"0": 3}
    text = kedge("status", "--admin", server.admin).out
    assert "flights" in text
    assert "2,500" in text
