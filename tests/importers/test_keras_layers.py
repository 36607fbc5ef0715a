"""What the importers of Keras' layers share: dialects of the JSON, arrays dealt to layers, labels, SSR-Net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreign.case import run_graph
from glia.core.errors import ImportFailed
from glia.importers.architectures.ssr_net import ARCHITECTURE, shapes
from glia.importers.importer import ImportedGraph
from glia.importers.keras_layers.configs import Network, Ref, read_network
from glia.importers.keras_layers.dialect import normalise, version_of
from glia.importers.keras_layers.hdf5 import Group
from glia.importers.keras_layers.network import build
from glia.importers.keras_layers.origin import Origin
from glia.importers.keras_layers.stored import Stored, Weights, deal, from_hdf5, from_names, snake_case
from glia.importers.labels import labels_of


def dense(name: str, units: int, into: int | None = None, **more: Any) -> dict[str, Any]:
    shape = {"batch_input_shape": [None, into]} if into else {}
    return {"class_name": "Dense", "config": {"name": name, "units": units, "activation": "linear"} | shape | more}


def arrays(into: int, out: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, (into, out)).astype(np.float32), rng.normal(0, 1, out).astype(np.float32)]


def named(layer: str, values: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(f"{layer}/{part}:0", value) for part, value in zip(("kernel", "bias"), values, strict=True)]


def graph_of(network: Network, weights: Weights) -> ImportedGraph:
    return build(network, weights, Origin("2.3.1", "tensorflow").scope, "net", {})


def result(graph: ImportedGraph, *inputs: np.ndarray) -> np.ndarray:
    names = [value.name for value in graph.model.graph.input]
    (y,) = run_graph(graph)(dict(zip(names, inputs, strict=True))).values()
    return y


def inner_model(trainable: bool = True) -> dict[str, Any]:
    norm = {"class_name": "BatchNormalization", "config": {"name": "norm", "axis": -1, "epsilon": 0.001}}
    layers = [dense("one", 4, 3), norm, dense("two", 2)]
    for layer in layers:
        layer["config"]["trainable"] = trainable
    return {"class_name": "Sequential", "config": {"name": "inner", "layers": layers}}


NORM = [np.full(4, value, np.float32) for value in (2.0, 0.5, 0.25, 4.0)]


@pytest.mark.parametrize("names", ["told", "hidden"])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_model_in_a_model_gets_its_arrays_by_name_or_by_order(names: str, trainable: bool):
    one, two, last = arrays(3, 4, 0), arrays(4, 2, 1), arrays(2, 1, 2)
    parts = [f"norm/{part}:0" for part in ("gamma", "beta", "moving_mean", "moving_variance")]
    norm = list(zip(parts, NORM, strict=True))
    flat = named("one", one) + (norm[:2] if trainable else norm) + named("two", two) + (norm[2:] if trainable else [])
    if names == "hidden":
        flat = [(f"param_{number}", value) for number, (_, value) in enumerate(flat)]
    network = read_network({"class_name": "Sequential", "config": [inner_model(trainable), dense("last", 1)]})
    weights = deal(network, Stored({"inner": flat, "last": named("last", last)}))
    x = np.random.default_rng(3).normal(0, 1, (5, 3)).astype(np.float32)
    y = (x @ one[0] + one[1] - 0.25) / np.sqrt(4.001) * 2 + 0.5
    expected = (y @ two[0] + two[1]) @ last[0] + last[1]
    np.testing.assert_allclose(result(graph_of(network, weights), x), expected, rtol=1e-4, atol=1e-4)


def test_a_chain_of_keras_1_that_begins_where_two_meet():
    branches = [{"class_name": "Sequential", "config": [dense(name, 2, 3)]} for name in ("left", "right")]
    merge = {
        "class_name": "Merge",
        "config": {"name": "merge", "layers": branches, "mode": "concat", "concat_axis": -1},
    }
    network = read_network({"class_name": "Sequential", "config": [merge, dense("last", 1)]})
    left, right, last = arrays(3, 2, 0), arrays(3, 2, 1), arrays(4, 1, 2)
    groups = {"left": named("left", left), "right": named("right", right), "merge": [], "last": named("last", last)}
    graph = graph_of(network, deal(network, Stored(groups)))
    a, b = (np.random.default_rng(seed).normal(0, 1, (2, 3)).astype(np.float32) for seed in (3, 4))
    both = np.concatenate([a @ left[0] + left[1], b @ right[0] + right[1]], 1)
    np.testing.assert_allclose(result(graph, a, b), both @ last[0] + last[1], atol=1e-5)


def start(name: str) -> dict[str, Any]:
    config = {"name": name, "batch_input_shape": [None, 3]}
    return {"class_name": "InputLayer", "name": name, "config": config, "inbound_nodes": []}


def functional(nodes: list[Any], kind: str, config: dict[str, Any]) -> Network:
    layers = [
        start("x"),
        {"class_name": kind, "name": "op", "config": {"name": "op"} | config, "inbound_nodes": nodes},
    ]
    whole = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["op", 0, 0]]}
    return read_network({"class_name": "Functional", "config": whole})


OPERATIONS = {
    "math.add": ([["x", 0, 0, {"y": 2.0}]], lambda x: x + 2),
    "math.multiply": ([["x", 0, 0, {"y": ["x", 0, 0]}]], lambda x: x * x),
    "__operators__.add": ([[["_CONSTANT_VALUE", -1, 1.5, {"y": ["x", 0, 0]}]]], lambda x: 1.5 + x),
    "nn.relu": ([[["x", 0, 0, {}]]], lambda x: np.maximum(x, 0)),
    "math.reduce_mean": ([["x", 0, 0, {"axis": -1, "keepdims": True}]], lambda x: x.mean(-1, keepdims=True)),
    "concat": ([[["x", 0, 0, {"axis": 1}], ["x", 0, 0, {"axis": 1}]]], lambda x: np.concatenate([x, x], 1)),
    "expand_dims": ([["x", 0, 0, {"axis": 1}]], lambda x: x[:, None]),
}


@pytest.mark.parametrize("function", OPERATIONS)
def test_functions_that_tf_keras_recorded_are_read(function: str):
    nodes, expected = OPERATIONS[function]
    x = np.random.default_rng(0).normal(0, 1, (2, 3)).astype(np.float32)
    network = functional(nodes, "TFOpLambda", {"function": function})
    np.testing.assert_allclose(result(graph_of(network, {}), x), expected(x), atol=1e-6)


def test_functions_without_a_rule_are_told():
    network = functional([["x", 0, 0, {}]], "TFOpLambda", {"function": "linalg.det"})
    with pytest.raises(ImportFailed, match=r"op \(TFOpLambda\): TensorFlow's 'linalg\.det' is not supported"):
        graph_of(network, {})


@pytest.mark.parametrize("model", [
    None, [], {}, {"class_name": "Graph"}, {"class_name": ["Model"]}, {"class_name": "Model"},
    {"class_name": "Sequential", "config": []}, {"class_name": "Sequential", "config": [3]},
    {"class_name": "Sequential", "config": [dense("a", 1), dense("a", 1)]},
    {"class_name": "Model", "config": {"layers": [dense("a", 1)], "input_layers": [], "output_layers": [["a", 0, 0]]}},
    {"class_name": "Sequential", "config": [{"class_name": "TimeDistributed", "config": {"name": "t"}}]},
])  # fmt: skip
def test_descriptions_that_are_none_fail_the_import(model: object):
    with pytest.raises(ImportFailed):
        read_network(model)


def test_an_input_of_unknown_shape_asks_for_its_size():
    network = read_network({"class_name": "Sequential", "config": [{"class_name": "Flatten", "config": {"name": "f"}}]})
    with pytest.raises(ImportFailed, match="input_size"):
        graph_of(network, {})


def test_words_of_keras_1_become_those_of_keras_2():
    old = {
        "nb_filter": 8,
        "nb_row": 3,
        "nb_col": 5,
        "subsample": [2, 2],
        "border_mode": "same",
        "dim_ordering": "th",
        "bias": False,
    }
    kind, config = normalise("Convolution2D", old)
    assert kind == "Conv2D"
    wanted = {
        "filters": 8,
        "kernel_size": [3, 5],
        "strides": [2, 2],
        "padding": "same",
        "data_format": "channels_first",
    }
    assert {key: config[key] for key in wanted} == wanted
    assert config["use_bias"] is False
    cell = {"cell": {"class_name": "LSTMCell", "config": {"units": 4, "name": "c"}}, "name": "rnn"}
    assert normalise("RNN", cell) == ("LSTM", {"units": 4, "name": "rnn"})


def test_versions_are_told_from_many_spellings():
    spelled = {
        None: (1, 0),
        "": (1, 0),
        "1.2.2": (1, 2),
        "2.2.4-tf": (2, 2),
        "3.15.1": (3, 15),
        "2": (2, 0),
        "2.x": (2, 0),
    }
    assert {words: version_of(words) for words in spelled} == spelled


def test_names_of_classes_become_names_of_layers():
    spelled = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "ReLU": "re_lu", "LSTM": "lstm",
               "MaxPooling2D": "max_pooling2d", "MultiHeadAttention": "multi_head_attention"}  # fmt: skip
    assert {kind: snake_case(kind) for kind in spelled} == spelled


def test_lists_of_names_that_were_cut_in_pieces_are_joined():
    weights = {"k": np.zeros((3, 2), np.float32), "b": np.zeros(2, np.float32)}
    inner = Group({"weight_names0": ["k"], "weight_names1": ["b"]}, {}, weights)
    stored = from_hdf5(Group({"layer_names0": ["a"], "layer_names1": ["c"]}, {"a": inner, "c": Group()}))
    assert [name for name, _ in stored.groups["a"]] == ["k", "b"]
    assert stored.groups["c"] == []


def test_weights_of_before_keras_1_are_matched_by_order():
    one, two = arrays(3, 4, 0), arrays(4, 2, 1)
    groups = {
        f"layer_{number}": Group({}, {}, {f"param_{at}": value for at, value in enumerate(values)})
        for number, values in ((0, one), (1, []), (10, two))
    }
    stored = from_hdf5(Group({"nb_layers": np.int64(3)}, dict(sorted(groups.items()))))
    network = read_network({"class_name": "Sequential", "config": [dense("a", 4, 3), dense("b", 2)]})
    weights = deal(network, stored)
    np.testing.assert_array_equal(weights["b",][0], two[0])


def test_arrays_of_another_network_fail_the_import():
    network = read_network({"class_name": "Sequential", "config": [dense("a", 4, 3), dense("b", 2)]})
    with pytest.raises(ImportFailed, match=r"2 layers with weights.*holds 1"):
        deal(network, Stored({"other": named("other", arrays(3, 4, 0))}))
    with pytest.raises(ImportFailed, match="NaN"):
        from_names(network, {f"{n}/{p}": np.full(2, np.nan, np.float32) for n in "ab" for p in ("kernel", "bias")})


def test_outputs_of_models_that_keras_3_counts_otherwise():
    call = {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}], "kwargs": {}}
    inner_in = {
        "class_name": "InputLayer",
        "name": "i",
        "config": {"name": "i", "batch_shape": [None, 3]},
        "inbound_nodes": [],
    }
    inner = {"layers": [inner_in], "name": "f", "input_layers": ["i", 0, 0], "output_layers": ["i", 0, 0]}
    layers = [
        {
            "class_name": "InputLayer",
            "name": "x",
            "config": {"name": "x", "batch_shape": [None, 3]},
            "inbound_nodes": [],
        },
        {"class_name": "Functional", "name": "f", "config": inner, "inbound_nodes": [call]},
    ]
    whole = {"name": "m", "layers": layers, "input_layers": ["x", 0, 0], "output_layers": ["f", 1, 0]}
    assert read_network({"class_name": "Functional", "config": whole}).outputs == (Ref("f", 0, 0),)


def test_labels_are_found_among_other_files(tmp_path: Path):
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    longer = file("list", b"cat\ndog\n\nbird\nand more\n")
    assert labels_of([file("none", b"\xff\xfe"), file("few", b"a\nb"), longer], 3) == ["cat", "dog", "bird"]
    assert labels_of([file("numbered", b"/b/bar 1\n/a/air field 0\n")], 2) == ["/a/air field", "/b/bar"]
    assert labels_of([file("wrong", b"a 1\nb 1\n"), file("json", b'["a",\n"b"]')], 2) is None
    assert labels_of([longer], None) is None


def ssr_weights(prediction: str = "pred_age") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {
        f"{key}:0": rng.normal(0, 0.2, shape).astype(np.float32) for key, shape in shapes((3, 3, 3), prediction).items()
    }
    return {key: np.abs(value) + 0.5 if "variance" in key else value for key, value in found.items()}


def test_ages_lie_where_the_bins_allow():
    graph = ARCHITECTURE.build(ssr_weights(), {})
    assert graph.outputs == {"age": "age"}
    x = np.random.default_rng(1).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    together = result(graph, x)
    assert together.shape == (3, 1)
    np.testing.assert_allclose(np.concatenate([result(graph, one[None]) for one in x]), together, atol=1e-3)
    halved = result(ARCHITECTURE.build(ssr_weights(), {"range": 50.5}), x)
    np.testing.assert_allclose(halved, together / 2, rtol=1e-4)
    assert ARCHITECTURE.build(ssr_weights("pred"), {}).outputs == {"value": "value"}


def test_weights_that_do_not_fit_ssr_net_are_all_listed():
    weights = ssr_weights()
    del weights["conv2d_3/bias:0"]
    weights["dense_1/kernel:0"] = weights["dense_1/kernel:0"][:-1]
    with pytest.raises(ImportFailed, match="2 faults"):
        ARCHITECTURE.build(weights, {})
    for wrong in ({"lambda_d": "1"}, {"range": -1}, {"stages": 3}):
        with pytest.raises(ImportFailed, match="option"):
            ARCHITECTURE.build(ssr_weights(), wrong)
    weights = ssr_weights() | {"batch_normalization_1/moving_variance:0": np.full(32, -1, np.float32)}
    with pytest.raises(ImportFailed, match="negative variances"):
        ARCHITECTURE.build(weights, {})
