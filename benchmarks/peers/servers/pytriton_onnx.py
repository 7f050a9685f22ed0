"""Triton's front end from the nvidia-pytriton wheel, before a Python callable that runs ONNX Runtime.

python pytriton_onnx.py MODEL    prints its port, serves until its standard input ends.

The wheel has tritonserver and its Python backend, which hands batches to this process. It has no ONNX backend.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import sysconfig

import numpy as np
from onnx_rows import INPUT, Model
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MAX_BATCH = 64
FEATURES = 32


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(path: str) -> None:
    # The end of standard input ends this program; a SIGTERM in between would leave tritonserver behind.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # The backend's stub must find the libpython of this interpreter, not whichever the system has.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    # tritonserver writes to standard output, which is for the port.
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    model = Model(path)

    @batch
    def infer(x: np.ndarray) -> list[np.ndarray]:
        label, probabilities = model.run(x)
        return [label[:, None], probabilities]

    port = free_port()
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=port,
        http_address="127.0.0.1",
        http_port=free_port(),
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="bench",
            infer_func=infer,
            inputs=[Tensor(name=INPUT, dtype=np.float32, shape=(FEATURES,))],
            outputs=[
                Tensor(name="label", dtype=np.int64, shape=(1,)),
                Tensor(name="probabilities", dtype=np.float32, shape=(2,)),
            ],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.run()
        print(port, file=ready, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
