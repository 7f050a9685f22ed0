"""The one choice of kernel. Absence is made real: a child interpreter in which the module cannot be found."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from kedge.errors import KernelError
from kedge.kernel.select import available, select

SOURCE = Path(importlib.util.find_spec("kedge").origin).parents[1]
HIDE = """
import sys
sys.path.insert(0, {source!r})
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {names!r} else real(name, package)
sys.meta_path.insert(0, Hidden())
from kedge.kernel.select import select, available
from kedge.errors import KernelError
try:
    kernel = select({asked!r})
    print(kernel.name, *available())
except KernelError as error:
    print("KernelError", error)
"""


def without(names, asked):
    code = HIDE.format(source=str(SOURCE), names=names, asked=asked)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_auto_takes_the_best_there_is():
    found = available()
    assert found[-1] == "reference"
    assert select("auto").name == found[0] != "reference"


@pytest.mark.parametrize("name", available())
def test_a_kernel_asked_for_by_name_is_that_kernel(name):
    kernel = select(name)
    assert kernel.name == name
    assert kernel.isa


def test_without_the_extension_auto_takes_numba():
    if "numba" not in available():
        pytest.skip("numba is not installed here")
    assert without(["kedge._kernel"], "auto") == "numba numba reference"


def test_a_named_kernel_that_is_missing_is_an_error_and_never_replaced():
    assert without(["kedge._kernel"], "native").startswith("KernelError kernel 'native' was asked for")
    assert "pip install 'kedge[numba]'" in without(["numba"], "numba")


def test_with_no_fast_kernel_auto_says_what_to_install():
    said = without(["kedge._kernel", "numba"], "auto")
    assert said.startswith("KernelError no fast kernel")
    assert "pip install 'kedge[numba]'" in said
    assert without(["kedge._kernel", "numba"], "reference") == "reference reference"


def test_an_unknown_name_is_refused():
    with pytest.raises(KernelError, match="no kernel is called 'cuda'"):
        select("cuda")


def test_the_instruction_set_can_be_forced_and_only_to_one_that_exists(monkeypatch):
    if "native" not in available():
        pytest.skip("kedge._kernel is not built here")
    from kedge import _kernel

    for isa in _kernel.isas():
        monkeypatch.setenv("KEDGE_KERNEL_ISA", isa)
        assert select("native").isa == isa
    monkeypatch.setenv("KEDGE_KERNEL_ISA", "mmx")
    with pytest.raises(KernelError, match="cannot count with 'mmx'"):
        select("native")
