"""`kedge doctor` on this machine, and on one where a part is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_a_sound_installation_is_healthy_and_says_what_it_would_use(kedge: Any) -> None:
    done = kedge("doctor", "--json", "--no-ports")
    assert done.status == 0
    report = done.json
    assert report["healthy"]
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["inference"]["state"] == "ok"
    assert checks["counting"]["found"] == "3 rows counted"
    assert checks["kernel auto"]["found"].startswith("takes ")
    assert checks["plane auto"]["found"].startswith("takes ")
    assert checks["onnxruntime"]["found"] in checks["onnxruntime library"]["found"]
    assert {"kernel reference", "cpu", "grpcio", "numpy"} <= set(checks)


def test_text_ends_with_the_answer(kedge: Any) -> None:
    done = kedge("doctor", "--no-ports")
    assert done.status == 0
    assert done.out.rstrip().endswith("a server would run here")


def test_a_broken_onnxruntime_is_found_and_the_answer_is_no(kedge: Any, tmp_path: Path) -> None:
    broken = tmp_path / "onnxruntime"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libfoo.so.1: cannot open shared object file')\n")
    root = Path(__file__).resolve().parents[2] / "src"
    done = kedge("doctor", "--json", "--no-ports", PYTHONPATH=f"{tmp_path}:{root}")
    assert done.status == 1
    checks = {check["name"]: check for check in done.json["checks"]}
    assert checks["inference"]["state"] == "failed"
    assert "libfoo.so.1" in checks["inference"]["found"]
