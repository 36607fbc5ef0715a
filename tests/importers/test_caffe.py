"""Caffe's layers, one by one beside plain loops; its files of three generations; hostile and damaged ones."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from foreign.caffe import cv2, opencv
from foreign.case import run_graph
from glia.core.errors import ImportFailed
from glia.importers.caffe import IMPORTER
from glia.importers.caffe_layers.schema import CAFFE
from glia.importers.parity import compare
from importers.caffe_files import (
    blob,
    caffemodel,
    convolve,
    deconvolve,
    header,
    layer,
    normalised_across,
    pooled,
    read,
)
from importers.mutate import mutations

SHAPE = (2, 4, 7, 9)
DRAW = np.random.default_rng(3)
X = DRAW.normal(size=SHAPE).astype(np.float32)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


W, B = weights(6, 4, 3, 2), weights(6)
C = np.abs(weights(4)) + 0.5
PER_CHANNEL = C.reshape(1, 4, 1, 1)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def within(x: np.ndarray) -> np.ndarray:
    return x * (1 + 0.2 * pooled(x**2, 3, 1, 1, mean=True)) ** -0.6


def interpolated(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Linear, corners on corners."""
    y, z = np.linspace(0, x.shape[2] - 1, rows), np.linspace(0, x.shape[3] - 1, columns)
    at = [np.minimum(p.astype(int), size - 2) for p, size in ((y, x.shape[2]), (z, x.shape[3]))]
    a, b = (y - at[0])[:, None], (z - at[1])[None]
    corners = [x[:, :, at[0] + i][:, :, :, at[1] + j] for i in (0, 1) for j in (0, 1)]
    return corners[0] * (1 - a) * (1 - b) + corners[1] * (1 - a) * b + corners[2] * a * (1 - b) + corners[3] * a * b


def boxes() -> np.ndarray:
    """SSD's boxes over 7 x 9 places of a picture of 7 x 9, with sizes 3 and 5, ratio 2 and its inverse."""
    found = []
    for i in range(7):
        for j in range(9):
            for w, h in ((3, 3), (15**0.5,) * 2, (3 * 2**0.5, 3 / 2**0.5), (3 / 2**0.5, 3 * 2**0.5)):
                x, y = j + 0.5, i + 0.5
                found.append([(x - w / 2) / 9, (y - h / 2) / 7, (x + w / 2) / 9, (y + h / 2) / 7])
    places = np.clip(np.array(found).reshape(-1), 0, 1)
    return np.stack([places, np.tile([0.1, 0.1, 0.2, 0.2], len(found))])[None]


def statistics(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + eps)


