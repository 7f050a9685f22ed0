"""A wheel without the extensions has every file of the package, and needs no compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    without = ["-C", "cmake.define.KEDGE_KERNEL=OFF", "-C", f"build-dir={tmp_path / 'build'}"]
    no_compiler = {**os.environ, "CC": str(tmp_path / "none"), "CXX": str(tmp_path / "none")}
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, *without, str(ROOT)], check=True, env=no_compiler)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("kedge/")}
    files = (path for path in (ROOT / "src/kedge").rglob("*") if path.is_file())
    kept = (path for path in files if path.suffix != ".so" and path.parent.name != "__pycache__")
    tree = {path.relative_to(ROOT / "src").as_posix() for path in kept}
    assert packed == tree
