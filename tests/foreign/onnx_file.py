"""Published ONNX files, against ONNX Runtime on the original; the oldest, which nothing reads, by hand."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from house import SHARED

SIZES = {"height": 64, "width": 96, "h": 64, "w": 96}
INTEGERS = {"sr": np.array(16000)}
OLDEST = ("embedding_only", "sm_cnn")


def _feed(original: ort.InferenceSession, number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    found = {}
    for value in original.get_inputs():
        shape = [size if isinstance(size, int) else SIZES.get(size, 1) for size in value.shape]
        if value.name == "input" and value.shape == [None, None]:
            shape = [1, 512]  # a piece of sound of the network that hears speech
        found[value.name] = INTEGERS.get(value.name, rng.random(shape).astype(np.float32))
    return found


def _runtime(path: Path) -> Callable[[ImportedGraph], Sequence[Probe]]:
    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        original = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        halves = {value.name for value in original.get_inputs() if "16" in value.type}
        found = []
        for number in range(1 if path.stem == "mosaic" else 2):
            feed = _feed(original, number)
            given = {name: value.astype(np.float16) if name in halves else value for name, value in feed.items()}
            results = original.run(None, given)
            names = [value.name for value in original.get_outputs()]
            outputs = {name: np.asarray(value, np.float32) for name, value in zip(names, results, strict=True)}
            found.append(Probe(feed, outputs))
        return found

    return probes


def _oldest(path: Path) -> Callable[[ImportedGraph], Sequence[Probe]]:
    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        model = onnx.load(path)
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        rng = np.random.default_rng(0)
        if path.stem == "embedding_only":
            places = np.array([3, 99, 0])
            return [Probe({"1": places}, {"3": weights["2"][places]})]
        import torch
        import torch.nn.functional as F  # noqa: N812

        w = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        shapes = {"1": (1, 50, 20), "2": (1, 50, 19), "3": (1, 4)}
        x = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        parts = [
            torch.tanh(F.conv1d(torch.from_numpy(x[name]), w[kernel], w[bias], padding=4)).amax(2)
            for name, kernel, bias in (("1", "4", "5"), ("2", "6", "7"))
        ]
        hidden = torch.tanh(torch.cat([*parts, torch.from_numpy(x["3"])], 1) @ w["8"].T + w["9"])
        return [Probe(x, {"34": F.log_softmax(hidden @ w["10"].T + w["11"], 1).numpy()})]

    return probes


def cases() -> list[Case]:
    """All of them."""
    found = []
    for folder in ("interop/onnx", "weights"):
        for path in sorted((SHARED / folder).glob("*/*.onnx")):
            name = f"{path.parent.name}/{path.stem}"
            # 16-bit floats round at every step of the original, and at none of the import.
            tolerance = 2e-2 if "fp16" in path.stem else 1e-4
            if path.stem not in OLDEST:
                found.append(Case("onnx", name, {"model": path}, "ONNX Runtime", _runtime(path), tolerance=tolerance))
            elif path.stem == "sm_cnn" and importlib.util.find_spec("torch") is None:
                found.append(Case("onnx", name, {"model": path}, "none"))
            else:
                oracle = "numpy" if path.stem == "embedding_only" else "torch"
                found.append(Case("onnx", name, {"model": path}, oracle, _oldest(path)))
    return found
