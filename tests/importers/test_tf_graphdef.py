"""Frozen graphs of TensorFlow: every operator as TensorFlow computes it, real networks, hostile files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreign.case import run_graph
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.sniff import importers
from glia.importers.tensorflow_ops import walk
from glia.importers.tensorflow_ops.rules import RULES
from glia.importers.tf_graphdef import IMPORTER
from importers.mutate import mutations
from importers.record_tensorflow import FIXTURE
from importers.tensorflow_networks import I32, T, inception_2015, ints, lone, loop, networks, normal, one
from importers.tensorflow_writer import STRING, Frozen, Function, Type, tensor

RECORDED = np.load(FIXTURE)
NETWORKS = dict(networks())
TOLERANCE = 1e-5
ROUGH = {"FakeQuantWithMinMaxVars", "ResizeBicubic to (18, 14) half_pixel_centers"}


def read(path: Path, data: bytes, **options: Any) -> ImportedGraph:
    """The network of a file of these bytes."""
    path.mkdir(exist_ok=True)
    file = path / "frozen.pb"
    file.write_bytes(data)
    return IMPORTER.read({"model": file}, options)["model"]


def fed(graph: ImportedGraph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs that the graph has, in its types."""
    types = {1: np.float32, 2: np.uint8, 6: np.int32, 7: np.int64, 9: np.bool_}
    return {one.name: inputs[one.name].astype(types[one.type.tensor_type.elem_type]) for one in graph.model.graph.input}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_operator_gives_what_tensorflow_gives(name: str, tmp_path: Path):
    network, outputs = NETWORKS[name]
    graph = read(tmp_path, network.bytes(), outputs=outputs)
    found = run_graph(graph)(fed(graph, network.inputs))
    for output in outputs:
        expected = RECORDED[f"{name}|{output}"]
        assert found[output].shape == expected.shape
        np.testing.assert_allclose(found[output], expected, rtol=TOLERANCE, atol=TOLERANCE * 10, err_msg=output)


NOT_IN_TENSORFLOW = {
    "FusedConv2D", "FusedDepthwiseConv2dNative", "Prelu", "ReadVariableOp", "RefMerge", "RefSwitch", "RandomUniformInt",
    "Multinomial", "TruncatedNormal", "DebugIdentity", "Inv", "TopK", "Print", "BatchMatMulV3", "_FusedBatchNormEx",
}  # fmt: skip
"""Operators of others, of graphs that are not frozen, of chance, and old names that mean what a new one does."""
OPEN = [
    name for name in NETWORKS if name.startswith(("Conv2D", "AvgPool", "MaxPool ", "Depthwise", "Resize", "MatMul"))
]


@pytest.mark.parametrize("name", [name for name in OPEN if "dilated" not in name and "MatMul" not in name])
def test_pictures_of_any_size_are_taken_where_the_network_allows_it(name: str, tmp_path: Path):
    network, outputs = NETWORKS[name]
    channels = network.inputs["x"].shape[-1]
    graph = read(tmp_path, network.bytes(), outputs=outputs, input_size={"x": [-1, -1, -1, channels]})
    shape = graph.model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in shape] == ["n", "height", "width", ""]
    found = run_graph(graph)(fed(graph, network.inputs))
    np.testing.assert_allclose(found["y"], RECORDED[f"{name}|y"], rtol=TOLERANCE, atol=TOLERANCE * 10)


def test_a_window_over_dilated_space_is_one_convolution(tmp_path: Path):
    network, outputs = NETWORKS["a window over dilated space"]
    graph = read(tmp_path, network.bytes(), outputs=outputs, input_size={"x": [-1, -1, -1, 3]})
    assert [node.op_type for node in graph.model.graph.node] == ["Transpose", "Conv", "Transpose", "Identity"]
    found = run_graph(graph)(fed(graph, network.inputs))["y"]
    np.testing.assert_allclose(found, RECORDED["a window over dilated space|y"], rtol=TOLERANCE, atol=TOLERANCE * 10)


