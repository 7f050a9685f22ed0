"""What every target shares: a private directory, what may come out of code that is given anything, and libFuzzer.

Usage of a target: ``TARGET_fuzz.py SCRATCH [libFuzzer's arguments]``; its seeds are written to SCRATCH first.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import atheris
from atheris.import_hook import AtherisSourceFileLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

for _place in ("support", "unit/bundle", "unit/audit"):  # where tests keep what makes bundles and logs
    sys.path.insert(0, str(Path(__file__).parents[2] / _place))
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class _Instrumenting(MetaPathFinder):
    """Gives Kedge's modules a loader that reports coverage, however they were installed.

    `atheris.instrument_imports` does nothing for modules of an editable install, whose loader is wrapped.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] != "kedge":
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next((spec for finder in others if (spec := finder.find_spec(name, path, target)) is not None), None)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = AtherisSourceFileLoader(name, spec.origin, trace_dataflow=False)
        return spec


sys.meta_path.insert(0, _Instrumenting())

from kedge.errors import MESSAGE_CHARS, KedgeError  # noqa: E402 - instrumented

_CHANGES: Final = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.chmod": (0,),
    "os.truncate": (0,),
}
"""Audit events of calls that change the file system, and which of their arguments are paths that change."""
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def room() -> Path:
    """A private directory, which is the current one: once `main` fuzzes, nothing may be written outside."""
    directory = Path(tempfile.mkdtemp(prefix="kedge-fuzz-")).resolve()
    os.chdir(directory)
    return directory


class _Guard:
    """Ends the process where a change is asked for outside the directory. It is the current one."""

    def __init__(self, directory: Path) -> None:
        self._directory = os.path.join(directory, "")  # noqa: PTH118 - text, for a prefix

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & _WRITING):
                return
            paths = [path]
        elif event in _CHANGES:
            paths = [arguments[index] for index in _CHANGES[event]]
        else:
            return
        for path in paths:
            if isinstance(path, int) or os.fsdecode(path) == os.devnull:
                continue
            folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - as the kernel is asked
            if not os.path.join(os.path.realpath(folder), name).startswith(self._directory):  # noqa: PTH118
                sys.stderr.write(f"{event} outside of {self._directory}: {path!r}\n")
                sys.stderr.flush()
                os.abort()


def allowed(one: Callable[[bytes], object], data: bytes) -> None:
    """Let a target take bytes in: it may succeed, or raise an error of Kedge's whose message is one printable line."""
    try:
        one(data)
    except KedgeError as error:
        text = str(error)
        if not text.isprintable() or not 0 < len(text) <= MESSAGE_CHARS:
            raise AssertionError(f"the message of {type(error).__name__} is no line for a person") from error


def _absolute(argument: str) -> str:
    """libFuzzer's argument, as it is understood in another directory."""
    name, equals, value = argument.rpartition("=")
    if name in {"", "-artifact_prefix"} and (equals or not argument.startswith("-")):
        return f"{name}{equals}{os.path.abspath(value)}"  # noqa: PTH100 - a prefix is no path
    return argument


ARGUMENTS: Final = [sys.argv[0], *map(_absolute, sys.argv[1:])]


def main(one: Callable[[bytes], object], seeds: Iterable[bytes]) -> None:
    """Fuzz `one` from these seeds; see the module."""
    scratch = Path(ARGUMENTS[1])
    for number, seed in enumerate(seeds):
        (scratch / f"seed-{number}").write_bytes(seed)
    sys.addaudithook(_Guard(Path.cwd()))
    logging.basicConfig(level=logging.ERROR)
    atheris.Setup(ARGUMENTS, lambda data: allowed(one, data))
    atheris.Fuzz()
