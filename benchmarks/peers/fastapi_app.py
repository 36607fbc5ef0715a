"""FastAPI with ONNX Runtime as FastAPI's documentation shows it.

Source: FastAPI, Tutorial, "Request Files" (`UploadFile`, and its `.file` in a `def` function); "Concurrency and
async / await" (`def` for libraries that block: run in a thread pool); Deployment, "Server Workers" (`--workers`).
ONNX Runtime, Python API: `InferenceSession(path)` with its defaults.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, UploadFile

from benchmarks.peers import plain

app = FastAPI()
network = plain.Network()


@app.post("/classify")
def classify(file: UploadFile) -> list[dict[str, Any]]:
    """A form with one file to its five best labels."""
    return network.answers([plain.opened(file.file.read())])[0]
