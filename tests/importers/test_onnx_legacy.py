"""ONNX of opsets 1 to 6: each old way of saying something, against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from foreign.case import run_case, run_graph
from foreign.onnx_file import cases
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.onnx_file import IMPORTER
from glia.importers.onnx_legacy import RULES
from importers.mutate import mutations

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    y = np.exp(x - x.max(axis, keepdims=True))
    return y / y.sum(axis, keepdims=True)


def model_of(
    nodes: list[onnx.NodeProto], opset: int, x: np.ndarray = X, outputs: tuple[str, ...] = ("y",), **constants: Any
) -> onnx.ModelProto:
    """A model whose input is x and whose weights are listed among its inputs, as was the rule."""
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)]
    inputs += [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in weights]
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "old", inputs, outs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)


def one(op: str, inputs: str = "x", outputs: str = "y", **attributes: Any) -> list[onnx.NodeProto]:
    return [helper.make_node(op, inputs.split(), outputs.split(), **attributes)]


@pytest.fixture
def read(tmp_path: Path):
    def read_model(model: onnx.ModelProto | bytes, **options: object) -> ImportedGraph:
        path = tmp_path / "old"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return IMPORTER.read({"model": path}, options)["model"]

    return read_model


PER_CHANNEL, SUFFIX, LAST = RNG.normal(size=3), RNG.normal(size=(4, 5)), RNG.normal(size=(3, 4))
GAMMA, BETA, MEAN, VARIANCE = (RNG.random(3).astype(np.float32) + 0.5 for _ in range(4))
NORMAL = (X - MEAN[:, None, None]) / np.sqrt(VARIANCE[:, None, None] + 1e-5) * GAMMA[:, None, None] + BETA[
    :, None, None
]
FLAT = X.reshape(2, -1)
CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], np.ndarray]] = {
    "Add at an axis": (one("Add", "x b", broadcast=1, axis=1), {"b": PER_CHANNEL}, X + PER_CHANNEL[:, None, None]),
    "Mul at the end": (one("Mul", "x b", broadcast=1), {"b": SUFFIX}, X * SUFFIX),
    "Sub in the middle": (one("Sub", "x b", broadcast=1, axis=1), {"b": LAST}, X - LAST[:, :, None]),
    "Div from the back": (one("Div", "x b", broadcast=1, axis=-3), {"b": PER_CHANNEL}, X / PER_CHANNEL[:, None, None]),
    "Pow": (one("Pow", "x b", broadcast=1), {"b": np.float64(2)}, X**2),
    "BatchNormalization": (
        one("BatchNormalization", "x g b m v", is_test=1, spatial=1, consumed_inputs=[0, 0, 0, 1, 1]),
        {"g": GAMMA, "b": BETA, "m": MEAN, "v": VARIANCE},
        NORMAL,
    ),
    "Cast by name": (
        [*one("Cast", "x", "i", to="INT32"), *one("Cast", "i", "y", to="float")],
        {},
        np.trunc(X),
    ),
    "Clip": (one("Clip", min=-0.5, max=0.25, consumed_inputs=[0]), {}, np.clip(X, -0.5, 0.25)),
    "Clip above": (one("Clip", max=0.25), {}, np.minimum(X, 0.25)),
    "Concat without an axis": (one("Concat", "x x"), {}, np.concatenate([X, X], 1)),
    "Constant": (
        [*one("Constant", "", "c", value=numpy_helper.from_array(np.float32(2) * np.ones((4, 5), np.float32))),
         *one("Add", "x c", broadcast=1)],
        {},
        X + 2,
    ),
    "Dropout": (one("Dropout", "x", "y", is_test=1, ratio=0.5), {}, X),
    "Flatten": (one("Flatten"), {}, FLAT),
    "Gemm": (
        [*one("Flatten", "x", "f"), *one("Gemm", "f w b", transB=1, alpha=0.5, broadcast=1)],
        {"w": np.ones((2, 60)) * 0.1, "b": np.array([1.0, 2])},
        0.05 * FLAT.sum(1, keepdims=True) + [1, 2],
    ),
    "LeakyRelu": (one("LeakyRelu", alpha=0.2, consumed_inputs=[0]), {}, np.where(X > 0, X, 0.2 * X)),
    "PRelu by channel": (one("PRelu", "x s"), {"s": PER_CHANNEL}, np.where(X > 0, X, X * PER_CHANNEL[:, None, None])),
    "Pad": (
        one("Pad", paddings=[0, 0, 1, 0, 0, 0, 2, 1], value=0.5),
        {},
        np.pad(X, ((0, 0), (0, 0), (1, 2), (0, 1)), constant_values=0.5),
    ),
    "Pads": (
        one("Pad", pads=[0, 0, 1, 0, 0, 0, 2, 1], mode="reflect"),
        {},
        np.pad(X, ((0, 0), (0, 0), (1, 2), (0, 1)), "reflect"),
    ),
    "ReduceSum": (one("ReduceSum", axes=[1, 3], keepdims=0), {}, X.sum((1, 3))),
    "ReduceMean": (one("ReduceMean", axes=[2]), {}, X.mean(2, keepdims=True)),
    "Reshape": (one("Reshape", shape=[0, -1]), {}, FLAT),
    "Slice": (one("Slice", axes=[1, 3], starts=[1, 0], ends=[3, -1]), {}, X[:, 1:3, :, :-1]),
    "Softmax over all": (one("Softmax"), {}, softmax(FLAT, 1).reshape(X.shape)),
    "LogSoftmax": (one("LogSoftmax", axis=3), {}, np.log(softmax(X, 3))),
    "Split": (one("Split", "x", "y z", split=[1, 2], axis=1), {}, X[:, :1]),
    "Split evenly": (one("Split", "x", "z y", axis=2), {}, X[:, :, 2:]),
    "Squeeze": ([*one("Unsqueeze", "x", "u", axes=[0, 3]), *one("Squeeze", "u", axes=[3])], {}, X[None]),
    "Tile of old": (one("Tile", "x t a"), {"t": np.array([2]), "a": np.array([1])}, np.concatenate([X, X], 1)),
    "TopK": (one("TopK", "x", "y i", k=2, axis=3), {}, -np.sort(-X, 3)[..., :2]),
    "Upsample": (one("Upsample", width_scale=2.0, height_scale=3.0, mode="nearest"), {}, X.repeat(3, 2).repeat(2, 3)),
    "ImageScaler": (one("ImageScaler", scale=2.0, bias=[1.0, 2.0, 3.0]), {}, 2 * X + np.c_[1:4][:, None]),
    "Affine": (one("Affine", alpha=2.0, beta=-1.0), {}, 2 * X - 1),
    "Crop": (one("Crop", border=[1, 0, 2, 1]), {}, X[:, :, 0:-1, 1:-2]),
    "Crop to a size": (one("Crop", border=[1, 2, 0, 0], scale=[2, 3]), {}, X[:, :, 2:4, 1:4]),
    "ScaledTanh": (one("ScaledTanh", alpha=1.7, beta=0.6), {}, 1.7 * np.tanh(0.6 * X)),
    "ParametricSoftplus": (one("ParametricSoftplus", alpha=1.5, beta=0.5), {}, 1.5 * np.log1p(np.exp(0.5 * X))),
    "Scale": (one("Scale", scale=3.0), {}, 3 * X),
    "MeanVarianceNormalization": (
        one("MeanVarianceNormalization"),
        {},
        (X - X.mean((2, 3), keepdims=True)) / X.std((2, 3), keepdims=True),
    ),
}  # fmt: skip
SINCE_7 = {"ImageScaler", "Affine", "Crop", "Crop to a size", "ScaledTanh", "ParametricSoftplus", "Scale"}


@pytest.mark.parametrize("opset", [1, 3, 5, 6])
@pytest.mark.parametrize("name", CASES)
def test_old_nodes_give_what_they_meant(read, name: str, opset: int):
    nodes, constants, expected = CASES[name]
    weights = {key: value.astype(np.float32) if value.dtype == np.float64 else value for key, value in
               ((key, np.asarray(value)) for key, value in constants.items())}  # fmt: skip
    graph = read(model_of(nodes, opset, **weights))
    found = run_graph(graph)({"x": X})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert graph.notes == (f"opset {opset} written anew as 17",)
    assert [layer.kind for layer in graph.layers] == [node.op_type for node in nodes]


@pytest.mark.parametrize("name", SINCE_7)
@pytest.mark.parametrize("opset", [7, 9])
def test_experimental_operators_are_expanded_in_later_opsets(read, name: str, opset: int):
    nodes, constants, expected = CASES[name]
    assert not constants
    model = model_of(nodes, opset)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, expected.shape))
    found = run_graph(read(model))({"x": X})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_whole_network_of_opset_1_without_types_and_opset(read):
    w1, w2 = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32), RNG.normal(size=(5, 4)).astype(np.float32)
    b1, b2 = RNG.normal(size=4).astype(np.float32), RNG.normal(size=5).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "b1"], ["a"], broadcast=1, axis=1),
        helper.make_node("Relu", ["a"], ["r"], consumed_inputs=[0]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Reshape", ["p"], ["f"], shape=[-1, 4]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["g"], transB=1, broadcast=1),
        helper.make_node("Dropout", ["g"], ["d", "mask"], is_test=1),
        helper.make_node("Softmax", ["d"], ["y"]),
    ]
    model = model_of(nodes, 1, w1=w1, w2=w2, b1=b1, b2=b2)
    del model.opset_import[:]
    model.ir_version = 1
    for node in model.graph.node:
        for attribute in node.attribute:
            attribute.ClearField("type")
    graph = read(model, batch="dynamic")
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    y = torch.nn.functional.conv2d(torch.from_numpy(X), torch.from_numpy(w1), torch.from_numpy(b1), padding=1)
    y = torch.relu(y).mean((2, 3)) @ torch.from_numpy(w2).T + torch.from_numpy(b2)
    run = run_graph(graph)
    np.testing.assert_allclose(run({"x": X})["y"], y.softmax(1).numpy(), atol=1e-5)
    np.testing.assert_allclose(run({"x": X[:1]})["y"], y.softmax(1).numpy()[:1], atol=1e-5)


def test_all_that_has_no_rule_is_told_at_once(read):
    nodes = [*one("ConstantFill", "x", "a"), *one("GRUUnit", "a", "b"), *one("Relu", "b", "c"), *one("ATen", "c")]
    with pytest.raises(ImportFailed, match="operators") as error:
        read(model_of(nodes, 1))
    assert all(kind in error.value.message for kind in ("ConstantFill", "GRUUnit", "ATen"))
    loop = one("Loop", "x x x", "y", body=helper.make_graph([], "body", [], []))
    with pytest.raises(ImportFailed, match="Loop"):
        read(model_of([*loop, *one("BatchNormalization", "x x x x x", "z", spatial=0)], 5))


def test_an_axis_out_of_all_bounds_is_refused_at_once(read):
    for axis in (-(2**31), 2**31, 4, -5):
        with pytest.raises(ImportFailed, match="does not fit"):
            read(model_of(one("Add", "x b", broadcast=1, axis=axis), 6, b=PER_CHANNEL.astype(np.float32)))


def test_damaged_old_models_are_refused_or_read(read):
    nodes = CASES["BatchNormalization"][0]
    weights = {"g": GAMMA, "b": BETA, "m": MEAN, "v": VARIANCE}
    for data in mutations(model_of(nodes, 3, **weights).SerializeToString(), 120, 0):
        try:
            read(data)
        except ImportFailed:
            continue


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_files_keep_their_numbers(case):
    assert run_case(case).words == "passed"


def test_every_operator_that_is_the_same_is_one_of_today():
    gone = {"Affine", "Crop", "ImageScaler", "ParametricSoftplus", "Scale", "ScaledTanh", "Upsample"}
    assert all(onnx.defs.has(kind) for kind in set(RULES) - gone)
