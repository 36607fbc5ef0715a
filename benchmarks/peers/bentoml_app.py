"""BentoML as its documentation shows it, without batching and with it.

Source: BentoML, "Define input and output types" (root input: `image: PIL.Image.Image, /` takes the raw bytes; lists of
images come as a form); "Parallelize requests handling" (CPU workloads: workers="cpu_count"); "Adaptive batching"
(batchable=True, max_batch_size=32, max_latency_ms=1000).
"""

from __future__ import annotations

from typing import Any

import bentoml
from PIL import Image

from benchmarks.peers import plain


@bentoml.service(workers="cpu_count")
class Single:
    """One picture a call."""

    def __init__(self) -> None:
        """Load the graph, once a worker."""
        self.network = plain.Network()

    @bentoml.api
    def classify(self, image: Image.Image, /) -> list[dict[str, Any]]:
        """The five best labels."""
        return self.network.answers([image.convert("RGB")])[0]


@bentoml.service(workers="cpu_count")
class Batch:
    """Several pictures a call."""

    def __init__(self) -> None:
        """Load the graph, once a worker."""
        self.network = plain.Network()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def classify(self, images: list[Image.Image]) -> list[list[dict[str, Any]]]:
        """The five best labels of each."""
        return self.network.answers([image.convert("RGB") for image in images])