CASES = {
    "Convolution": (
        "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1 pad_w: 0 }",
        [W, B],
        lambda x: convolve(x, W, (2, 2), (1, 0)) + B.reshape(1, -1, 1, 1),
    ),
    "Convolution in groups": (
        "convolution_param { num_output: 8 kernel_size: 3 group: 2 pad: 2 dilation: 2 bias_term: false }",
        [weights(8, 2, 3, 3)],
        lambda x: convolve(x, weights(8, 2, 3, 3), (1, 1), (2, 2), 2, 2),
    ),
    "Deconvolution": (
        "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
        [weights(4, 3, 3, 3), B],
        lambda x: deconvolve(x, weights(4, 3, 3, 3), 2, 1, 2) + B.reshape(1, -1, 1, 1),
    ),
    "InnerProduct": (
        "inner_product_param { num_output: 5 }",
        [weights(5, 252), weights(5)],
        lambda x: x.reshape(2, -1) @ weights(5, 252).T + weights(5),
    ),
    "InnerProduct of old": (
        "inner_product_param { num_output: 5 bias_term: false }",
        [weights(5, 252).reshape(1, 1, 5, 252)],
        lambda x: x.reshape(2, -1) @ weights(5, 252).T,
    ),
    "InnerProduct of the last axis, turned": (
        "inner_product_param { num_output: 5 axis: -1 transpose: true }",
        [weights(9, 5), weights(5)],
        lambda x: x @ weights(9, 5) + weights(5),
    ),
    "Pooling, largest": ("pooling_param { kernel_size: 3 stride: 2 }", [], lambda x: pooled(x, 3, 2, 0, mean=False)),
    "Pooling, largest, padded": (
        "pooling_param { kernel_size: 2 stride: 2 pad: 1 }",
        [],
        lambda x: pooled(x, 2, 2, 1, mean=False),
    ),
    "Pooling, mean": (
        "pooling_param { pool: AVE kernel_size: 4 stride: 3 pad: 1 }",
        [],
        lambda x: pooled(x, 4, 3, 1, mean=True),
    ),
    "Pooling, mean, not padded": (
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 }",
        [],
        lambda x: pooled(x, 2, 2, 0, mean=True),
    ),
    "Pooling, rounded down": (
        "pooling_param { pool: AVE kernel_size: 2 stride: 2 round_mode: FLOOR }",
        [],
        lambda x: pooled(x, 2, 2, 0, mean=True, up=False),
    ),
    "Pooling of everything": (
        "pooling_param { pool: AVE global_pooling: true }",
        [],
        lambda x: x.mean((2, 3), keepdims=True),
    ),
    "LRN": (
        "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }",
        [],
        lambda x: normalised_across(x, 3, 0.5, 0.6, 2.0),
    ),
    "LRN in the picture": ("lrn_param { local_size: 3 alpha: 0.2 beta: 0.6 norm_region: WITHIN_CHANNEL }", [], within),
    "BatchNorm": (
        "batch_norm_param { eps: 0.001 }",
        [weights(4) * 3, C * 3, np.array([3], np.float32)],
        lambda x: (x - weights(4).reshape(1, 4, 1, 1)) / np.sqrt(PER_CHANNEL + 1e-3),
    ),
    "BatchNorm of five": (
        "",
        [weights(4), C, np.ones(1, np.float32), C + 1, weights(4) - 1],
        lambda x: (
            (x - weights(4).reshape(1, 4, 1, 1)) / np.sqrt(PER_CHANNEL + 1e-5) * (PER_CHANNEL + 1)
            + weights(4).reshape(1, 4, 1, 1)
            - 1
        ),
    ),
    "BatchNorm of the batch": (
        "batch_norm_param { use_global_stats: false }",
        [],
        lambda x: (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5),
    ),
    "BN of four": (
        "",
        [C, weights(4), weights(4) + 1, C],
        lambda x: (
            (x - weights(4).reshape(1, 4, 1, 1) - 1) / np.sqrt(PER_CHANNEL + 1e-5) * PER_CHANNEL
            + weights(4).reshape(1, 4, 1, 1)
        ),
    ),
    "BN of two": ("", [C, weights(4)], lambda x: x * PER_CHANNEL + weights(4).reshape(1, 4, 1, 1)),
    "Scale": (
        "scale_param { bias_term: true }",
        [C, weights(4)],
        lambda x: x * PER_CHANNEL + weights(4).reshape(1, 4, 1, 1),
    ),
    "Scale of two axes": (
        "scale_param { axis: 1 num_axes: 2 }",
        [weights(4, 7)],
        lambda x: x * weights(4, 7).reshape(1, 4, 7, 1),
    ),
    "Bias": ("bias_param { }", [weights(4)], lambda x: x + weights(4).reshape(1, 4, 1, 1)),
    "PReLU": ("", [weights(4)], lambda x: np.where(x > 0, x, x * weights(4).reshape(1, 4, 1, 1))),
    "PReLU of one": (
        "prelu_param { channel_shared: true }",
        [weights(1)],
        lambda x: np.where(x > 0, x, x * weights(1)),
    ),
    "Normalize": (
        "norm_param { across_spatial: false channel_shared: false }",
        [C],
        lambda x: x / np.sqrt((x**2).sum(1, keepdims=True)) * PER_CHANNEL,
    ),
    "Normalize of everything": (
        "norm_param { }",
        [weights(1)],
        lambda x: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True)) * weights(1),
    ),
    "MVN": ("", [], lambda x: statistics(x, (2, 3), 1e-9)),
    "MVN of all": ("mvn_param { across_channels: true eps: 0.1 }", [], lambda x: statistics(x, (1, 2, 3), 0.1)),
    "ReLU": ("relu_param { negative_slope: 0.2 }", [], lambda x: np.where(x > 0, x, 0.2 * x)),
    "ELU": ("elu_param { alpha: 0.5 }", [], lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
    "Sigmoid": ("", [], lambda x: 1 / (1 + np.exp(-x))),
    "TanH": ("", [], np.tanh),
    "AbsVal": ("", [], np.abs),
    "BNLL": ("", [], lambda x: np.log1p(np.exp(x))),
    "Swish": ("swish_param { beta: 2 }", [], lambda x: x / (1 + np.exp(-2 * x))),
    "Clip": ("clip_param { min: -0.5 max: 0.25 }", [], lambda x: x.clip(-0.5, 0.25)),
    "ReLU6": ("", [], lambda x: x.clip(0, 6)),
    "Power": ("power_param { power: 2 scale: 0.5 shift: 3 }", [], lambda x: (3 + 0.5 * x) ** 2),
    "Exp": ("exp_param { base: 2 scale: 0.5 shift: 1 }", [], lambda x: 2 ** (1 + 0.5 * x)),
    "Log": ("log_param { base: 10 scale: 0.1 shift: 4 }", [], lambda x: np.log10(4 + 0.1 * x)),
    "Threshold": ("threshold_param { threshold: 0.3 }", [], lambda x: (x > 0.3).astype(np.float32)),
    "Dropout": ("", [], lambda x: x),
    "Softmax": ("", [], lambda x: softmax(x, 1)),
    "Softmax of the last axis": ("softmax_param { axis: -1 }", [], lambda x: softmax(x, 3)),
    "Flatten": ("", [], lambda x: x.reshape(2, -1)),
    "Flatten in the middle": ("flatten_param { axis: 1 end_axis: 2 }", [], lambda x: x.reshape(2, 28, 9)),
    "Reshape": ("reshape_param { shape { dim: 0 dim: -1 dim: 9 } }", [], lambda x: x.reshape(2, 28, 9)),
    "Reshape of some axes": (
        "reshape_param { shape { dim: 2 dim: 2 } axis: 1 num_axes: 1 }",
        [],
        lambda x: x.reshape(2, 2, 2, 7, 9),
    ),
    "Permute": ("permute_param { order: 0 order: 2 order: 3 order: 1 }", [], lambda x: x.transpose(0, 2, 3, 1)),
    "Tile": ("tile_param { axis: 2 tiles: 3 }", [], lambda x: np.tile(x, (1, 1, 3, 1))),
    "Reduction": ("reduction_param { operation: SUMSQ axis: 1 coeff: 0.5 }", [], lambda x: 0.5 * (x**2).sum((1, 2, 3))),
    "ArgMax": ("argmax_param { axis: 1 }", [], lambda x: x.argmax(1)[:, None].astype(np.float32)),
    "ArgMax of everything": (
        "argmax_param { out_max_val: true }",
        [],
        lambda x: np.stack([x.reshape(2, -1).argmax(1), x.reshape(2, -1).max(1)], 1)[:, :, None],
    ),
    "Interp": ("interp_param { height: 13 width: 17 }", [], lambda x: interpolated(x, 13, 17)),
    "Interp by factors": (
        "interp_param { shrink_factor: 2 zoom_factor: 3 pad_beg: 0 pad_end: -1 }",
        [],
        lambda x: interpolated(x[:, :, :-1, :-1], 3 + 2 * 2, 4 + 3 * 2),
    ),
    "Upsample": ("upsample_param { scale: 2 }", [], lambda x: x.repeat(2, 2).repeat(2, 3)),
    "ShuffleChannel": (
        "shuffle_channel_param { group: 2 }",
        [],
        lambda x: x.reshape(2, 2, 2, 7, 9).transpose(0, 2, 1, 3, 4).reshape(2, 4, 7, 9),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_layer_gives_what_its_loops_give(tmp_path: Path, name: str):
    parameters, blobs, reference = CASES[name]
    kind = name.split(",")[0].split()[0]
    graph = read(tmp_path, header(SHAPE) + layer(kind, parameters), caffemodel({"y": blobs}))
    (found,) = run_graph(graph)({"data": X}).values()
    np.testing.assert_allclose(found, reference(X.astype(np.float64)), rtol=2e-4, atol=2e-5)


SEVERAL = {
    "Eltwise of products": (layer("Eltwise", "eltwise_param { operation: PROD }", ["data", "data"]), lambda x: x * x),
    "Eltwise of sums": (
        layer("TanH", "", tops=["t"]) + layer("Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 }", ["data", "t"]),
        lambda x: 2 * x - 0.5 * np.tanh(x),
    ),
    "Eltwise of maxima": (
        layer("TanH", "", tops=["t"]) + layer("Eltwise", "eltwise_param { operation: MAX }", ["data", "t"]),
        lambda x: np.maximum(x, np.tanh(x)),
    ),
    "Concat": (layer("Concat", "concat_param { axis: 2 }", ["data", "data"]), lambda x: np.concatenate([x, x], 2)),
    "Slice at points": (
        layer("Slice", "slice_param { axis: 1 slice_point: 1 slice_point: 3 }", tops=["a", "b", "c"])
        + layer("Concat", "", ["b", "c", "a"]),
        lambda x: x[:, [1, 2, 3, 0]],
    ),
    "Slice in halves": (
        layer("Slice", "", tops=["a", "b"]) + layer("Concat", "", ["b", "a"]), lambda x: x[:, [2, 3, 0, 1]]
    ),
    "Crop": (
        layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops=["small"])
        + layer("Crop", "crop_param { axis: 2 offset: 1 offset: 2 }", ["data", "small"])
        + layer("Concat", "", ["y", "y"], ["z"]) + layer("Eltwise", "", ["small", "small"], ["s"]),
        None,
    ),
    "Scale by another": (
        layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", tops=["m"])
        + layer("Flatten", "", ["m"], ["f"]) + layer("Scale", "scale_param { axis: 0 }", ["data", "f"]),
        lambda x: x * x.mean((2, 3), keepdims=True),
    ),
    "Axpy": (
        layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", tops=["m"])
        + layer("Axpy", "", ["m", "data", "data"]),
        lambda x: x * x.mean((2, 3), keepdims=True) + x,
    ),
    "in place": (
        layer("Power", "power_param { shift: 1 }", ["data"], ["y"])
        + layer("ReLU", "", ["y"], ["y"]).replace('name: "y"', 'name: "r"')
        + layer("Dropout", "", ["y"], ["y"]).replace('name: "y"', 'name: "d"'),
        lambda x: np.maximum(x + 1, 0),
    ),
    "PriorBox": (
        layer(
            "PriorBox",
            "prior_box_param { min_size: 3 max_size: 5 aspect_ratio: 2 clip: true variance: 0.1 variance: 0.1 "
            "variance: 0.2 variance: 0.2 }",
            ["data", "data"],
        ),
        lambda x: boxes(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, (_, reference) in SEVERAL.items() if reference])
def test_layers_that_work_together_give_what_their_loops_give(tmp_path: Path, name: str):
    text, reference = SEVERAL[name]
    graph = read(tmp_path, header(SHAPE) + text)
    (found,) = run_graph(graph)({"data": X}).values()
    np.testing.assert_allclose(found, reference(X.astype(np.float64)), rtol=1e-4, atol=1e-5)


def test_crops_take_the_size_of_another_even_if_it_is_open(tmp_path: Path):
    graph = read(tmp_path, header(SHAPE) + SEVERAL["Crop"][0], outputs=["y"])
    assert graph.model.graph.input[0].type.tensor_type.shape.dim[2].dim_param == "h"
    for rows, columns in ((7, 9), (10, 12)):
        x = DRAW.normal(size=(1, 4, rows, columns)).astype(np.float32)
        (found,) = run_graph(graph)({"data": x}).values()
        np.testing.assert_array_equal(found, x[:, :, 1 : 1 + (rows + 1) // 2, 2 : 2 + (columns + 1) // 2])


@pytest.mark.parametrize(("rows", "columns"), [(7, 9), (8, 8), (13, 10)])
@pytest.mark.parametrize("settings", [(3, 2, 0), (2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 3, 1)])
@pytest.mark.parametrize("mean", [False, True])
def test_pooling_rounds_up_where_sizes_are_open(tmp_path: Path, rows, columns, settings, mean):
    kernel, stride, pad = settings
    kind = "AVE" if mean else "MAX"
    text = layer("Pooling", f"pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad} }}")
    graph = read(tmp_path, header(SHAPE) + text)
    x = DRAW.normal(size=(1, 4, rows, columns)).astype(np.float32)
    (found,) = run_graph(graph)({"data": x}).values()
    np.testing.assert_allclose(found, pooled(x.astype(np.float64), *settings, mean=mean), rtol=1e-5, atol=1e-6)


FIRST = """
name: "old" input: "data" input_dim: 2 input_dim: 4 input_dim: 7 input_dim: 9
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 6 kernelsize: 3 stride: 2 } bottom: "pad" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "conv" top: "pool" }
layers { layer { name: "norm" type: "lrn" local_size: 3 alpha: 0.1 } bottom: "pool" top: "norm" }
layers { layer { name: "fc" type: "innerproduct" num_output: 3 } bottom: "norm" top: "fc" }
layers { layer { name: "prob" type: "softmax" } bottom: "fc" top: "prob" }
"""
SECOND = """
name: "old" input: "data" input_dim: 2 input_dim: 4 input_dim: 7 input_dim: 9
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
         convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layers { name: "norm" type: LRN bottom: "pool" top: "norm" lrn_param { local_size: 3 alpha: 0.1 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "norm" top: "fc" inner_product_param { num_output: 3 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""
OLD = {"conv": [weights(6, 4, 3, 3), weights(6)], "fc": [weights(3, 36), weights(3)]}


def answer_of_old() -> np.ndarray:
    x = convolve(X, OLD["conv"][0], (2, 2), (1, 1)) + OLD["conv"][1].reshape(1, -1, 1, 1)
    x = normalised_across(pooled(np.maximum(x, 0), 2, 2, 0, mean=False), 3, 0.1, 0.75, 1.0)
    return softmax(x.reshape(2, -1) @ OLD["fc"][0].T + OLD["fc"][1], 1)


def old_model(text: str) -> bytes:
    """A text's message with the weights in its layers, as Caffe wrote them: in four sizes."""
    message = CAFFE.parse_text("NetParameter", text, "old")
    for one in message.layers:
        inner = one.layer if one.HasField("layer") else one
        for array in OLD.get(inner.name.decode(), ()):
            sizes = (1,) * (4 - array.ndim) + array.shape
            fields = dict(zip(("num", "channels", "height", "width"), sizes, strict=True))
            inner.blobs.add(data=array.reshape(-1), **fields)
    return message.SerializeToString()


@pytest.mark.parametrize("text", [FIRST, SECOND], ids=["first", "second"])
@pytest.mark.parametrize("alone", [True, False])
def test_older_generations_are_read_with_and_without_their_text(tmp_path: Path, text: str, alone: bool):
    files = (old_model(text),) if alone else (text, old_model(text))
    graph = read(tmp_path, *files)
    (found,) = run_graph(graph)({"data": X}).values()
    np.testing.assert_allclose(found, answer_of_old(), rtol=1e-4, atol=1e-6)
    assert list(graph.inputs) == ["image"]
    assert graph.outputs == {"scores": "prob"}
    assert graph.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


TRAIN = """
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }
        transform_param { scale: 0.5 mean_value: 1 mean_value: 2 mean_value: 3 mean_value: 4 } }
layer { name: "y" type: "InnerProduct" bottom: "data" top: "y" inner_product_param { num_output: 3 } }
layer { name: "extra" type: "ReLU" bottom: "y" top: "z" include { phase: TRAIN } }
layer { name: "halved" type: "Power" bottom: "label" top: "half" }
layer { name: "accuracy" type: "Accuracy" bottom: "y" bottom: "half" top: "accuracy" exclude { phase: TRAIN } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""


def test_a_text_for_training_becomes_a_network_that_answers(tmp_path: Path):
    model = caffemodel({"y": [weights(3, 252), weights(3)]})
    graph = read(tmp_path, TRAIN, model, 'net: "train.prototxt"\nbase_lr: 0.1\n', input_size=[7, 9])
    assert graph.outputs == {"scores": "prob"}
    assert graph.known == {"size": [7, 9], "mean": [1, 2, 3, 4], "std": [2, 2, 2, 2]}
    (found,) = run_graph(graph)({"data": X}).values()
    np.testing.assert_allclose(found, softmax(X.reshape(2, -1) @ weights(3, 252).T + weights(3), 1), rtol=1e-4)
    with pytest.raises(ImportFailed, match="option input_size"):
        read(tmp_path, TRAIN, model)


def test_a_text_with_stages_is_read_for_use(tmp_path: Path):
    text = """
    layer { name: "d" type: "Data" top: "data" top: "label" include { stage: "train" } }
    layer { name: "d" type: "Input" top: "data" include { stage: "deploy" }
            input_param { shape { dim: 1 dim: 4 dim: 7 dim: 9 } } }
    layer { name: "y" type: "TanH" bottom: "data" top: "y" }
    layer { name: "l" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "l" exclude { stage: "deploy" } }
    layer { name: "s" type: "Softmax" bottom: "y" top: "s" include { stage: "deploy" } }
    """
    graph = read(tmp_path, text)
    assert graph.outputs == {"scores": "s"}
    assert graph.known["size"] == [7, 9]


def test_what_training_saved_is_a_network_by_itself(tmp_path: Path):
    message = CAFFE.parse_text("NetParameter", TRAIN, "train")
    for at in range(len(message.layer) - 1, -1, -1):  # as it was trained: without the layers of the other phase
        rules = message.layer[at].include or message.layer[at].exclude
        if any(rule.phase == 1 for rule in message.layer[at].include) or message.layer[at].name == b"accuracy":
            del message.layer[at]
        elif rules:
            assert rules[0].phase == 0
    message.layer[1].blobs.extend([blob(weights(3, 252)), blob(weights(3))])
    graph = read(tmp_path, message.SerializeToString(), input_size=[7, 9], outputs=["prob"])
    assert graph.model.graph.input[0].type.tensor_type.shape.dim[1].dim_value == 4
    (found,) = run_graph(graph)({"data": X}).values()
    np.testing.assert_allclose(found, softmax(X.reshape(2, -1) @ weights(3, 252).T + weights(3), 1), rtol=1e-4)


def test_means_and_labels_that_lie_beside_are_known(tmp_path: Path):
    planes = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1) + np.zeros((1, 3, 5, 5), np.float32)
    mean = CAFFE.new("BlobProto", num=1, channels=3, height=5, width=5, data=planes.reshape(-1)).SerializeToString()
    text = header((1, 3, 5, 5)) + layer("Pooling", "pooling_param { global_pooling: true }")
    graph = read(tmp_path, text, mean, "n00000001 a cat\nn00000002 a dog, a hound\nn00000003 a bird\n")
    assert graph.known["mean"] == [0, 1, 2]
    assert graph.known["labels"] == ["a cat", "a dog, a hound", "a bird"]
    assert graph.known["label_ids"] == ["n00000001", "n00000002", "n00000003"]
    assert graph.known["size"] == [5, 5]


def test_a_batch_in_a_literal_shape_stays_open(tmp_path: Path):
    text = header((1, 4, 7, 9)) + layer("Reshape", "reshape_param { shape { dim: 1 dim: -1 dim: 9 } }")
    (found,) = run_graph(read(tmp_path, text))({"data": X}).values()
    np.testing.assert_array_equal(found, X.reshape(2, 28, 9))


def test_halves_and_doubles_are_read(tmp_path: Path):
    text = header(SHAPE) + layer("Bias", "bias_param { }")
    values = np.array([1, 2, -0.5, 3], np.float32)
    shape = CAFFE.new("BlobShape", dim=[4])
    for one in (
        CAFFE.new("BlobProto", shape=shape, double_data=values),
        CAFFE.new("BlobProto", shape=shape, raw_data=values.astype("<f2").tobytes(), raw_data_type=2),
    ):
        message = CAFFE.new("NetParameter", name=b"n")
        message.layer.add(name=b"y", type=b"Bias", blobs=[one])
        (found,) = run_graph(read(tmp_path, text, message.SerializeToString()))({"data": X}).values()
        np.testing.assert_allclose(found, X + values.reshape(1, 4, 1, 1), rtol=1e-6)


def test_blobs_of_caffejs_are_found_by_their_layers(tmp_path: Path):
    text = header(SHAPE) + layer(
        "Convolution", "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 }", tops=["a/b"]
    )
    (tmp_path / "net").write_text(text)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b_filter.bin").write_bytes(W.transpose(0, 2, 3, 1).tobytes())
    (tmp_path / "a" / "b_bias.bin").write_bytes(B.tobytes())
    files = {str(path): path for path in (tmp_path / "net", *(tmp_path / "a").iterdir())}
    (found,) = run_graph(IMPORTER.read(files, {})["model"])({"data": X}).values()
    np.testing.assert_allclose(found, convolve(X, W, (1, 1), (0, 0)) + B.reshape(1, -1, 1, 1), rtol=1e-4, atol=1e-5)


def coded(values: np.ndarray, bias: np.ndarray) -> bytes:
    """Deep Compression's file of one convolution: places that hold the codebook's first are skipped."""
    codebook = np.zeros(256, np.float32)
    flat = values.reshape(-1)
    codebook[: len(np.unique(flat))] = sorted(np.unique(flat), key=lambda value: value != 0)
    codes, gaps, gap = [], [], 0
    for value in flat:
        code = int(np.flatnonzero(codebook == value)[0])
        if code or gap == 15:
            codes.append(code)
            gaps.append(gap)
            gap = 0
        else:
            gap += 1
    halves = [*gaps, 0][: len(gaps) + len(gaps) % 2]
    packed = bytes(low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True))
    return np.uint32(len(codes)).tobytes() + codebook.tobytes() + bias.tobytes() + bytes(codes) + packed


def test_a_file_of_deep_compression_is_decoded(tmp_path: Path):
    values = np.where(DRAW.random(W.shape) < 0.06, np.sign(W), 0).astype(np.float32)
    text = header(SHAPE) + layer("Convolution", "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 }")
    data = coded(values, B)
    (found,) = run_graph(read(tmp_path, text, data))({"data": X}).values()
    np.testing.assert_allclose(
        found, convolve(X, values, (1, 1), (0, 0)) + B.reshape(1, -1, 1, 1), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ImportFailed, match="as a file of Deep Compression it does not fit"):
        read(tmp_path, text, data + b"x")


def test_outputs_may_be_asked_for_and_each_layer_is_told(tmp_path: Path):
    graph = read(tmp_path, SECOND, old_model(SECOND), outputs=["pool", "relu", "fc"])
    assert list(graph.outputs) == ["pool", "relu", "fc"]
    assert [layer.kind for layer in graph.layers][:3] == ["Convolution", "ReLU", "Pooling"]
    assert graph.layers[0].parameters == 6 * 4 * 9 + 6
    assert graph.layers[0].nodes == ("Conv",)
    with pytest.raises(ImportFailed, match="No blob or layer is called 'pols'"):
        read(tmp_path, SECOND, old_model(SECOND), outputs="pols")


DECODER = (
    "detection_output_param { num_classes: 2 nms_param { nms_threshold: 0.45 } code_type: CENTER_SIZE keep_top_k: 50 }"
)


def test_detection_ends_before_boxes_are_chosen(tmp_path: Path):
    text = header(SHAPE) + layer("TanH", tops=["loc"]) + layer("ReLU", tops=["conf"])
    text += layer(
        "DetectionOutput",
        DECODER,
        ["loc", "conf"],
        ["out"],
    )
    labels = (
        "item { name: 'b' label: 1 display_name: 'bird' } item { name: 'none' label: 0 display_name: 'background' }"
    )
    graph = read(tmp_path, text, labels)
    assert list(graph.outputs) == ["loc", "conf"]
    assert "without suppression" in graph.notes[0]
    assert graph.known["labels"] == ["background", "bird"]
    assert graph.known["detection"] == {
        "boxes": ["loc", "conf"], "classes": 2, "background": 0, "code": 2, "variance_in_target": False,
        "nms_threshold": 0.45, "confidence_threshold": 0.0, "keep": 50,
    }  # fmt: skip


def test_everything_unsupported_is_told_at_once(tmp_path: Path):
    text = header(SHAPE) + layer("Python", 'python_param { module: "x" }', tops=["a"])
    text += layer("Mystery", "mystery_param { deep { er: 1 } }", tops=["b"]) + layer("ReLU", "", ["b"], ["c"])
    text += layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", tops=["d"])
    with pytest.raises(ImportFailed) as error:
        read(tmp_path, text)
    for words in (
        "3 layers cannot be imported", "a (Python): its program is Python code",
        "b (Mystery): this kind of layer is not supported", "d (Pooling): stochastic pooling is not supported",
    ):  # fmt: skip
        assert words in error.value.message


FAULTS = {
    "weights that are missing": (layer("Bias", "bias_param { }"), {}, "has 0 of that name|Give the prototxt"),
    "weights of another size": (layer("Bias", "bias_param { }"), {"y": [weights(5)]}, r"shape \[5\]"),
    "NaN": (layer("Bias", "bias_param { }"), {"y": [np.full(4, np.nan, np.float32)]}, "NaN"),
    "an axis that is not there": (layer("Softmax", "softmax_param { axis: 9 }"), {}, "axis 9 of a tensor of 4"),
    "a window of nothing": (layer("Pooling", "pooling_param { stride: 1 }"), {}, "cannot be"),
    "groups that do not divide": (
        layer("Convolution", "convolution_param { num_output: 6 kernel_size: 1 group: 3 }"), {}, "in 3 groups"
    ),
    "an input that nothing gives": (layer("ReLU", "", ["ghost"]), {}, "'ghost', which no layer before it gives"),
    "a reshape that cannot be": (
        layer("Reshape", "reshape_param { shape { dim: 0 dim: 5 dim: 5 } }"), {}, "another number of elements"
    ),
    "copies without end": (layer("Tile", "tile_param { tiles: 2000000000 }"), {}, "2000000000 copies"),
    "boxes without number": (
        layer("PriorBox", "prior_box_param { %s }" % ("min_size: 1 " * 40_000), ["data", "data"]), {}, "cannot be"
    ),
    "a picture of 10^9": (layer("Upsample", "upsample_param { scale: 1000000000 }"), {}, "factor"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_layers_that_cannot_be_are_told(tmp_path: Path, name: str):
    text, blobs, words = FAULTS[name]
    with pytest.raises(ImportFailed, match=words):
        read(tmp_path, header(SHAPE) + text, caffemodel(blobs or {"other": []}))


def test_windows_must_fit_the_size_that_was_asked_for(tmp_path: Path):
    text = header(SHAPE) + layer("Pooling", "pooling_param { kernel_size: 8 }")
    with pytest.raises(ImportFailed, match="a window of 8 is larger than its input of 7"):
        read(tmp_path, text, input_size=[7, 9])
    assert read(tmp_path, text, input_size=8).known["size"] == [8, 8]
    assert read(tmp_path, text).known["size"] == [7, 9]


def test_files_that_are_no_network_fail_the_import(tmp_path: Path):
    wide = "name: 'a' input: 'data' input_shape { dim: 1 dim: 999999999 dim: 999999999 } layer { type: 'ReLU' }"
    deep = "layer { type: 'X' name: 'x' x { " + "a { " * 5000 + "} " * 5000 + "} }"
    for text in (
        wide,
        deep,
        "layer { type: 'ReLU' ",
        "layer { type: 5 name: 'a' }",
        "layer { name: 'a' type: 'ReLU' }",
    ):
        with pytest.raises(ImportFailed):
            read(tmp_path, text)
    crowd = CAFFE.new("NetParameter", layer=[CAFFE.new("Layer", name=b"a", type=b"ReLU")] * 20_001)
    with pytest.raises(ImportFailed, match="more than 20000 layers"):
        read(tmp_path, crowd.SerializeToString())


def test_a_flipped_kernel_is_seen_by_parity(tmp_path: Path):
    parameters, blobs, reference = CASES["Convolution"]
    graph = read(tmp_path, header(SHAPE) + layer("Convolution", parameters), caffemodel({"y": blobs}))
    expected = {"y": reference(X)}
    compare(lambda _: expected, run_graph(graph), [{"data": X}], 1e-4, "loops")
    kernel = next(i for i in graph.model.graph.initializer if len(i.dims) == 4)
    flipped = np.ascontiguousarray(onnx.numpy_helper.to_array(kernel)[:, :, ::-1])
    kernel.CopyFrom(onnx.numpy_helper.from_array(flipped, kernel.name))
    with pytest.raises(ImportFailed, match="off loops"):
        compare(lambda _: expected, run_graph(graph), [{"data": X}], 1e-4, "loops")


def test_damaged_files_fail_the_import_and_nothing_else(tmp_path: Path):
    model = old_model(SECOND)
    pairs = [(one, model) for one in mutations(SECOND.encode(), 80, 1)]
    pairs += [(SECOND.encode(), one) for one in mutations(model, 60, 2)]
    pairs += [(one,) for one in mutations(model, 60, 3)]
    for files in pairs:
        began = time.monotonic()
        try:
            read(tmp_path, *files)
        except ImportFailed as error:
            assert len(error.message) < 20_000  # noqa: PT017
        assert time.monotonic() - began < 5


def test_it_answers_for_its_own_files_only():
    for text in (FIRST, SECOND, TRAIN):
        assert IMPORTER.sniff(text.encode(), len(text))
    for model in (old_model(FIRST), old_model(SECOND), caffemodel({"y": [weights(4)]})):
        assert IMPORTER.sniff(model, len(model))
        assert IMPORTER.sniff(model[: len(model) // 2], len(model))
    graph = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
    )
    tensorflow = b"\n\x1a\n\x01x\x12\x0bPlaceholder*\x08\n\x05dtype" + b"\n\x0f\n\x01y\x12\x04Relu\x1a\x01x*\x01\n" * 3
    session = b"\n\x04\n\x02ab\x12" + bytes([len(tensorflow)]) + tensorflow  # a MetaGraphDef
    for other in (
        session,
        b"",
        b"{}",
        b"[net]\nwidth=3\n",
        graph.SerializeToString(),
        tensorflow,
        b"\x08\x01\x12\x04",
        blob(B).SerializeToString(),
        b'{"layers": [{"name": "a"}]}',
        b'net: "a.prototxt"\nbase_lr: 1',
        b"\x89PNG\r\n\x1a\n" + bytes(99),
    ):
        assert not IMPORTER.sniff(other, len(other))


def chain(*layers: tuple[str, str]) -> str:
    """Layers that each read the one before, called a, b, c ..."""
    names = ["data", *"abcdefghijkl"]
    return "".join(layer(kind, text, [names[at]], [names[at + 1]]) for at, (kind, text) in enumerate(layers))


CONVOLUTION = "convolution_param { num_output: %d kernel_size: %d pad: %d stride: %d }"
RESIDUAL = (
    chain(
        ("Convolution", CONVOLUTION % (6, 3, 1, 2)),
        ("BatchNorm", ""),
        ("Scale", "scale_param { bias_term: true }"),
        ("ReLU", ""),
        ("Convolution", CONVOLUTION % (6, 3, 1, 1)),
        ("BatchNorm", "batch_norm_param { eps: 0.0001 }"),
    )
    + layer("Convolution", CONVOLUTION % (6, 1, 0, 2), ["data"], ["side"])
    + layer("Eltwise", "", ["f", "side"], ["sum"])
    + layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", ["sum"], ["pool"])
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", ["pool"], ["fc"])
    + layer("Softmax", "", ["fc"], ["prob"])
)
DETECTOR = (
    chain(("Convolution", CONVOLUTION % (8, 3, 1, 2)), ("ReLU", ""))
    + layer("Normalize", "norm_param { across_spatial: false channel_shared: false }", ["b"], ["n"])
    + layer("Convolution", CONVOLUTION % (16, 3, 1, 1), ["n"], ["l"])
    + layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", ["l"], ["lp"])
    + layer("Flatten", "flatten_param { axis: 1 }", ["lp"], ["loc"])
    + layer("Convolution", CONVOLUTION % (12, 3, 1, 1), ["n"], ["c"])
    + layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", ["c"], ["cp"])
    + layer("Flatten", "flatten_param { axis: 1 }", ["cp"], ["cf"])
    + layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }", ["cf"], ["cr"])
    + layer("Softmax", "softmax_param { axis: 2 }", ["cr"], ["cs"])
    + layer("Flatten", "flatten_param { axis: 1 }", ["cs"], ["conf"])
    + layer(
        "PriorBox",
        "prior_box_param { min_size: 10 max_size: 20 aspect_ratio: 2 flip: true clip: false variance: 0.1 "
        "variance: 0.1 variance: 0.2 variance: 0.2 step: 2 offset: 0.5 }",
        ["b", "data"],
        ["priors"],
    )
)
SEGMENTER = (
    chain(
        ("Convolution", CONVOLUTION % (6, 3, 10, 1)),
        ("PReLU", ""),
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 }"),
    )
    + layer(
        "Deconvolution", "convolution_param { num_output: 3 kernel_size: 4 stride: 2 bias_term: false }", ["c"], ["u"]
    )
    + layer("Crop", "crop_param { axis: 2 offset: 4 }", ["u", "data"], ["score"])
)
HEADS = {"residual": ["prob"], "detector": ["loc", "conf", "priors"], "segmenter": ["score"]}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


STEPS = np.random.default_rng(8).normal(size=(4, 2, 3)).astype(np.float32)
GOES_ON = np.array([[0, 0], [1, 1], [1, 0], [1, 1]], np.float32)
STATIC = np.random.default_rng(9).normal(size=(2, 5)).astype(np.float32)


def lstm_loop(x: np.ndarray, cont: np.ndarray, arrays: list[np.ndarray]) -> np.ndarray:
    state, memory, found = np.zeros((2, 6)), np.zeros((2, 6)), []
    for step, goes in zip(x, cont[:, :, None], strict=True):
        sums = step @ arrays[0].T + arrays[1] + (state * goes) @ arrays[-1].T
        sums = sums + STATIC @ arrays[2].T if len(arrays) == 4 else sums
        i, f, o, g = np.split(sums, 4, 1)
        memory = sigmoid(f) * goes * memory + sigmoid(i) * np.tanh(g)
        state = sigmoid(o) * np.tanh(memory)
        found.append(state)
    return np.stack(found)


def rnn_loop(x: np.ndarray, cont: np.ndarray, arrays: list[np.ndarray]) -> np.ndarray:
    state, found = np.zeros((2, 6)), []
    for step, goes in zip(x, cont[:, :, None], strict=True):
        state = np.tanh(step @ arrays[0].T + arrays[1] + (state * goes) @ arrays[2].T)
        found.append(np.tanh(state @ arrays[3].T + arrays[4]))
    return np.stack(found)


@pytest.mark.parametrize("kind", ["LSTM", "LSTM with more", "RNN"])
def test_recurrent_layers_heed_where_sequences_begin(tmp_path: Path, kind: str):
    if kind == "RNN":
        arrays, loop = [weights(6, 3), weights(6), weights(6, 6), weights(6, 6).T.copy(), weights(6)], rnn_loop
    else:
        arrays, loop = [weights(24, 3), weights(24), *[weights(24, 5)] * ("more" in kind), weights(24, 6)], lstm_loop
    inputs = {"x": STEPS, "cont": GOES_ON} | ({"static": STATIC} if "more" in kind else {})
    text = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in array.shape)} }} '
        for name, array in inputs.items()
    )
    text += layer(kind.split()[0], "recurrent_param { num_output: 6 }", list(inputs))
    (found,) = run_graph(read(tmp_path, text, caffemodel({"y": arrays})))(inputs).values()
    np.testing.assert_allclose(found, loop(STEPS, GOES_ON, arrays), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", ["", "upsample_h: 7 upsample_w: 9"])
def test_places_of_pooling_are_put_back(tmp_path: Path, size: str):
    shape = (2, 4, 7, 9) if size else (2, 4, 6, 8)
    text = header(shape) + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops=["p", "mask"])
    text += layer("Upsample", f"upsample_param {{ scale: 2 {size} }}", ["p", "mask"])
    x = DRAW.normal(size=shape).astype(np.float32)
    (found,) = run_graph(read(tmp_path, text))({"data": x}).values()
    expected = np.zeros_like(x)
    for i in range(0, shape[2], 2):
        for j in range(0, shape[3], 2):
            part = x[:, :, i : i + 2, j : j + 2]
            expected[:, :, i : i + 2, j : j + 2] = np.where(part == part.max((2, 3), keepdims=True), part, 0)
    np.testing.assert_array_equal(found, expected)


def random_blobs(graph_of: str) -> dict[str, list[np.ndarray]]:
    """Weights of the right shapes for one of the three networks."""
    found: dict[str, list[np.ndarray]] = {}
    if graph_of == "residual":
        found = {
            "a": [weights(6, 4, 3, 3), weights(6)], "b": [weights(6), np.abs(weights(6)) + 1, np.ones(1, np.float32)],
            "c": [weights(6), weights(6)], "e": [weights(6, 6, 3, 3), weights(6)],
            "f": [weights(6), np.abs(weights(6)) + 1, np.full(1, 0.5, np.float32)],
            "side": [weights(6, 4, 1, 1), weights(6)], "fc": [weights(3, 6 * 5 * 5), weights(3)],
        }  # fmt: skip
    elif graph_of == "detector":
        found = {
            "a": [weights(8, 4, 3, 3), weights(8)], "n": [np.abs(weights(8))],
            "l": [weights(16, 8, 3, 3), weights(16)], "c": [weights(12, 8, 3, 3), weights(12)],
        }  # fmt: skip
    else:
        found = {"a": [weights(6, 4, 3, 3), weights(6)], "b": [weights(6)], "u": [weights(6, 3, 4, 4)]}
    return found


@pytest.mark.skipif(cv2 is None, reason="OpenCV is not installed")
@pytest.mark.parametrize(("name", "text"), [("residual", RESIDUAL), ("detector", DETECTOR), ("segmenter", SEGMENTER)])
def test_networks_give_what_opencv_gives(tmp_path: Path, name: str, text: str):
    text, model = header((1, 4, 16, 16)) + text, caffemodel(random_blobs(name))
    graph = read(tmp_path, text, model)
    run = opencv(text.encode(), model, {head: head for head in HEADS[name]})
    x = DRAW.normal(size=(1, 4, 16, 16)).astype(np.float32)
    assert list(graph.outputs.values()) == HEADS[name]
    parity = compare(lambda probe: run(probe["data"]), run_graph(graph), [{"data": x}], 1e-5, "OpenCV")
    assert parity.max_rel is not None
    assert parity.max_rel < 1e-5