def test_a_strided_and_dilated_window_over_an_open_picture_asks_for_its_size(tmp_path: Path):
    network, _ = one(
        "Conv2D", normal(1, 8, 8, 1), normal(3, 3, 1, 1), strides=[1, 2, 2, 1], dilations=[1, 2, 2, 1], padding="SAME"
    )
    with pytest.raises(ImportFailed, match="input_size"):
        read(tmp_path, network.bytes(), input_size={"x": [-1, -1, -1, 1]})
    assert read(tmp_path, network.bytes(), input_size=8).known["size"] == [8, 8]


# -- where a network begins and ends -----------------------------------------------------------------------------------


def decoding(scaled: str = "Mul") -> Frozen:
    """Inception's beginning: the bytes of a JPEG to a picture of 8 x 8."""
    graph = Frozen()
    graph.node("DecodeJpeg/contents", "Const", dtype=Type(STRING), value=tensor(np.zeros(0, np.float32)))
    graph.node("DecodeJpeg", "DecodeJpeg", "DecodeJpeg/contents", channels=3)
    graph.node("Cast", "Cast", "DecodeJpeg", SrcT=Type(4), DstT=T)
    graph.node("ExpandDims", "ExpandDims", "Cast", lone(0), T=T)
    graph.node("ResizeBilinear", "ResizeBilinear", "ExpandDims", ints(8, 8), T=T)
    graph.node("Sub", "Sub", "ResizeBilinear", np.float32(128), T=T)
    graph.node(scaled, "Mul", "Sub", np.float32(1 / 128), T=T)
    graph.node("conv", "Conv2D", scaled, normal(3, 3, 3, 4), strides=[1, 2, 2, 1], padding="VALID", T=T)
    graph.node("pool_3", "Mean", "conv", ints(1, 2), T=T)
    graph.node("softmax", "Softmax", "pool_3", T=T)
    return graph


def test_a_network_that_decodes_files_begins_with_the_decoded_picture(tmp_path: Path):
    graph = read(tmp_path, decoding().bytes(8))
    assert list(graph.inputs.values()) == ["DecodeJpeg"]
    assert any("DecodeJpeg" in note for note in graph.notes)
    picture = graph.model.graph.input[0].type.tensor_type
    assert (picture.elem_type, [dim.dim_param or dim.dim_value for dim in picture.shape.dim]) == (
        2,
        ["height", "width", 3],
    )
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    whole = run_graph(graph)({"DecodeJpeg": pixels})["softmax"]
    small = (pixels[::2, ::2].astype(np.float32) - 128) / 128  # asymmetric and by a whole number: every other pixel
    later = read(tmp_path, decoding().bytes(8), inputs=["Mul"])
    np.testing.assert_allclose(run_graph(later)({"Mul": small[None]})["softmax"], whole, atol=1e-6)
    assert later.inputs == {"image": "Mul"}
    assert later.outputs == {"scores": "softmax"}
    assert later.known["size"] == [8, 8]


def test_the_network_is_cut_where_its_names_say(tmp_path: Path):
    graph = read(tmp_path, decoding().bytes(8), inputs=["Mul"], outputs=["pool_3", "conv:0"])
    assert [output.name for output in graph.model.graph.output] == ["pool_3", "conv"]
    shape = graph.model.graph.output[1].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ["n", 3, 3, 4]
    with pytest.raises(ImportFailed, match=r"pool_3.*'pool'|'pool'.*pool_3"):
        read(tmp_path, decoding().bytes(8), outputs=["pool"])


