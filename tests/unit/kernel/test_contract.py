"""Layouts that break a rule of the contract cannot be made."""

import math

import pytest

from kedge.errors import KernelError
from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature, Tensor

E = (0.0, 1.0)
BAD = {
    "one edge": lambda: NumericFeature("x", 0, 0, (0.0,)),
    "22 edges": lambda: NumericFeature("x", 0, 0, tuple(map(float, range(22)))),
    "edges that fall": lambda: NumericFeature("x", 0, 0, (1.0, 0.0)),
    "an edge twice": lambda: NumericFeature("x", 0, 0, (1.0, 1.0)),
    "both zeros": lambda: NumericFeature("x", 0, 0, (-0.0, 0.0)),
    "an infinite edge": lambda: NumericFeature("x", 0, 0, (0.0, math.inf)),
    "six atoms": lambda: NumericFeature("x", 0, 0, E, tuple(map(float, range(6)))),
    "a NaN atom": lambda: NumericFeature("x", 0, 0, E, (math.nan,)),
    "an empty range": lambda: NumericFeature("x", 0, 0, E, valid_min=1.0, valid_max=0.0),
    "a scale of zero": lambda: NumericFeature("x", 0, 0, E, scale=0.0),
    "a NaN center": lambda: NumericFeature("x", 0, 0, E, center=math.nan),
    "no category": lambda: CategoricalFeature("x", 0, 0, ()),
    "61 categories": lambda: CategoricalFeature("x", 0, 0, tuple(map(str, range(61)))),
    "mixed categories": lambda: CategoricalFeature("x", 0, 0, ("a",), (1,)),
    "booleans": lambda: CategoricalFeature("x", 0, 0, (True, False)),
    "a category twice": lambda: CategoricalFeature("x", 0, 0, ("a",), ("a",)),
    "missing among the known": lambda: CategoricalFeature("x", 0, 0, ("a",), missing="a"),
    "a huge integer": lambda: CategoricalFeature("x", 0, 0, (2**63,)),
    "broken Unicode": lambda: CategoricalFeature("x", 0, 0, ("\ud800",)),
    "no columns": lambda: Tensor("t", 0),
    "a tensor that is not there": lambda: Layout((), (NumericFeature("x", 0, 0, E),)),
    "a column that is not there": lambda: Layout((Tensor("t", 1),), (NumericFeature("x", 0, 1, E),)),
    "a sixth summary": lambda: Layout((Tensor("t", 9, summary=True),), (NumericFeature("x", 0, 5, E),)),
    "a category in a summary": lambda: Layout((Tensor("t", 9, True),), (CategoricalFeature("x", 0, 0, ("a",)),)),
    "33 scores": lambda: Layout(classes=40, scores=tuple(NumericFeature("s", 0, i, E) for i in range(33))),
    "a score past the classes": lambda: Layout(classes=2, scores=(NumericFeature("s", 0, 2, E),)),
    "20 reliability edges": lambda: Layout(classes=2, reliability_edges=tuple(map(float, range(20)))),
    "reliability edges that fall": lambda: Layout(classes=2, reliability_edges=(0.5, 0.4)),
    "an input twice": lambda: Layout(schema_inputs=("x", "x")),
    "negative classes": lambda: Layout(classes=-1),
}


@pytest.mark.parametrize("what", BAD)
def test_a_layout_that_breaks_a_rule_is_refused(what):
    with pytest.raises(KernelError):
        BAD[what]()
