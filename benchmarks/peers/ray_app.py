"""Ray Serve as its documentation shows it: one replica a core, the raw bytes as body.

Source: Ray, Serve, tutorial "Serve ML Models" (`async def __call__(self, request)`, `await request.body()`,
Image.open) and "Configure Ray Serve deployments" (num_replicas, ray_actor_options).
"""

from __future__ import annotations

import os
import sys

from ray import serve
from starlette.requests import Request

from benchmarks.peers import plain


@serve.deployment(num_replicas=os.cpu_count() or 1, ray_actor_options={"num_cpus": 1})
class Classifier:
    """One picture a call."""

    def __init__(self) -> None:
        """Load the graph, once a replica."""
        self.network = plain.Network()

    async def __call__(self, request: Request) -> plain.Answer:
        """The five best labels."""
        return self.network.answers([plain.opened(await request.body())])[0]


app = Classifier.bind()

if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(app, blocking=True)
