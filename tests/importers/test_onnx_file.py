"""ONNX files: what is refused, what is changed, and that the numbers stay."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.onnx_file import OnnxFile
from glia.importers.onnx_metadata import known_of, told_by
from house import SHARED

WEIGHTS = np.random.default_rng(0).normal(0, 0.3, (4, 2, 3, 3)).astype(np.float16)


def network(
    kind: int = TensorProto.FLOAT16, opset: int = 9, batch: int | str = 1, shape: tuple[int, ...] = (1, -1)
) -> onnx.ModelProto:
    """Convolution, Reshape to a constant shape, Softmax; weights listed among the inputs, as in 2018."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array(shape))),
        helper.make_node("Reshape", ["c", "shape"], ["f"]),
        helper.make_node("Cast", ["f"], ["g"], to=kind),
        helper.make_node("Softmax", ["g"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("x", kind, [batch, 2, 4, 4]),
            helper.make_tensor_value_info("w", kind, WEIGHTS.shape),
        ],
        [helper.make_tensor_value_info("y", kind, [batch, 64])],
        [numpy_helper.from_array(WEIGHTS.astype(dtype), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


@pytest.fixture
def read(tmp_path: Path):
    def read_model(model: onnx.ModelProto | bytes, **options: object) -> ImportedGraph:
        path = tmp_path / "file"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return OnnxFile().read({"model": path}, options)["model"]

    return read_model


def session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def probe(run: onnxruntime.InferenceSession, n: int, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(0), {}
    for value in run.get_inputs():
        shape = [sizes.get(d, 1) if isinstance(d, str) else d for d in value.shape]
        found[value.name] = rng.random([n, *shape[1:]]).astype(np.float32)
    return found


def check_batches(graph: ImportedGraph, sizes: dict[str, int] | None = None) -> None:
    """A batch of three gives what its items give one by one."""
    run = session(graph.model)
    feed = probe(run, 3, sizes or {})
    singles = [run.run(None, {name: x[i : i + 1] for name, x in feed.items()}) for i in range(3)]
    for together, *alone in zip(run.run(None, feed), *singles, strict=True):
        np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5, atol=1e-5)


def test_a_half_network_becomes_float32_at_a_present_opset(read):
    graph = read(network())
    values = [*graph.model.graph.input, *graph.model.graph.output]
    assert [value.name for value in values] == ["x", "y"]
    assert {value.type.tensor_type.elem_type for value in values} == {TensorProto.FLOAT}
    assert graph.model.opset_import[0].version == 17
    assert (graph.inputs, graph.outputs) == ({"x": "x"}, {"y": "y"})
    assert graph.notes == ("opset 9 brought to 17", "16-bit floats turned into float32")
    x = np.random.default_rng(1).random((1, 2, 4, 4)).astype(np.float32)
    expected = session(network(TensorProto.FLOAT)).run(None, {"x": x})[0]
    np.testing.assert_allclose(session(graph.model).run(None, {"x": x})[0], expected, atol=1e-6)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize(
    ("opset", "batch", "shape"), [(9, 1, (1, -1)), (13, 1, (1, 64)), (17, 5, (5, -1)), (9, "b", (-1, 64))]
)
def test_a_network_made_for_one_item_takes_batches(
    read, kind: int, opset: int, batch: int | str, shape: tuple[int, ...]
):
    graph = read(network(kind, opset, batch, shape), batch="dynamic")
    assert graph.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    assert graph.model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "n"
    check_batches(graph)


def test_a_network_that_mixes_its_items_is_not_opened(read):
    with pytest.raises(ImportFailed, match="does not follow the batch"):
        read(network(shape=(-1, 32)), batch="dynamic")


def test_tensors_get_the_names_that_tasks_use(read):
    graph = read(network(), inputs={"image": "x"}, outputs={"scores": "y"})
    assert (graph.inputs, graph.outputs) == ({"image": "x"}, {"scores": "y"})
    for options in (
        {"inputs": {"image": "z"}},
        {"outputs": {"a": "c"}},
        {"inputs": {}},
        {"inputs": "x"},
        {"inputs": {"a": []}},
    ):
        with pytest.raises(ImportFailed, match="option"):
            read(network(), **options)


@pytest.mark.parametrize("options", [{"batch": 4}, {"batches": "dynamic"}])
def test_unknown_options_fail_the_import(read, options: dict[str, object]):
    with pytest.raises(ImportFailed, match="option"):
        read(network(), **options)


def test_weights_in_other_files_are_refused(read):
    model = network()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    with pytest.raises(ImportFailed, match="another file"):
        read(model)


def test_operators_that_are_not_onnx_are_refused_by_name(read):
    for domain, op in (("com.microsoft", "Gelu"), ("", "ConstantFill"), ("evil", "Conv")):
        model = network()
        model.graph.node[0].domain, model.graph.node[0].op_type = domain, op
        with pytest.raises(ImportFailed, match=op):
            read(model)


def test_models_without_opset_and_deep_graphs_are_refused(read):
    model = network()
    model.opset_import[0].domain = "ai.onnx.ml"
    with pytest.raises(ImportFailed, match="opset 1 or newer"):
        read(model)
    deep = onnx.GraphProto()
    for _ in range(25):
        outer = onnx.GraphProto()
        outer.node.add(op_type="If").attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g.CopyFrom(deep)
        deep = outer
    model = network()
    model.graph.CopyFrom(deep)
    with pytest.raises(ImportFailed):
        read(model)


def test_damaged_files_fail_the_import(read):
    data = network().SerializeToString()
    for end in range(0, len(data), 7):
        with pytest.raises(ImportFailed):
            read(data[:end])
    numbers = random.Random(0)
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(numbers.randint(1, 3)):
            changed[numbers.randrange(len(changed))] = numbers.randrange(256)
        try:
            read(bytes(changed))
        except ImportFailed:
            continue


def test_what_the_file_says_is_known(read):
    model = network()
    del model.graph.input[0].type.tensor_type.shape.dim[:]
    for size in (1, 3, 32, 48):
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=size)
    assert known_of(model) == {"size": (32, 48)}
    names = """{0: 'cat', 1: "dog's", 2: ''}"""
    told = {"Image.BitmapPixelFormat": "Bgr8", "names": names, "license": "MIT", "author": "x\0"}
    for key, value in told.items():
        model.metadata_props.add(key=key, value=value)
    assert known_of(model) == {"size": (32, 48), "colour": "bgr", "labels": ("cat", "dog's", "")}
    assert told_by(model) == ["license: MIT"]
    for text in ("{}", "{1: 'a'}", "{0: 'a' 1: 'b'}", "{0: __import__('os')}", "[0]", "{0: 'a\\'}", "x" * 2_000_000):
        model.metadata_props[1].value = text
        assert "labels" not in known_of(model)
    assert read(network()).known == {}


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def calling(functions: list[onnx.FunctionProto], name: str) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", 3]) for end in "xy"]
    graph = helper.make_graph([helper.make_node(name, ["x"], ["y"], domain="own")], "calls", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)


def test_functions_are_put_in_the_place_of_their_calls(read):
    twice = function("Twice", helper.make_node("Add", ["a", "a"], ["b"]))
    calls = [
        helper.make_node("Twice", ["a"], ["c"], domain="own"),
        helper.make_node("Twice", ["c"], ["b"], domain="own"),
    ]
    graph = read(calling([twice, function("Four", *calls)], "Four"))
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(session(graph.model).run(None, {"x": x})[0], 4 * x)
    assert not graph.model.functions
    assert [entry.domain for entry in graph.model.opset_import] == [""]


def test_functions_without_end_or_bounds_are_refused(read):
    first = function("First", helper.make_node("Second", ["a"], ["b"], domain="own"))
    second = function("Second", helper.make_node("First", ["a"], ["b"], domain="own"))
    with pytest.raises(ImportFailed, match="calls itself"):
        read(calling([first, second], "First"))
    doubling = [function("F0", helper.make_node("Add", ["a", "a"], ["b"]))]
    for level in range(1, 40):
        calls = [helper.make_node(f"F{level - 1}", [start], [end], domain="own") for start, end in ("ac", "cb")]
        doubling.append(function(f"F{level}", *calls))
    with pytest.raises(ImportFailed, match="nodes, at most"):
        read(calling(doubling, "F39"))
    with pytest.raises(ImportFailed, match="one name"):
        read(calling([doubling[0], doubling[0]], "F0"))
    with pytest.raises(ImportFailed, match=r"own\.Gone"):
        read(calling(doubling[:1], "Gone"))


PUBLISHED = {
    "weights/imagenet-squeezenet-fp16-onnx/SqueezeNet_fp16.onnx": True,
    "weights/face-detection-yunet-n/yunet_n_320_320.onnx": True,
    "weights/face-detection-yunet-n/yunet_n_dynamic.onnx": True,
    "weights/face-detection-rfb-320/version-RFB-320.onnx": True,
    "weights/detect-fastestdet-coco-onnx/FastestDet.onnx": False,  # reshapes to (24, 2, ...): one item only
    "interop/onnx/winml-cifar-pytorch/ImageClassifier.onnx": True,
    "interop/onnx/winml-mnist-cntk/mnist.onnx": True,
    "interop/onnx/yunet-s-dynamic/yunet_s_320_320.onnx": True,
    "interop/onnx/dl4j-onnx-graphs/output_cnn_mnist.onnx": False,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_keep_their_numbers_and_take_batches(name: str):
    path, sizes = SHARED / name, {"height": 64, "width": 96}
    if not path.exists():
        pytest.skip("the published file is not on this machine")
    graph = OnnxFile().read({"model": path}, {})["model"]
    original, run = session(path), session(graph.model)
    first = run.get_inputs()[0].shape[0]
    feed = probe(run, first if isinstance(first, int) else 1, sizes)
    kinds = {value.name: np.float16 if "16" in value.type else np.float32 for value in original.get_inputs()}
    expected = original.run(None, {key: value.astype(kinds[key]) for key, value in feed.items()})
    for a, b in zip(expected, run.run(None, feed), strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b, rtol=1e-4, atol=1e-4)
    if PUBLISHED[name]:
        check_batches(OnnxFile().read({"model": path}, {"batch": "dynamic"})["model"], sizes)
    else:
        with pytest.raises(ImportFailed, match="batch"):
            OnnxFile().read({"model": path}, {"batch": "dynamic"})


def test_a_network_with_branches_keeps_its_numbers():
    path = SHARED / "weights/speech-vad-silero-onnx/silero_vad.onnx"
    if not path.exists():
        pytest.skip("the published file is not on this machine")
    rng = np.random.default_rng(0)
    feed = {
        "input": rng.normal(0, 0.1, (1, 512)).astype(np.float32),
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000),
    }
    imported = session(OnnxFile().read({"model": path}, {})["model"].model)
    for a, b in zip(session(path).run(None, feed), imported.run(None, feed), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
