"""The fair twin: what a careful person writes by hand for one network in one afternoon, on FastAPI.

Scaled decode, and the runtime, precision, lanes and threads that Glia chose.
It lacks everything else that Glia does: see README.md.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request

from benchmarks.peers import fast, plain

app = FastAPI()
network = fast.Network(plain.spec()["lanes"], plain.spec()["threads"])
lanes = ThreadPoolExecutor(plain.spec()["lanes"])


def classify(data: bytes) -> plain.Answer:
    """One picture, in one thread."""
    return plain.top5(network.run(fast.planes(data)))


@app.post("/classify")
async def classify_route(request: Request) -> Any:
    """The raw bytes of a JPEG to its five best labels."""
    return await asyncio.get_running_loop().run_in_executor(lanes, classify, await request.body())