def test_inception_of_2015_by_hand(tmp_path: Path):
    """The old normalisation and the old join, in numpy."""
    network, _ = inception_2015()
    x = network.inputs["x"]
    graph = read(tmp_path, network.bytes(8), outputs=["m", "j", "softmax"])
    weights = {
        node.name: np.frombuffer(attr.value.tensor.tensor_content, np.float32)
        for node in network.nodes
        if node.op == "Const"
        for attr in node.attr
        if attr.key == "value"
    }
    kernel = weights["c/1"].reshape(3, 3, 3, 8)
    views = np.lib.stride_tricks.sliding_window_view(x - 0.5, (3, 3), (1, 2))[:, ::2, ::2]
    value = np.einsum("nyxcij,ijco->nyxo", views, kernel)
    for name, scaled in (("n", True), ("m", False)):
        mean, variance, beta, gamma = (weights[f"{name}/{index}"] for index in range(1, 5))
        value = (value - mean) / np.sqrt(variance + 0.001) * (gamma if scaled else 1) + beta
    found = run_graph(graph)({"x": x})
    np.testing.assert_allclose(found["m"], value, atol=1e-4)
    summed = np.stack([(np.maximum(value, 0)[..., max(0, c - 2) : c + 3] ** 2).sum(-1) for c in range(8)], -1)
    np.testing.assert_allclose(found["j"][..., 16:], np.maximum(value, 0), atol=1e-4)
    local = np.maximum(value, 0) / np.sqrt(1 + 0.01 * summed)
    edge = np.pad(local, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    pooled = np.lib.stride_tricks.sliding_window_view(edge, (3, 3), (1, 2)).max((-1, -2))
    np.testing.assert_allclose(found["j"][..., :8], pooled, atol=1e-4)


# -- what the graph says -----------------------------------------------------------------------------------------------


def test_a_fixed_batch_is_opened_where_the_network_allows_it(tmp_path: Path):
    network, _ = one("Softmax", normal(1, 5), opened=False)
    assert read(tmp_path, network.bytes()).model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "n"
    network, _ = one("Sum", normal(1, 5), ints(0), opened=False)
    assert read(tmp_path, network.bytes()).model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_every_layer_is_in_the_table(tmp_path: Path):
    network, _ = NETWORKS["two convolutions, a sum and a bias"]
    rows = {layer.name: layer for layer in read(tmp_path, network.bytes()).layers}
    assert rows["c"].kind == "Conv2D"
    assert rows["c"].nodes[-1] == "Conv"
    assert rows["c"].parameters == 3 * 3 * 3 * 4
    assert rows["y"].shape == ("n", 8)
    assert "Transpose" not in [op for name, row in rows.items() if name != "c" for op in row.nodes]


def test_a_flipped_kernel_is_noticed(tmp_path: Path):
    import onnx
    from onnx import numpy_helper

    from glia.importers.parity import compare

    network, outputs = NETWORKS["Conv2D SAME stride 1 of (9, 7)"]
    graph = read(tmp_path, network.bytes(), outputs=outputs)
    recorded = {"y": RECORDED["Conv2D SAME stride 1 of (9, 7)|y"]}
    compare(lambda _: recorded, run_graph(graph), [network.inputs], 1e-4, "TensorFlow")
    (kernel,) = [tensor for tensor in graph.model.graph.initializer if len(tensor.dims) == 4]
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel)[..., ::-1].copy(), kernel.name))
    onnx.checker.check_model(graph.model)
    with pytest.raises(ImportFailed, match="off TensorFlow"):
        compare(lambda _: recorded, run_graph(graph), [network.inputs], 1e-4, "TensorFlow")


def test_labels_come_along(tmp_path: Path):
    network, _ = one("Softmax", normal(1, 3))
    graph, labels = tmp_path / "frozen.pb", tmp_path / "labels.txt"
    graph.write_bytes(network.bytes())
    labels.write_text("cat\ndog\nbird\n")
    assert IMPORTER.read({"a": labels, "b": graph}, {})["model"].known["labels"] == ["cat", "dog", "bird"]
    labels.write_text("cat\ndog\n")
    with pytest.raises(ImportFailed, match="2 labels"):
        IMPORTER.read({"a": labels, "b": graph}, {})
    labels.write_bytes(bytes(range(256)))
    with pytest.raises(ImportFailed, match=r"labels\.txt"):
        IMPORTER.read({"a": labels, "b": graph}, {})


