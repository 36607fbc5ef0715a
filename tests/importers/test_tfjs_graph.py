"""Graph models of TensorFlow.js: shards, quantised numbers, fused operators, real networks, damaged files."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreign.case import run_graph
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.sniff import importers
from glia.importers.tensorflow_ops.nodes import DATA_TYPES
from glia.importers.tfjs_graph import IMPORTER
from importers.mutate import mutations
from importers.record_tensorflow import FIXTURE
from importers.tensorflow_networks import networks, normal, positive
from importers.tensorflow_writer import Frozen

RECORDED = np.load(FIXTURE)
NETWORKS = dict(networks())
NAMES = {number: f"DT_{name}" for name, number in DATA_TYPES.items()}
STORED = {"f4": "float32", "i4": "int32", "b1": "bool"}
CHOSEN = [
    "two convolutions, a sum and a bias",
    "_FusedConv2D with BiasAdd and Relu6",
    "_FusedConv2D with a normalisation",
    "_FusedMatMul",
    "FusedBatchNorm",
    "Reshape by a computed shape",
    "a recurrent layer over an array of tensors",
    "a recurrent layer of TensorFlow 2",
]


def as_json(value: Any) -> dict[str, Any]:
    """An AttrValue in proto3's JSON."""
    if value.HasField("s"):
        return {"s": base64.b64encode(value.s).decode()}
    if value.HasField("i"):
        return {"i": str(value.i)}
    if value.HasField("func"):
        return {"func": {"name": value.func.name}}
    for kind in ("f", "b"):
        if value.HasField(kind):
            return {kind: getattr(value, kind)}
    if value.HasField("type"):
        return {"type": NAMES[value.type]}
    if value.HasField("shape"):
        return {"shape": {"dim": [{"size": str(dim.size)} for dim in value.shape.dim]}}
    if value.HasField("tensor"):
        return {"tensor": {"dtype": NAMES[value.tensor.dtype]}}
    if value.list.s:
        return {"list": {"s": [base64.b64encode(text).decode() for text in value.list.s]}}
    if value.list.type:
        return {"list": {"type": [NAMES[number] for number in value.list.type]}}
    return {"list": {"i": [str(number) for number in value.list.i]} if value.list.i else {}}


def node_as_json(node: Any) -> dict[str, Any]:
    attributes = {entry.key: as_json(entry.value) for entry in node.attr}
    return {"name": node.name, "op": node.op, "input": list(node.input), "attr": attributes}


