"""LitServe as its documentation shows it; BENCH_BATCH in the environment turns batching on.

Source: LitServe, API reference, "LitAPI" (setup, decode_request, predict, encode_response) and "LitServer"
(workers_per_device); Features, "Batching" (max_batch_size, batch_timeout, `batch` and `unbatch` where the default
stacking does not fit). Requests are JSON, so pictures come as base64 text, as in its examples for images.
The figures for batching, 10 and 10 ms, are those of LitServe's own benchmark (tests/perf_test/bert/server.py).
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

import litserve
from PIL import Image

from benchmarks.peers import plain


class Classifier(litserve.LitAPI):
    """One picture a call."""

    def setup(self, device: str) -> None:
        """Load the graph, once a worker."""
        self.network = plain.Network()

    def decode_request(self, request) -> Image.Image:
        """Base64 to the picture."""
        return plain.opened(base64.b64decode(request["image"]))

    def predict(self, picture: Image.Image) -> plain.Answer:
        """The five best labels."""
        return self.network.answers([picture])[0]

    def encode_response(self, answer: plain.Answer) -> dict[str, Any]:
        """JSON."""
        return {"output": answer}


class BatchClassifier(Classifier):
    """Several pictures a call."""

    def batch(self, pictures: list[Image.Image]) -> list[Image.Image]:
        """Pictures of any size: they are resized in predict."""
        return pictures

    def predict(self, pictures: list[Image.Image]) -> list[plain.Answer]:
        """The five best labels of each."""
        return self.network.answers(pictures)

    def unbatch(self, answers: list[plain.Answer]) -> list[plain.Answer]:
        """One for each request."""
        return answers


if __name__ == "__main__":
    batching = bool(os.environ.get("BENCH_BATCH"))
    api = BatchClassifier(max_batch_size=10, batch_timeout=0.01) if batching else Classifier()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=os.cpu_count() or 1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