def test_dropout_is_taken_out(tmp_path: Path):
    graph = Frozen()
    graph.input("x", normal(2, 4), (-1, 4))
    graph.input("keep", np.array(0.5, np.float32))
    graph.node("s", "Shape", "x", T=T)
    graph.node("u", "RandomUniform", "s", dtype=T, T=I32)
    graph.node("a", "Add", "keep", "u", T=T)
    graph.node("f", "Floor", "a", T=T)
    graph.node("d", "RealDiv", "x", "keep", T=T)
    graph.node("m", "Mul", "d", "f", T=T)
    graph.node("y", "Neg", "m", T=T)
    found = read(tmp_path, graph.bytes())
    assert list(found.inputs.values()) == ["x"]
    assert any("dropout" in note for note in found.notes)
    np.testing.assert_array_equal(run_graph(found)({"x": graph.inputs["x"]})["y"], -graph.inputs["x"])
    graph.node("z", "Add", "u", "u", T=T)
    with pytest.raises(ImportFailed, match="random number"):
        read(tmp_path, graph.bytes())


@pytest.mark.parametrize("way", ["chosen", "multiplied"])
def test_dropout_of_later_years_is_taken_out(way: str, tmp_path: Path):
    graph = Frozen()
    graph.input("x", normal(2, 4), (-1, 4))
    graph.node("s", "Shape", "x", T=T)
    graph.node("u", "RandomUniform", "s", dtype=T, T=I32)
    graph.node("k", "GreaterEqual", "u", np.float32(0.5), T=T)
    graph.node("d", "Mul", "x", np.float32(2), T=T)
    if way == "chosen":
        graph.node("m", "SelectV2", "k", "d", np.float32(0), T=T)
    else:
        graph.node("c", "Cast", "k", SrcT=Type(10), DstT=T)
        graph.node("m", "Mul", "d", "c", T=T)
    graph.node("y", "Neg", "m", T=T)
    found = run_graph(read(tmp_path, graph.bytes()))({"x": graph.inputs["x"]})
    np.testing.assert_array_equal(found["y"], -graph.inputs["x"])


def test_settings_have_their_defaults(tmp_path: Path):
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("training", "PlaceholderWithDefault", np.array(False), dtype=Type(10), shape=())
    graph.node("s", "Switch", "x", "training", T=T)
    graph.node("a", "Mul", "s", np.float32(3), T=T)
    graph.node("b", "Exp", "s:1", T=T)
    graph.node("y", "Merge", "a", "b", N=2, T=T)
    found = read(tmp_path, graph.bytes())
    assert any("'training'" in note for note in found.notes)
    np.testing.assert_allclose(run_graph(found)({"x": graph.inputs["x"]})["y"], graph.inputs["x"] * 3)


def test_a_network_that_answers_does_not_train(tmp_path: Path):
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("phase_train", "Placeholder", dtype=Type(10))
    graph.node("s", "Switch", "x", "phase_train", T=T)
    graph.node("a", "Mul", "s", np.float32(3), T=T)
    graph.node("b", "Exp", "s:1", T=T)
    graph.node("y", "Merge", "a", "b", N=2, T=T)
    found = read(tmp_path, graph.bytes())
    assert list(found.inputs) == ["x"]
    assert any("'phase_train'" in note for note in found.notes)
    np.testing.assert_allclose(run_graph(found)({"x": graph.inputs["x"]})["y"], graph.inputs["x"] * 3)


def test_a_batch_of_one_that_is_written_out_is_opened(tmp_path: Path):
    network, _ = one("Reshape", normal(1, 4, 6), ints(1, 12, -1), opened=False)
    graph = read(tmp_path, network.bytes())
    x = normal(3, 4, 6)
    np.testing.assert_array_equal(run_graph(graph)({"x": x})["y"], x.reshape(3, 12, 2))


