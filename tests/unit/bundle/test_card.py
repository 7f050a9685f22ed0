"""A card says what the bundle says, what nobody said, and nothing that a reader's Markdown would obey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import making

from kedge.bundle import card, verify

if TYPE_CHECKING:
    from pathlib import Path


def rendered(folder: Path, documents: dict[str, Any] | None = None, **manifest: Any) -> str:
    archive = folder / "one.kedge"
    archive.write_bytes(making.pack(making.files(documents), **manifest))
    with verify.opened(archive) as bundle:
        return card.render(card.Described.of(bundle))


def test_what_was_measured_stands_with_its_interval_or_without_one(tmp_path: Path) -> None:
    documents = making.documents()
    documents["eval/metrics.json"]["metrics"] += [
        {"name": "auc", "value": 0.81234567, "low": 0.79, "high": 0.83, "n": 5000},
        {"name": "auc", "value": 0.7, "n": 50, "slice": "gate=2"},
    ]
    text = rendered(tmp_path, documents, risk_class="high", owners={"model": "m@example.org"})
    for line in (
        "| accuracy | 0.9 | unknown | 100 |",
        "| auc | 0.812346 | 0.79 to 0.83 | 5,000 |",
        "| gate=2 | auc | 0.7 | unknown | 50 |",
        "| accuracy | \\>= 0.8 | 0.9 | passed |",
        "| risk class | high |",
        "| owners | model: m@example.org |",
        "| 0 to 0.7 | 50 | 0.6 | 0.6 |",
        "| speed | numeric | any | nan |",
        "- It was evaluated on 100 rows only: its intervals are wide.",
    ):
        assert line in text, text
    assert "by slice:" not in text
    assert text == rendered(tmp_path, documents, risk_class="high", owners={"model": "m@example.org"})


def test_by_what_it_is_told_apart_is_said(tmp_path: Path) -> None:
    documents = making.documents()
    documents["features/schema.json"]["slices"] = [{"feature": "speed", "edges": [0.5, 20]}]
    assert "Reported apart by: speed (cut at 0.5, 20)." in rendered(tmp_path, documents)


def test_what_nobody_said_is_said(tmp_path: Path) -> None:
    documents = making.documents()
    documents["eval/metrics.json"]["metrics"] = []
    documents["eval/gates.json"]["gates"] = [{"metric": "auc", "op": ">=", "bound": 0.8, "value": 0.5, "passed": False}]
    del documents["reference/distributions.json"]
    text = rendered(tmp_path, documents, purpose="")
    for line in (
        "Nobody said. A model without a stated purpose should not serve one.",
        "- Its purpose is not stated, so no use of it can be called intended.",
        "- Its risk has not been classified.",
        "- Nobody is named to answer for it.",
        "- Without a reference only schema, latency and errors are watched: drift goes unseen.",
        "- It was not evaluated at build.",
        "- It failed a gate: auc is 0.5, \\>= 0.8 was asked.",
        "| drift | not possible: no reference |",
    ):
        assert line in text, text


def test_names_are_text_and_not_markup(tmp_path: Path) -> None:
    text = rendered(tmp_path, purpose="<script>alert(1)</script> [x](http://e.example) | `code` # *bold*")
    assert "\\<script\\>alert(1)\\</script\\> \\[x\\](http://e.example) \\| \\`code\\` \\# \\*bold\\*" in text


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    documents = making.documents()
    metric = documents["eval/metrics.json"]["metrics"][0]
    documents["eval/metrics.json"]["metrics"] = [{**metric, "name": f"m{i}"} for i in range(card.MOST_ROWS + 5)]
    text = rendered(tmp_path, documents)
    assert "... and 5 more." in text
    assert f"| m{card.MOST_ROWS} |" not in text