def write(folder: Path, graph: Frozen, quantised: str = "", shards: int = 1, **more: Any) -> dict[str, Path]:
    """model.json and shards of a graph; `quantised`: the type that floats are stored in."""
    weights, data = [], b""
    for node in [*graph.nodes, *(node for one in graph.functions for node in one.node_def)]:
        for entry in node.attr:
            if node.op == "Const" and entry.key == "value":
                entries, raw = stored(node.name, entry.value.tensor, quantised)
                weights.append(entries)
                data += raw
    library = [
        {
            "signature": {
                "name": one.signature.name,
                "inputArg": [{"name": argument.name} for argument in one.signature.input_arg],
                "outputArg": [{"name": argument.name} for argument in one.signature.output_arg],
            },
            "nodeDef": [node_as_json(node) for node in one.node_def],
            "ret": {entry.key: entry.value for entry in one.ret},
        }
        for one in graph.functions
    ]
    topology = {"node": [node_as_json(node) for node in graph.nodes], "library": {"function": library}}
    paths = [f"group1-shard{index + 1}of{shards}.bin" for index in range(shards)]
    step = -(-len(data) // shards) or 1
    for index, path in enumerate(paths):
        (folder / path).write_bytes(data[index * step : (index + 1) * step])
    model = {
        "format": "graph-model",
        "modelTopology": topology,
        "weightsManifest": [{"paths": paths, "weights": weights}],
        **more,
    }
    (folder / "model.json").write_text(json.dumps(model))
    return {name: folder / name for name in ("model.json", *paths)}


def stored(name: str, tensor: Any, quantised: str) -> tuple[dict[str, Any], bytes]:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    kind = {1: "f4", 3: "i4", 10: "b1"}[tensor.dtype]
    value = np.frombuffer(tensor.tensor_content, kind) if kind != "b1" else np.array(tensor.bool_val, np.uint8)
    entry: dict[str, Any] = {"name": name, "shape": shape, "dtype": STORED[kind]}
    if not quantised or kind != "f4":
        return entry, value.tobytes()
    if quantised == "float16":
        return {**entry, "quantization": {"dtype": quantised, "original_dtype": "float32"}}, value.astype(
            "f2"
        ).tobytes()
    steps = (1 << (8 if quantised == "uint8" else 16)) - 1
    least, most = float(value.min(initial=0)), float(value.max(initial=0))
    scale = (most - least) / steps or 1.0
    raw = np.round((value - least) / scale).astype(quantised).tobytes()
    return {**entry, "quantization": {"dtype": quantised, "scale": scale, "min": least}}, raw


def read(files: Mapping[str, Path], **options: Any) -> ImportedGraph:
    return IMPORTER.read(files, options)["model"]


@pytest.mark.parametrize("name", CHOSEN)
def test_a_graph_model_gives_what_tensorflow_gives(name: str, tmp_path: Path):
    network, outputs = NETWORKS[name]
    graph = read(write(tmp_path, network, shards=3), outputs=outputs)
    found = run_graph(graph)(network.inputs)
    for output in outputs:
        np.testing.assert_allclose(found[output], RECORDED[f"{name}|{output}"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("kind", "most"), [("float16", 0.02), ("uint16", 0.005), ("uint8", 0.3)])
def test_quantised_numbers_are_nearly_what_they_were(kind: str, most: float, tmp_path: Path):
    network, _ = NETWORKS["two convolutions, a sum and a bias"]
    found = run_graph(read(write(tmp_path, network, kind), outputs=["j"]))(network.inputs)["j"]
    expected = RECORDED["two convolutions, a sum and a bias|j"]
    difference = float(np.abs(found - expected).max())
    assert 0 < difference < most
    cosine = float((found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected))
    assert cosine > 0.999


def test_slopes_fused_to_a_convolution(tmp_path: Path):
    """FusedDepthwiseConv2dNative and Prelu are TensorFlow.js's own."""
    graph, x, slope = Frozen(), normal(2, 6, 5, 3), positive(3, seed=4)
    graph.input("x", x, (-1, 6, 5, 3))
    kinds = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    operands = [normal(3, 3, 3, 1, seed=1), normal(3, seed=2)]
    graph.node("f", "FusedDepthwiseConv2dNative", "x", *operands, slope, fused_ops=["BiasAdd", "Prelu"], **kinds)
    graph.node("d", "FusedDepthwiseConv2dNative", "x", *operands, fused_ops=["BiasAdd"], **kinds)
    graph.node("p", "Prelu", "d", slope)
    found = run_graph(read(write(tmp_path, graph), outputs=["f", "d", "p"]))({"x": x})
    expected = np.where(found["d"] < 0, found["d"] * slope, found["d"])
    np.testing.assert_allclose(found["f"], expected, atol=1e-6)
    np.testing.assert_allclose(found["p"], expected, atol=1e-6)


def signature(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
    return {
        "inputs": {name: {"name": f"{name}:0"} for name in inputs},
        "outputs": {f"out{index}": {"name": f"{name}:0"} for index, name in enumerate(outputs)},
    }


@pytest.mark.parametrize("place", ["signature", "userDefinedMetadata"])
def test_the_signature_says_what_is_given(place: str, tmp_path: Path):
    graph = Frozen()
    graph.input("b", normal(2, 4))
    graph.input("a", normal(2, 4))
    graph.node("s", "Add", "a", "b")
    graph.node("t", "Relu", "s")
    graph.node("u", "Relu", "t")
    said = signature(["a", "b"], ["t", "s"])
    files = write(tmp_path, graph, **{place: said if place == "signature" else {"signature": said}})
    model = read(files).model.graph
    assert [one.name for one in model.input] == ["a", "b"]
    assert [one.name for one in model.output] == ["t", "s"]
    assert [one.name for one in read(files, outputs=["u"]).model.graph.output] == ["u"]
    wrong = write(tmp_path, graph, signature=signature(["a"], ["gone"]))
    assert [one.name for one in read(wrong).model.graph.output] == ["u"]


def test_labels_come_along(tmp_path: Path):
    network, _ = NETWORKS["Softmax"]
    files = write(tmp_path, network)
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    assert read({**files, "labels": labels}).known["labels"] == ["a", "b", "c", "d", "e"]
    labels.write_bytes(b"\xff\xfe")
    with pytest.raises(ImportFailed, match="neither shards nor"):
        read({**files, "labels": labels})


def test_shards_and_numbers_that_are_missing_are_named(tmp_path: Path):
    network, _ = NETWORKS["_FusedMatMul"]
    files = write(tmp_path, network, shards=2)
    with pytest.raises(ImportFailed, match="group1-shard2of2"):
        read({name: path for name, path in files.items() if "shard2" not in name})
    model = json.loads((tmp_path / "model.json").read_text())
    gone = model["weightsManifest"][0]["weights"].pop()
    (tmp_path / "model.json").write_text(json.dumps(model))
    with pytest.raises(ImportFailed, match="belong to no weight"):
        read(files)
    data = b"".join(path.read_bytes() for name, path in files.items() if "shard" in name)
    model["weightsManifest"][0]["paths"] = ["one"]
    (tmp_path / "one").write_bytes(data[: -4 * int(np.prod(gone["shape"]))])
    (tmp_path / "model.json").write_text(json.dumps(model))
    with pytest.raises(ImportFailed, match="numbers of a constant are missing"):
        read({"model": tmp_path / "model.json", "one": tmp_path / "one"})


def test_unsupported_operators_are_told_at_once(tmp_path: Path):
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("one", "Fft", "x")
    graph.node("two", "HashTableV2", "x")
    with pytest.raises(ImportFailed, match=r"one \(Fft\).*two \(HashTableV2\)"):
        read(write(tmp_path, graph))


DAMAGED: dict[str, Any] = {
    "no object": [],
    "no topology": {"format": "graph-model", "weightsManifest": []},
    "no nodes": {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": []},
    "a node that is a number": {"format": "graph-model", "modelTopology": {"node": [7]}, "weightsManifest": []},
    "no manifest": {"format": "graph-model", "modelTopology": {"node": [{"name": "x", "op": "Relu"}]}},
    "an attribute that is no base64": {
        "format": "graph-model",
        "modelTopology": {"node": [{"name": "x", "op": "Relu", "attr": {"p": {"s": "?"}}}]},
        "weightsManifest": [],
    },
    "a signature of numbers": {
        "format": "graph-model",
        "modelTopology": {"node": [{"name": "x", "op": "Relu"}]},
        "weightsManifest": [],
        "signature": {"outputs": {"x": {"name": 3}}},
    },
}


@pytest.mark.parametrize("name", DAMAGED)
def test_structures_that_cannot_be_are_refused(name: str, tmp_path: Path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(DAMAGED[name]))
    with pytest.raises(ImportFailed):
        read({"model": path})


@pytest.mark.parametrize("file", ["model.json", "group1-shard1of1.bin"])
def test_damaged_files_are_refused_or_read(file: str, tmp_path: Path):
    network, _ = NETWORKS["two convolutions, a sum and a bias"]
    files = write(tmp_path, network, "uint8")
    for data in mutations(files[file].read_bytes(), 100, seed=2):
        files[file].write_bytes(data)
        begin = time.monotonic()
        with contextlib.suppress(ImportFailed):
            read(files)
        assert time.monotonic() - begin < 5


HEADS = {
    "format first": (b'{"format": "graph-model", "generatedBy": "2.1"', True),
    "a topology of nodes": (b'{"modelTopology":{"node":[{"name":"x"', True),
    "names of frozen variables": (b'{"weightsManifest": [{"weights": [{"name": "a/ReadVariableOp"', True),
    "layers": (b'{"format": "layers-model", "modelTopology": {"model_config"', False),
    "layers of old": (b'{"modelTopology": {"keras_version": "2.1.6", "model_config"', False),
    "weights alone": (b'[{"paths": ["a"], "weights": []}]', False),
    "other JSON": (b'{"layers": []}', False),
    "nothing": (b"", False),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_bytes_say_whether_it_is_a_graph_model(name: str):
    head, right = HEADS[name]
    met = [format for format, one in importers().items() if one.sniff(head, 1000)]
    assert ("tfjs-graph" in met) == right
    assert not right or met == ["tfjs-graph"]
