"""MLServer's custom runtime for ONNX: what `implementation` of a model-settings.json names."""

from __future__ import annotations

from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec
from onnx_rows import Model


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        self._model = Model(self.settings.parameters.uri)
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        named = zip(self._model.outputs, self._model.run(x), strict=True)
        outputs = [NumpyCodec.encode_output(name, value) for name, value in named]
        return types.InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
