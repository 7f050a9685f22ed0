"""A bad spec gets one line: the place in the YAML, what was found, what is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge.build import spec
from kedge.bundle.manifest import Confidence
from kedge.errors import SpecError
from kedge.rollout import plan as plans

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = "name: a\nversion: 1.0\nmodel: m.onnx\n"


def read(tmp_path: Path, text: str) -> spec.Spec:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return spec.read(path)


def test_the_smallest_spec_is_enough_and_a_version_may_look_like_a_number(tmp_path: Path) -> None:
    found = read(tmp_path, SMALLEST)
    assert (found.name, found.version, found.data, found.listed) == ("a", "1.0", None, None)


def test_features_as_a_list_are_an_order_and_as_a_mapping_a_refinement(tmp_path: Path) -> None:
    assert read(tmp_path, SMALLEST + "features: [b, a]\n").listed == ("b", "a")
    refined = read(tmp_path, SMALLEST + "features: {a: {kind: categorical}, b: }\n")
    assert refined.listed is None
    assert refined.feature("a").kind == "categorical"
    assert refined.feature("b") == refined.feature("never said") == spec.FeatureSpec()


@pytest.mark.parametrize(
    ("said", "kind", "value"),
    [
        ("nan", "nan", None),
        ("none", "none", None),
        ("-1", "sentinel", -1),
        ("{kind: sentinel, value: none}", "sentinel", "none"),
    ],
)
def test_missing_is_nan_none_or_a_sentinel(tmp_path: Path, said: str, kind: str, value: object) -> None:
    missing = read(tmp_path, SMALLEST + f"features: {{a: {{missing: {said}}}}}\n").feature("a").missing
    assert missing is not None
    assert (missing.kind, missing.value) == (kind, value)


def test_a_gate_is_a_metric_an_operator_and_a_bound(tmp_path: Path) -> None:
    (gate,) = read(tmp_path, SMALLEST + "gates: ['log_loss <= 4e-1']\n").gates
    assert (gate.metric, gate.op, gate.bound) == ("log_loss", "<=", 0.4)


def test_the_miss_rate_of_intervals_and_sets_can_be_said(tmp_path: Path) -> None:
    assert read(tmp_path, SMALLEST).confidence == Confidence(alpha=0.1, adaptive=False)
    assert read(tmp_path, SMALLEST + "confidence: {alpha: 0.05, adaptive: true}\n").confidence.alpha == 0.05


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (SMALLEST + "confidence: {alpha: 1}\n", "confidence.alpha: should be less than 1, got 1"),
        (SMALLEST + "pipelin: p.onnx\n", "pipelin: unknown key; did you mean 'pipeline'?"),
        (SMALLEST + "zzz: 1\n", "zzz: unknown key; allowed: card, confidence, data"),
        ("nmae: a\nversion: 1\nmodel: m\n", "nmae: unknown key; did you mean 'name'?"),
        ("name: a\nmodel: m\n", "version: missing; it must be given"),
        (SMALLEST + "data: {reference: r.csv, lable: y}\n", "data.lable: unknown key; did you mean 'label'?"),
        (SMALLEST + "data: 3\n", "data: must be a mapping, got 3"),
        (SMALLEST + "data: {label: y}\n", "data.reference: missing; it must be given"),
        (SMALLEST + "features: {a: {knd: numeric}}\n", "features.a.knd: unknown key; did you mean 'kind'?"),
        (
            SMALLEST + "features: {a: {kind: number}}\n",
            "features.a.kind: must be 'numeric' or 'categorical', got 'number'",
        ),
        (SMALLEST + "features: {a: {valid: {min: low}}}\n", "features.a.valid.min: must be a number, got 'low'"),
        (SMALLEST + "gates: ['auc > 3']\n", "gates[0]: must be a metric, >= or <=, and a number"),
        (
            SMALLEST + "serving: {batching: {max_batch: many}}\n",
            "serving.batching.max_batch: must be a whole number, got 'many'",
        ),
        (
            SMALLEST + "serving: {batching: {max_batch: 0}}\n",
            "serving.batching.max_batch: should be greater than or equal to 1, got 0",
        ),
        (SMALLEST + "slices: origin\n", "slices: must be a list, got 'origin'"),
        (SMALLEST + "slices: [{feature: a, edge: [1]}]\n", "slices[0].edge: unknown key; did you mean 'edges'?"),
        (SMALLEST + "slices: [{feature: a, edges: [low]}]\n", "slices[0].edges[0]: must be a number, got 'low'"),
        (SMALLEST + "slices: [3]\n", "slices[0]: must be a mapping, got 3"),
        (
            SMALLEST + "risk_class: low\n",
            "risk_class: must be 'minimal', 'limited', 'high' or 'unclassified', got 'low'",
        ),
        (SMALLEST + "parent: abc\n", "parent: must match"),
        ("name: ../a\nversion: 1\nmodel: m\n", "name: must match"),
        (SMALLEST + "name: b\n", "line 4, column 1: key 'name' appears twice"),
        (SMALLEST + "x: [\n", "not valid YAML at line"),
        (SMALLEST + "x: &x 1\ny: *x\n", "aliases (*name) are not used here"),
        (SMALLEST + "? [a]\n: 1\n", "not valid YAML"),
        ("- a\n", "must be a mapping with at least name, version and model"),
        ("", "must be a mapping"),
    ],
)
def test_a_bad_spec_is_one_line_that_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert complaint in message
    assert "\n" not in message


def test_a_spec_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read spec .*No such file"):
        spec.read(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8 at byte 0"):
        spec.read(tmp_path / "binary.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (spec.SPEC_BYTES + 1))
    with pytest.raises(SpecError, match="a spec is a page of YAML"):
        spec.read(tmp_path / "large.yaml")


def test_a_spec_may_bring_the_plan_of_its_rollout_and_it_is_checked_here(tmp_path: Path) -> None:
    text = SMALLEST + "rollout: {strategy: canary, steps: [{share: 5%, min_seconds: 10m}, {share: 0.5}]}\n"
    found = read(tmp_path, text).rollout
    assert found is not None
    assert found["steps"] == [{"share": 0.05, "min_seconds": 600.0}, {"share": 0.5, "proof": True}]
    assert plans.read(found) == plans.read(
        {"steps": [{"share": 0.05, "min_seconds": 600.0}, {"share": 0.5, "proof": True}]}
    )
    with pytest.raises(SpecError, match=r"rollout plan: steps\[0\]\.share: should be less than 1, got 5"):
        read(tmp_path, SMALLEST + "rollout: {steps: [{share: 5}]}\n")


@pytest.mark.parametrize("strategy", plans.STRATEGIES)
def test_a_plan_in_a_spec_says_the_same_when_it_is_read_back(tmp_path: Path, strategy: str) -> None:
    found = read(tmp_path, SMALLEST + f"rollout: {{strategy: {strategy}, guards: {{slow: {{margin: 2%}}}}}}\n").rollout
    assert found is not None
    assert plans.read(found) == plans.read({"strategy": strategy, "guards": {"slow": {"margin": 0.02}}})
