"""Frozen graphs: recorded inputs and outputs of small networks, and real networks against OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from glia.importers.tensorflow_ops.nodes import SCHEMA, Node, nodes_of
from glia.importers.tensorflow_ops.numbers import decode
from house import SHARED

FORMAT = "tf-graphdef"
FOLDER = SHARED / "interop" / FORMAT
WEIGHTS = SHARED / "weights"
FLOATS = {1, 2, 19}


def cases() -> list[Case]:
    """One for each folder of the format."""
    if not FOLDER.is_dir():
        return []
    folders = [folder for folder in sorted(FOLDER.iterdir()) if folder.is_dir()]
    found = [_recorded(folder) if folder.name.startswith("dl4j-") else _real(folder) for folder in folders]
    speech = WEIGHTS / "speech-kws-ds-cnn-tf"
    if speech.is_dir():
        found += [_against_openvino(speech, path) for path in sorted(speech.glob("*.pb"))]
    return found


def nodes_in(path: Path) -> dict[str, Node]:
    """The nodes of a frozen graph."""
    return nodes_of(SCHEMA.parse("GraphDef", path.read_bytes(), path.name), path.name)


def _table(folder: Path, stem: str) -> np.ndarray:
    """A recorded tensor."""
    shape = [int(size) for size in (folder / f"{stem}.shape").read_text().split()]
    values = [float(_TRUTHS.get(line, line)) for line in (folder / f"{stem}.csv").read_text().split()]
    return np.array(values).reshape([] if shape == [0] and len(values) == 1 else shape)  # a lone number's shape is 0


def _tensor(stem: str, nodes: Mapping[str, Node]) -> str:
    """A file's name to that of the tensor: `split.1` to `split:1`."""
    name = stem.replace("____", "/")
    if name in nodes:
        return name
    node, _, index = name.rpartition(".")
    return node if index == "0" else f"{node}:{index}"


def _recorded(folder: Path) -> Case:
    path = folder / "frozen_model.pb"
    nodes = nodes_in(path)
    outputs = {
        _tensor(file.name.removesuffix(".prediction.csv"), nodes): file.name.removesuffix(".csv")
        for file in sorted(folder.glob("*.prediction.csv"))
    }
    inputs = {
        file.name.removesuffix(".placeholder.csv").replace("____", "/"): _table(folder, file.name.removesuffix(".csv"))
        for file in sorted(folder.glob("*.placeholder.csv"))
    }
    options: dict[str, Any] = {"outputs": list(outputs)}
    if not inputs:  # all of it is constant: its variables become inputs, so that its operators run
        inputs = _variables(nodes)
        options["inputs"] = list(inputs)

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        types = {one.name: one.type.tensor_type.elem_type for one in graph.model.graph.input}
        fed = {name: inputs[name].astype(_NUMPY[kind]) for name, kind in types.items()}
        return [Probe(fed, {name: _table(folder, stem) for name, stem in outputs.items()})]

    tolerance = 1e-3 if "float16" in folder.name else 1e-4  # recorded in half precision, computed in single
    return Case(FORMAT, folder.name, {"graph": path}, "recorded", probes, options, tolerance)


_TRUTHS = {"true": "1", "false": "0"}
_NUMPY = {1: np.float32, 2: np.uint8, 6: np.int32, 7: np.int64, 9: np.bool_}


def _variables(nodes: Mapping[str, Node]) -> dict[str, np.ndarray]:
    """The variables that were frozen and are numbers, not sizes."""
    found = {}
    for node in nodes.values():
        source = nodes[node.inputs[0][0]] if node.op == "Identity" else None
        if source is not None and source.op == "Const" and node.name.endswith("/read"):
            value = decode(source.attributes["value"])
            if value.dtype.kind == "f" or value.ndim >= 3:
                found[node.name] = value
    return found


def _real(folder: Path) -> Case:
    return _against_openvino(folder, next(iter(folder.glob("*.pb"))))


def _against_openvino(folder: Path, path: Path) -> Case:
    probes, oracle = _openvino(path)
    options = {"input_size": {"X": [-1, 784]}} if folder.name == "tf2onnx-gru" else {}  # its file does not say
    return Case(FORMAT, f"{folder.name}/{path.name}", {"graph": path}, oracle, probes, options)


def _openvino(path: Path) -> tuple[Callable[[ImportedGraph], Sequence[Probe]], str]:
    """Random inputs, and what OpenVINO makes of the file for them."""
    import openvino

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        shapes = {
            one.name: [dim.dim_value or 1 for dim in one.type.tensor_type.shape.dim] for one in graph.model.graph.input
        }
        random = np.random.default_rng(7)
        inputs = {name: _plausible(name, random, shape) for name, shape in shapes.items()}
        settings = {"keep_prob": np.array(1, np.float32)} if "keep_prob" in nodes_in(path) else {}
        names = [one.name for one in graph.model.graph.output]
        return [Probe(inputs, run_openvino(path, {**inputs, **settings}, names))]

    return probes, f"OpenVINO {openvino.__version__.split('-')[0]}"


def _plausible(name: str, random: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Cepstral coefficients lie around 0; pictures between 0 and 1."""
    values = random.normal(0, 2, shape) if "Mfcc" in name else random.uniform(0, 1, shape)
    return values.astype(np.float32)


def run_openvino(path: Path, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
    """A frozen graph between these tensors in OpenVINO."""
    import openvino
    from openvino.frontend import FrontEndManager

    front = FrontEndManager().load_by_framework("tf")
    model = front.load(str(path))
    full = [name if ":" in name else f"{name}:0" for name in inputs]
    model.override_all_inputs([model.get_place_by_tensor_name(name) for name in full])
    model.override_all_outputs(
        [model.get_place_by_tensor_name(name if ":" in name else f"{name}:0") for name in outputs]
    )
    for name, value in zip(full, inputs.values(), strict=True):
        place = model.get_place_by_tensor_name(name)
        model.set_partial_shape(place, openvino.PartialShape(list(value.shape)))
        model.set_element_type(place, openvino.Type(value.dtype))
    compiled = openvino.Core().compile_model(front.convert(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(list(inputs.values()))
    return {name: found[index] for index, name in enumerate(outputs)}
