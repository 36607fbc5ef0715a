"""Graph models of TensorFlow.js: written anew as frozen graphs, without what the converter fused, for OpenVINO."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreign.case import Case, Probe
from foreign.tf_graphdef import run_openvino
from glia.importers.importer import ImportedGraph
from glia.importers.tensorflow_ops.nodes import DATA_TYPES, SCHEMA
from house import SHARED

FORMAT = "tfjs-graph"
_STORED = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "bool": "|u1", "uint8": "|u1"}


def cases() -> list[Case]:
    """One for each model.json."""
    folders = [*(SHARED / "interop" / FORMAT).glob("*"), SHARED / "weights" / "detect-centernet-mobilenetv3-tfjs"]
    found = []
    for folder in sorted(folder for folder in folders if folder.is_dir()):
        for path in sorted(folder.glob("*.json")):
            if path.name != "source.json":
                found.append(_case(folder, path))
    return found


def _case(folder: Path, path: Path) -> Case:
    import openvino

    model = json.loads(path.read_text())
    shards = [folder / shard for group in model["weightsManifest"] for shard in group["paths"]]

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        random = np.random.default_rng(3)
        inputs = {}
        for one in graph.model.graph.input:
            shape = [dim.dim_value or 1 for dim in one.type.tensor_type.shape.dim]
            shape = [2, *shape[1:]] if model["generatedBy"].startswith("2.") else shape  # written for two rows
            inputs[one.name] = random.uniform(0, 255 if "centernet" in path.name else 1, shape).astype(np.float32)
        with tempfile.TemporaryDirectory() as place:
            frozen = Path(place) / "frozen.pb"
            frozen.write_bytes(_frozen(model, weights(model, folder)))
            return [Probe(inputs, run_openvino(frozen, inputs, [one.name for one in graph.model.graph.output]))]

    files = {"model": path, **{f"shard{index}": shard for index, shard in enumerate(shards)}}
    oracle = f"OpenVINO {openvino.__version__.split('-')[0]}"
    return Case(FORMAT, f"{folder.name}/{path.name}", files, oracle, probes)


def weights(model: Mapping[str, Any], folder: Path) -> dict[str, np.ndarray]:
    """The constants, read plainly."""
    found = {}
    for group in model["weightsManifest"]:
        data, at = b"".join((folder / shard).read_bytes() for shard in group["paths"]), 0
        for one in group["weights"]:
            quantised = one.get("quantization", {})
            dtype = np.dtype(_STORED[quantised.get("dtype", one["dtype"])])
            value = np.frombuffer(data, dtype, math.prod(one["shape"]), at).reshape(one["shape"])
            at += value.nbytes
            if quantised:
                value = (value.astype(np.float32) * quantised.get("scale", 1) + quantised.get("min", 0)).astype("<f4")
            found[one["name"]] = value
    return found


def _frozen(model: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a frozen graph of plain operators."""
    nodes = []
    for node in model["modelTopology"]["node"]:
        if node["op"] in ("_FusedConv2D", "FusedDepthwiseConv2dNative", "_FusedMatMul"):
            nodes += _unfused(node)
        elif node["op"] == "Relu6":
            nodes += _capped(node)
        else:
            nodes.append(_written(node["name"], node["op"], node.get("input", []), node.get("attr", {}), values))
    return bytes(SCHEMA.new("GraphDef", node=nodes).SerializeToString())


def _capped(node: Mapping[str, Any]) -> list[Any]:
    """Relu6 as 6 - relu(6 - relu(x)): OpenVINO makes a hard sigmoid of relu6(x + 3) times what is nearly 1/6."""
    name, kind = node["name"], {"T": {"type": "DT_FLOAT"}}
    steps = [("Relu", node["input"]), ("Sub", [f"{name}/6", f"{name}/0"]), ("Relu", [f"{name}/1"])]
    found = [_written(f"{name}/6", "Const", [], {}, {f"{name}/6": np.array(6, np.float32)})]
    found += [_written(f"{name}/{place}", op, read, kind, {}) for place, (op, read) in enumerate(steps)]
    return [*found, _written(name, "Sub", [f"{name}/6", f"{name}/2"], kind, {})]


def _unfused(node: Mapping[str, Any]) -> list[Any]:
    import base64

    plain = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative", "_FusedMatMul": "MatMul"}
    attributes = {key: value for key, value in node["attr"].items() if key not in ("fused_ops", "num_args", "epsilon")}
    steps = [base64.b64decode(text).decode() for text in node["attr"]["fused_ops"]["list"]["s"]]
    inputs = [name for name in node["input"] if not name.startswith("^")]
    names = [f"{node['name']}/{step}" for step in range(len(steps))] + [node["name"]]
    found = [_written(names[0], plain[node["op"]], inputs[:2], attributes, {})]
    kind = {"T": {"type": "DT_FLOAT"}}
    more = iter(inputs[2:])
    for place, step in enumerate(steps):
        read = [names[place], next(more)] if step == "BiasAdd" else [names[place]]
        found.append(_written(names[place + 1], step, read, kind, {}))
    return found


def _written(
    name: str, op: str, inputs: Sequence[str], attributes: Mapping[str, Any], values: Mapping[str, np.ndarray]
) -> Any:
    if op != "Const":
        attr = [SCHEMA.new("NodeAttr", key=key, value=_attribute(value)) for key, value in attributes.items() if value]
    else:
        value = values[name]
        kind = {"f": 1, "i": 3, "u": 10}[value.dtype.kind]
        shape = SCHEMA.new("TensorShapeProto", dim=[SCHEMA.new("Dim", size=size) for size in value.shape])
        tensor = SCHEMA.new("TensorProto", dtype=kind, tensor_shape=shape, tensor_content=value.tobytes())
        attr = [
            SCHEMA.new("NodeAttr", key="value", value=SCHEMA.new("AttrValue", tensor=tensor)),
            SCHEMA.new("NodeAttr", key="dtype", value=SCHEMA.new("AttrValue", type=kind)),
        ]
    return SCHEMA.new("NodeDef", name=name, op=op, input=list(inputs), attr=attr)


def _attribute(value: Mapping[str, Any]) -> Any:
    import base64

    ((kind, held),) = value.items()
    if kind == "list":
        listed = {"i": [int(one) for one in held["i"]]} if "i" in held else {}
        return SCHEMA.new("AttrValue", list=SCHEMA.new("ListValue", **listed))
    if kind == "shape":
        dims = [SCHEMA.new("Dim", size=int(dim["size"])) for dim in held.get("dim", [])]
        return SCHEMA.new("AttrValue", shape=SCHEMA.new("TensorShapeProto", dim=dims))
    plain = {"s": lambda: base64.b64decode(held), "i": lambda: int(held), "type": lambda: DATA_TYPES[held[3:]]}
    return SCHEMA.new("AttrValue", **{kind: plain.get(kind, lambda: held)()})
