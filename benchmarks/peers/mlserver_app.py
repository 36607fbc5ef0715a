"""MLServer with a runtime of one's own, as its documentation shows it.

Source: MLServer, User Guide, "Custom Inference Runtimes" (MLModel: load, predict); "Content Types (and Codecs)"
(base64: bytes in JSON); "Parallel Inference" (parallel_workers). Requests follow the Open Inference Protocol.
"""

from __future__ import annotations

import json

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers import plain


class Classifier(MLModel):
    """One picture a call."""

    async def load(self) -> bool:
        """Load the graph, once a worker."""
        self.network = plain.Network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The five best labels, as a string of JSON."""
        (data,) = self.decode(payload.inputs[0], default_codec=Base64Codec)
        answer = self.network.answers([plain.opened(data)])[0]
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("answer", [json.dumps(answer)])]
        )
