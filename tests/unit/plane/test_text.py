"""Client text in errors."""

from kedge.plane.portable.session import safe_line
from kedge.plane.text import one_line, quoted


def test_names_are_quoted_cleaned_and_cut() -> None:
    assert quoted("x") == "'x'"
    assert quoted("a\nb\x00") == "'a?b?'"
    assert quoted("y" * 500) == "'" + "y" * 128 + "...'"


def test_messages_stay_on_one_line() -> None:
    assert one_line("a\r\nb") == "a  b"
    assert len(one_line("z" * 5000)) == 1024


def test_the_runtimes_words_lose_their_paths() -> None:
    said = "[ONNXRuntimeError] : 6 : /onnxruntime_src/core/gather.cc:42 at /home/user/model.onnx\nindices out of range"
    line = safe_line(RuntimeError(said))
    assert "/" not in line
    assert "indices out of range" in line
    assert "\n" not in line
