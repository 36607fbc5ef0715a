"""Networks of TensorFlow.js in Keras' layers, against a slow reader in numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from house import SHARED
from importers.keras_numpy import Model


def folder(place: str, name: str) -> dict[str, Path]:
    """All files of an entry but the note where it comes from."""
    return {path.name: path for path in sorted((SHARED / place / name).glob("*")) if path.name != "source.json"}


def held(manifest: list, files: dict[str, Path]) -> dict[str, list[np.ndarray]]:
    """Arrays by layer."""
    found: dict[str, list[np.ndarray]] = {}
    for group in manifest:
        raw = b"".join(files[Path(path).name].read_bytes() for path in group["paths"])
        for weight in group["weights"]:
            packed = weight.get("quantization")
            kind = np.dtype(packed["dtype"] if packed else weight["dtype"])
            size = int(np.prod(weight["shape"])) * kind.itemsize
            array, raw = np.frombuffer(raw[:size], kind).reshape(weight["shape"]), raw[size:]
            array = array * packed["scale"] + packed["min"] if packed else array
            found.setdefault(weight["name"].split("/")[0], []).append(array)
    return found


def second(files: dict[str, Path]):
    """Probes out of the slow reader."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        (path,) = (path for path in files.values() if path.suffix == ".json")
        whole = json.loads(path.read_text())
        topology = whole["modelTopology"].get("model_config", whole["modelTopology"])
        arrays = held(whole["weightsManifest"], files)
        layers = topology["config"] if isinstance(topology["config"], list) else topology["config"]["layers"]
        ordered = [arrays[layer["config"]["name"]] for layer in layers if layer["config"]["name"] in arrays]
        (given,) = graph.model.graph.input
        shape = [size.dim_value or 2 for size in given.type.tensor_type.shape.dim]
        rng = np.random.default_rng(0)
        words = any(layer.kind == "Embedding" for layer in graph.layers)
        x = (rng.integers(0, 100, shape) if words else rng.uniform(0, 1, shape)).astype(np.float32)
        (output,) = Model(topology, ordered).forward(x)
        return [Probe({given.name: x}, {graph.model.graph.output[0].name: output.astype(np.float32)})]

    return probes


def cases() -> list[Case]:
    """Every network of the format."""
    if not (SHARED / "interop" / "tfjs-layers").exists():
        return []
    places = [
        ("interop/tfjs-layers", "ml5-doodlenet"),
        ("interop/tfjs-layers", "tfjs-integration"),
        ("interop/tfjs-layers", "tfjs-rn-bundle"),
        ("weights", "imagenet-darknet-tiny-tfjs"),
        ("weights", "nsfw-mobilenet-v2-tfjs"),
    ]
    found = [(name, folder(place, name)) for place, name in places]
    return [Case("tfjs-layers", name, files, "numpy", second(files)) for name, files in found]
