"""Every test of a sketch runs on every kernel."""

import importlib.util

import pytest

from kedge.kernel.select import select

NEEDS = {"native": "kedge._kernel", "numba": "numba"}


@pytest.fixture(params=["reference", "numba", "native"])
def kernel(request):
    module = NEEDS.get(request.param)
    if module is not None and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here")
    return select(request.param)
