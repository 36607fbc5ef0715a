"""The systems that are measured: how each is started, asked, and understood."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
VENVS = Path(__file__).parent / ".venvs"
CORES = os.cpu_count() or 1

Answer = list[dict[str, Any]]


@dataclass(frozen=True)
class Work:
    """What a system is started for."""

    network: str
    home: Path
    spec: Path
    folder: Path
    """For what the system writes."""


@dataclass(frozen=True)
class System:
    """One system; without a `venv` it is Glia, in the environment that runs this."""

    name: str
    words: str
    command: Callable[[int, Work], list[str]]
    """By port."""
    path: str = "/classify"
    form: str = "raw"
    venv: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    documented: bool = False
    """A peer as its documentation shows it."""
    answer: Callable[[Any], Answer] = lambda body: body

    @property
    def is_glia(self) -> bool:
        """Whether it is Glia, in any variant."""
        return not self.venv

    def environment(self, work: Work) -> dict[str, str]:
        """Of its processes: the caller's less Glia's settings, plus what it needs."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GLIA_")}
        if self.is_glia:
            return {**kept, "GLIA_HOME": str(work.home), **self.environ}
        found = {**kept, "PYTHONPATH": str(ROOT), "BENCH_SPEC": str(work.spec), **self.environ}
        return {**found, "PATH": f"{VENVS / self.venv / 'bin'}:{kept.get('PATH', '')}"}


def tool(venv: str, name: str) -> str:
    """A program of a virtual environment."""
    return str(VENVS / venv / "bin" / name)


def serve_glia(port: int, work: Work) -> list[str]:
    """`glia serve`."""
    return [sys.executable, "-m", "glia", "serve", "--port", str(port)]


def _uvicorn(app: str, *more: str) -> Callable[[int, Work], list[str]]:
    def command(port: int, work: Work) -> list[str]:
        found = [tool("fastapi", "uvicorn"), f"benchmarks.peers.{app}:app", "--host", "127.0.0.1", "--port", str(port)]
        return [*found, *more]

    return command


def _bentoml(service: str) -> Callable[[int, Work], list[str]]:
    def command(port: int, work: Work) -> list[str]:
        where = f"benchmarks.peers.bentoml_app:{service}"
        return [tool("bentoml", "bentoml"), "serve", where, "--host", "127.0.0.1", "--port", str(port)]

    return command


def _module(venv: str, app: str) -> Callable[[int, Work], list[str]]:
    return lambda port, work: [tool(venv, "python"), "-m", f"benchmarks.peers.{app}", str(port)]


def _mlserver(port: int, work: Work) -> list[str]:
    folder = work.folder / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    server = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": CORES,
    }
    (folder / "settings.json").write_text(json.dumps(server))
    model = {"name": "classifier", "implementation": "benchmarks.peers.mlserver_app.Classifier"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [tool("mlserver", "mlserver"), "start", str(folder)]


GLIA = System("glia", "Glia, tuned for this machine", serve_glia, "/v1/services/{network}")
FP32 = System(
    "glia-fp32",
    "Glia held to fp32",
    serve_glia,
    "/v1/services/{network}",
    environ={"GLIA_PRECISION": "fp32"},
)
TWIN = System("twin", "FastAPI, same decode and runtime, by hand", _uvicorn("twin_app"), venv="fastapi")
TWIN_FP32 = System("twin-fp32", "the twin in fp32", _uvicorn("twin_app"), venv="fastapi")
FASTAPI = System("fastapi", "FastAPI", _uvicorn("fastapi_app"), form="file", venv="fastapi", documented=True)

SYSTEMS: tuple[System, ...] = (
    GLIA,
    FP32,
    TWIN,
    TWIN_FP32,
    FASTAPI,
    System(
        "fastapi-workers",
        f"FastAPI, {CORES} workers",
        _uvicorn("fastapi_app", "--workers", str(CORES)),
        form="file",
        venv="fastapi",
        documented=True,
    ),
    System(
        "litserve",
        f"LitServe, {CORES} workers",
        _module("litserve", "litserve_app"),
        "/predict",
        "base64",
        "litserve",
        documented=True,
        answer=lambda body: body["output"],
    ),
    System(
        "litserve-batch",
        f"LitServe, {CORES} workers, batches of 10",
        _module("litserve", "litserve_app"),
        "/predict",
        "base64",
        "litserve",
        {"BENCH_BATCH": "1"},
        documented=True,
        answer=lambda body: body["output"],
    ),
    System("bentoml", f"BentoML, {CORES} workers", _bentoml("Single"), venv="bentoml", documented=True),
    System(
        "bentoml-batch",
        f"BentoML, {CORES} workers, adaptive batches",
        _bentoml("Batch"),
        form="images",
        venv="bentoml",
        documented=True,
        answer=lambda body: body[0],
    ),
    System(
        "mlserver",
        f"MLServer, {CORES} workers",
        _mlserver,
        "/v2/models/classifier/infer",
        "inference",
        "mlserver",
        documented=True,
        answer=lambda body: json.loads(body["outputs"][0]["data"][0]),
    ),
    System("ray", f"Ray Serve, {CORES} replicas", _module("ray", "ray_app"), "/", venv="ray", documented=True),
)


def payload(form: str, data: bytes) -> tuple[str, bytes]:
    """Content type and body of one JPEG in a system's form."""
    if form == "raw":
        return "image/jpeg", data
    if form in ("file", "images"):
        return form_of([data], form)
    text = base64.b64encode(data).decode()
    if form == "base64":
        return "application/json", json.dumps({"image": text}).encode()
    tensor = {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [text],
    }
    return "application/json", json.dumps({"inputs": [tensor]}).encode()


def form_of(pictures: list[bytes], name: str) -> tuple[str, bytes]:
    """A multipart form with one part a picture."""
    mark = b"=====picture====="
    parts = []
    for number, data in enumerate(pictures):
        head = f'Content-Disposition: form-data; name="{name}"; filename="{number}.jpg"\r\nContent-Type: image/jpeg'
        parts += [b"--", mark, b"\r\n", head.encode(), b"\r\n\r\n", data, b"\r\n"]
    return f"multipart/form-data; boundary={mark.decode()}", b"".join([*parts, b"--", mark, b"--\r\n"])