def test_a_sound_is_cut_behind_its_coefficients(tmp_path: Path):
    """The recipe of the cut lies in what is known; the number of frames follows from it."""
    graph = Frozen()
    graph.node("wav", "Placeholder", dtype=Type(STRING), shape=())
    graph.node("decoded", "DecodeWav", "wav", desired_channels=1, desired_samples=16000)
    graph.node("power", "AudioSpectrogram", "decoded", window_size=640, stride=320, magnitude_squared=True)
    graph.node("mfcc", "Mfcc", "power", "decoded:1", dct_coefficient_count=10, upper_frequency_limit=4000.0)
    graph.node("flat", "Reshape", "mfcc", ints(-1, 490), T=T, Tshape=I32)
    graph.node("y", "MatMul", "flat", normal(490, 3), T=T)
    found = read(tmp_path, graph.bytes())
    shape = found.model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ["n", 49, 10]
    assert found.known["decoders"]["DecodeWav"] == {"desired_channels": 1, "desired_samples": 16000}
    assert found.known["decoders"]["AudioSpectrogram"]["stride"] == 320
    assert found.known["decoders"]["Mfcc"]["dct_coefficient_count"] == 10
    assert any("Mfcc (mfcc)" in note for note in found.notes)


# -- what cannot be imported -------------------------------------------------------------------------------------------


def refused(path: Path, graph: Frozen, match: str, **options: Any) -> str:
    with pytest.raises(ImportFailed, match=match) as error:
        read(path, graph.bytes(), **options)
    return error.value.message


def test_all_unsupported_operators_are_told_at_once(tmp_path: Path):
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("one", "Fft", "x", T=T)
    graph.node("two", "Relu", "one", T=T)
    graph.node("three", "CropAndResize", "x", T=T)
    graph.node("four", "LookupTableFindV2", "x", T=T)
    message = refused(tmp_path, graph, "3 layers cannot be imported")
    assert all(words in message for words in ("one (Fft)", "three (CropAndResize)", "four (LookupTableFindV2)"))
    assert "two" not in message
    assert "`outputs`" in message


def test_a_loop_whose_length_depends_on_the_input_is_refused_by_name(tmp_path: Path):
    graph, _ = loop()
    graph.node("steps", "Sum", "x", ints(0, 1), T=T)
    graph.node("count", "Cast", "steps", SrcT=T, DstT=I32)
    (enter,) = [node for node in graph.nodes if node.name == "en"]
    enter.input[0] = "count"
    refused(tmp_path, graph, r"loop \(while_loop\).*known length")


def test_functions_that_are_missing_or_call_themselves_are_refused(tmp_path: Path):
    graph, again = Frozen(), Frozen()
    graph.input("x", normal(2, 4))
    again.node("c", "PartitionedCall", "v", Tin=[T], Tout=[T], f=Function("again"))
    graph.function("again", [("v", T)], [("c:output:0", T)], again)
    graph.node("y", "PartitionedCall", "x", Tin=[T], Tout=[T], f=Function("again"))
    refused(tmp_path, graph, "deep")
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("y", "PartitionedCall", "x", Tin=[T], Tout=[T], f=Function("nowhere"))
    refused(tmp_path, graph, "nowhere")


def test_the_layers_of_a_call_are_in_the_table(tmp_path: Path):
    network, outputs = NETWORKS["a recurrent layer of TensorFlow 2"]
    rows = [(layer.name, layer.kind) for layer in read(tmp_path, network.bytes(), outputs=outputs).layers]
    assert ("c/t", "Transpose") in rows
    assert ("c/loop", "StatelessWhile") in rows
    assert not any(name.startswith("c/loop/") for name, _ in rows)


def test_an_endless_loop_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graph, _ = loop()
    (less,) = [node for node in graph.nodes if node.name == "l"]
    less.input[1] = "mi"
    less.op = "LessEqual"
    monkeypatch.setattr(walk, "MAX_STEPS", 20)
    refused(tmp_path, graph, "more than 20 steps")


