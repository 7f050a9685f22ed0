"""ModelInfer between messages and arrays, as one writes it by hand: raw contents in, raw contents out."""

from __future__ import annotations

import numpy as np
from onnx_rows import DATATYPES, Model
from tritonclient.grpc import service_pb2 as pb


def infer(model: Model, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """Run the model on the request's one input."""
    x = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(request.inputs[0].shape)
    response = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    for name, value in zip(model.outputs, model.run(x), strict=True):
        response.outputs.add(name=name, datatype=DATATYPES[value.dtype.name], shape=value.shape)
        response.raw_output_contents.append(value.tobytes())
    return response
