"""Stock clients in Python and JavaScript get what onnxruntime gives, on 10,000 real flights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from kedge_testing import clients

if TYPE_CHECKING:
    from kedge_testing.serving import Flights


# One row a request, 10,000 times, takes a client in Python 10 s: every tenth flight decides whether a change lands.
@pytest.mark.parametrize(
    ("batch", "each"),
    [
        pytest.param(256, 1, id="batched"),
        pytest.param(1, 10, id="single"),
        pytest.param(1, 1, id="single-all", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("form", ["raw", "typed"])
@pytest.mark.parametrize("kind", clients.KINDS)
def test_every_client_gets_exactly_the_local_answers(
    flights: Flights, kind: str, form: str, batch: int, each: int
) -> None:
    inputs = {name: (datatype, rows[::each]) for name, (datatype, rows) in flights.inputs.items()}
    types = {spec.name: spec.dtype for spec in flights.bundle.manifest.outputs}
    got = clients.ask(kind, flights.served.address, flights.bundle.name, inputs, types, form=form, batch=batch)
    assert got
    for name, whole in flights.expected.items():
        expected = whole[::each]
        answer = got[name].reshape(expected.shape)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6)
            assert (answer.argmax(axis=1) == expected.argmax(axis=1)).all()
        else:
            assert (answer == expected).all()
