"""Published TFLite networks, against what LiteRT gave for seeded inputs; those of long outputs against OpenVINO."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from glia.importers.tflite_ops.model import Tensor, read_model
from glia.importers.tflite_ops.network import clean
from house import SHARED
from importers.tflite_probes import pictured, published

FIXTURES = Path(__file__).parent.parent / "importers" / "fixtures" / "tflite"
LITERT = "LiteRT 2.3, recorded"
QUANTISED, STEPS = ("quant", "int8", "kws_ref_model"), 0.02
"""Of quantised networks a few steps of 1/256 may differ where a processor rounds ties otherwise.

One has weights of 8 bits and data in floats: LiteRT rounds the data as well while it runs, the import does not."""

LONG = (
    "aizoo-face-mask--face_mask_detection",
    "face-detection-blazeface-short-range--face_detection_short_range",
)
"""Of whose outputs LiteRT's record holds a part only."""


def real(numbers: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The real numbers that a quantised tensor's stand for."""
    q = tensor.quantised
    return np.asarray(numbers) if q is None else (numbers.astype(np.float32) - np.float32(q.zero[0])) * q.scale[0]


def probes_of(
    data: bytes, name: str, recorded: dict[str, np.ndarray], make: Callable[..., list[np.ndarray]]
) -> list[tuple[dict[str, np.ndarray], list[tuple[Tensor, np.ndarray]]]]:
    """Inputs by name, and each output with what was recorded of it."""
    graph = read_model(data, name).graph
    assert recorded["sha256"].tobytes() == hashlib.sha256(data).digest(), f"{name} changed since it was recorded"
    found = []
    for probe in range(max(int(key.split(":")[0]) for key in recorded if ":" in key) + 1):
        ins = [graph.tensors[index] for index in graph.inputs]
        values = make([(tensor.shape, tensor.kind) for tensor in ins], name, probe)
        feed = {clean(tensor.name): real(value, tensor) for tensor, value in zip(ins, values, strict=True)}
        outs = [graph.tensors[index] for index in graph.outputs]
        found.append((feed, [(tensor, recorded[f"{probe}:{place}"]) for place, tensor in enumerate(outs)]))
    return found


def thinned(output: np.ndarray, count: int) -> np.ndarray:
    """As many numbers of an output as were recorded."""
    flat = np.ravel(output)
    return flat[:: -(-flat.size // count)]


def _probes(name: str, path: Path) -> Callable[[ImportedGraph], Sequence[Probe]]:
    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        recorded = dict(np.load(FIXTURES / f"{name}.npz"))
        return [
            Probe(feed, {clean(tensor.name): real(numbers, tensor).reshape(tensor.shape) for tensor, numbers in outs})
            for feed, outs in probes_of(path.read_bytes(), name, recorded, pictured)
        ]

    return probes


def _openvino(path: Path) -> Callable[[ImportedGraph], Sequence[Probe]]:
    """What OpenVINO, which reads the format as well, gives for a picture."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        import openvino

        model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        (tensor,) = model.inputs
        found = []
        for number in range(2):
            (value,) = pictured([(tuple(tensor.shape), "float32")], path.stem, number)
            results = model(value)
            outputs = {clean(port.any_name): results[port] for port in model.outputs}
            found.append(Probe({clean(tensor.any_name): value}, outputs))
        return found

    return probes


def cases() -> list[Case]:
    """All of them."""
    found = []
    for name, path in published(SHARED):
        if name in LONG:
            found.append(Case("tflite", name, {"model": path}, "OpenVINO", _openvino(path)))
            continue
        tolerance = STEPS if any(word in path.stem for word in QUANTISED) else 1e-4
        found.append(Case("tflite", name, {"model": path}, LITERT, _probes(name, path), tolerance=tolerance))
    return found