def constant_of(**fields: Any) -> Frozen:
    """x + a constant with such a tensor."""
    graph = Frozen()
    graph.input("x", normal(2, 4))
    held = tensor(normal(4))
    for key, value in fields.items():
        if key == "shape":
            del held.tensor_shape.dim[:]
            for size in value:
                held.tensor_shape.dim.add(size=size)
        elif isinstance(value, list):
            getattr(held, key).extend(value)
        else:
            setattr(held, key, value)
    graph.node("c", "Const", dtype=T, value=held)
    graph.node("y", "Add", "x", "c", T=T)
    return graph


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "too few bytes": ({"tensor_content": bytes(12)}, "12 bytes for 4"),
    "too many bytes": ({"tensor_content": bytes(20)}, "20 bytes for 4"),
    "a negative size": ({"shape": [-4]}, "cannot be"),
    "a size beyond measure": ({"shape": [1 << 40]}, "cannot be"),
    "too many elements": ({"shape": [1 << 20, 1 << 20]}, "cannot be"),
    "a bomb of one number": ({"shape": [1 << 28], "tensor_content": b"", "float_val": [1.0]}, "damaged"),
    "a bomb of nothing": ({"shape": [1 << 28], "tensor_content": b""}, "damaged"),
    "too many axes": ({"shape": [1] * 30}, "cannot be"),
    "more numbers than elements": ({"tensor_content": b"", "float_val": [1.0] * 5}, "5 numbers for 4"),
    "NaN": ({"tensor_content": np.array([1, np.nan, 1, 1], "f4").tobytes()}, "NaN"),
    "an infinity": ({"tensor_content": np.array([1, np.inf, 1, 1], "f4").tobytes()}, "infinities"),
    "a strange type": ({"dtype": 77}, "type 77"),
    "text": ({"dtype": STRING}, "STRING"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_constants_are_refused(name: str, tmp_path: Path):
    fields, match = HOSTILE[name]
    refused(tmp_path, constant_of(**fields), match)


def test_a_constant_of_one_number_fills_its_shape(tmp_path: Path):
    graph = constant_of(tensor_content=b"", float_val=[1.0, 2.0])
    found = run_graph(read(tmp_path, graph.bytes()))({"x": np.zeros((2, 4), np.float32)})["y"]
    np.testing.assert_array_equal(found, [[1, 2, 2, 2]] * 2)


def grown(op: str, *operands: Any, **attributes: Any) -> Frozen:
    """An operator that makes something large out of nothing."""
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("big", op, *operands, **attributes)
    graph.node("m", "Max", "big", ints(0), T=T)
    graph.node("y", "Add", "x", "m", T=T)
    return graph


def test_what_would_grow_beyond_measure_is_refused(tmp_path: Path):
    refused(tmp_path, grown("Fill", ints(1 << 30, 4), np.float32(1), T=T), "not supported")
    refused(tmp_path, grown("Range", np.float32(0), np.float32(1e9), np.float32(1), Tidx=T), "not supported")
    refused(tmp_path, grown("Tile", normal(4), ints(1 << 30), T=T), "not supported")
    refused(tmp_path, grown("OneHot", lone(1), lone(1 << 30), np.float32(1), np.float32(0), T=T), "not supported")
    graph = Frozen()
    last = graph.constant("c", normal(1 << 10))
    for step in range(80):
        last = graph.node(f"t{step}", "Tile", last, ints(4 if step < 6 else 1), T=T)
    refused(tmp_path, graph, "computed from constants")


def test_structures_that_cannot_be_are_refused(tmp_path: Path):
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("a", "Add", "x", "b", T=T)
    graph.node("b", "Relu", "a", T=T)
    graph.node("y", "Relu", "b", T=T)
    refused(tmp_path, graph, "from itself")
    graph = Frozen()
    graph.node("y", "Relu", "nowhere", T=T)
    refused(tmp_path, graph, "nowhere")
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("x", "Relu", "x", T=T)
    refused(tmp_path, graph, "two nodes")
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("y", "Relu", "x:5", T=T)
    refused(tmp_path, graph, "'x:5'")
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("y", "Conv2D", "x", T=T)
    refused(tmp_path, graph, "layers? cannot be imported")


def test_long_chains_do_not_exhaust_the_stack(tmp_path: Path):
    graph = Frozen()
    last = graph.input("x", normal(2, 4))
    for step in range(3000):
        last = graph.node(f"n{step}", "Identity", last, T=T)
    graph.node("y", "Relu", last, T=T)
    assert len(read(tmp_path, graph.bytes()).model.graph.node) == 2


def test_every_rule_is_tried():
    tried = {node.op for network, _ in NETWORKS.values() for node in network.nodes}
    tried |= {node.op for network, _ in NETWORKS.values() for one in network.functions for node in one.node_def}
    assert set(RULES) - tried <= NOT_IN_TENSORFLOW | {"RandomUniform", "RandomStandardNormal", "PlaceholderWithDefault"}


def test_unknown_options_and_sizes_that_cannot_be_are_refused(tmp_path: Path):
    network, _ = one("Relu", normal(1, 4, 4, 3))
    for options, match in (
        ({"mean": 1}, "Unknown options"),
        ({"input_size": "big"}, "input_size"),
        ({"input_size": [0, 4]}, "input_size"),
        ({"input_size": [1, 2, 3]}, "3 sizes"),
        ({"outputs": 3}, "outputs"),
        ({"inputs": ["q"]}, "an input"),
    ):
        with pytest.raises(ImportFailed, match=match):
            read(tmp_path, network.bytes(), **options)


def test_a_network_without_shapes_asks_for_them(tmp_path: Path):
    graph = Frozen()
    graph.node("x", "Placeholder", dtype=T)
    graph.node("y", "Relu", "x", T=T)
    refused(tmp_path, graph, "input_size")
    assert read(tmp_path, graph.bytes(), input_size={"x": [-1, 5]}).model.graph.input[0].name == "x"
    graph.node("z", "Conv2D", "y", normal(3, 3, 3, 4), strides=[1, 1, 1, 1], padding="SAME", T=T)
    shape = read(tmp_path, graph.bytes()).model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ["n", "height", "width", 3]


# -- formats, and damaged files ----------------------------------------------------------------------------------------

STRANGERS = {
    "nothing": b"",
    "a SavedModel": b"\x08\x01\x12\x90\x4e" + bytes(10_000),
    "ONNX": b"\x08\x07\x12\x07pytorch\x3a\x90\x4e" + bytes(10_000),
    "Caffe2": b"\x0a\x05model\x12\x20\x0a\x04data\x12\x04conv\x1a\x00\x22\x04Conv" + bytes(20),
    "Caffe2 without a name": b"\x12\x20\x0a\x04data\x12\x04conv\x1a\x00\x22\x04Conv" + bytes(20),
    "a caffemodel": b"\x0a\x05cafnet\xa2\x06\x20" + bytes(100),
    "a frozen graph cut short": b"\x0a\x7f\x0a\x01x\x12\x0bPlaceholder",
    "an operator in small letters": b"\x0a\x0b\x0a\x01x\x12\x06placed",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_other_files_are_no_frozen_graphs(name: str):
    assert not IMPORTER.sniff(STRANGERS[name], len(STRANGERS[name]))


def test_a_frozen_graph_is_of_one_format():
    for network, _ in list(NETWORKS.values())[::20]:
        data = network.bytes()
        assert [name for name, one in importers().items() if one.sniff(data[: 1 << 16], len(data))] == ["tf-graphdef"]


@pytest.mark.parametrize("which", ["a network as of 2015", "a loop of five steps", "a recurrent layer of TensorFlow 2"])
def test_damaged_files_are_refused_or_read(which: str, tmp_path: Path):
    network, _ = NETWORKS[which]
    for data in mutations(network.bytes(), 70, seed=5):
        begin = time.monotonic()
        with contextlib.suppress(ImportFailed):
            read(tmp_path, data)
        assert time.monotonic() - begin < 5
