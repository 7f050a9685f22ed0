"""ONNX Runtime and nothing else: runs of one row in a loop, as many as each line of standard input says.

python -m benchmarks.load.bare_loop MODEL    answers "ready", then each line with the seconds its runs took.
"""

from __future__ import annotations

import os
import sys
import time

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from benchmarks import model


def main(path: str) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {model.INPUT: model.rows(1)}
    session.run(None, feeds)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            session.run(None, feeds)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
