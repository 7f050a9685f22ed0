"""Which data plane serves: chosen in one place, and never another than was asked for."""

from __future__ import annotations

import importlib.util

import pytest

from kedge.errors import PlaneError
from kedge.kernel.select import select as select_kernel
from kedge.plane import select


def test_auto_takes_native_only_with_the_native_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "available", lambda: ("native", "portable"))
    assert select.choose("auto", "native") == "native"
    assert select.choose("auto", "numba") == "portable"
    assert select.choose("portable", "native") == "portable"
    with pytest.raises(PlaneError, match="counts with the native kernel, not with 'numba'"):
        select.choose("native", "numba")


def test_without_the_extension_auto_is_portable_and_native_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "kedge._dataplane" else find(name, *rest)
    )
    assert select.available() == ("portable",)
    assert select.choose("auto", "native") == "portable"
    with pytest.raises(PlaneError, match="not in this build"):
        select.choose("native", "native")
    plane = select.select("auto", select_kernel("reference"))
    assert plane.name == "portable"
    plane.stop()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(PlaneError, match="choose one of auto, native, portable"):
        select.choose("fast", "native")
