"""The layers of a graph that can be computed in 8 bits, and what they see when pictures pass."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float, Float32, Float64
from onnx import numpy_helper

from glia.core.session import Tensors
from glia.runtime.onnx_session import OnnxSession

POSITIONS = 40
"""Places of a feature map that are looked at, a picture; neighbours tell much the same."""

VALUES = 600
"""Values of an activation that are kept, a picture."""

TOGETHER = 16
"""Pictures whose moments are computed in one product."""

MOST_COLUMNS = 2400
"""Weights of one output above which a layer stays as it is: its moments would fill the memory."""

ACTIVATIONS = {"Relu", "Clip"}
"""What is computed in one go with the layer before it."""


@dataclass(frozen=True)
class Layer:
    """A convolution or a fully connected layer with constant weights; `name` is that of the tensor it makes."""

    name: str
    node: int
    """Its place among the graph's nodes."""
    input: str
    output: str
    """The tensor after the activation that follows, if one does."""
    weights: str
    bias: str | None
    transposed: bool
    """Whether the stored weights are (inputs, outputs)."""


@dataclass
class Seen:
    """What passed through a graph: moments by layer, values and extremes by tensor."""

    moments: dict[str, Float64[np.ndarray, "..."]] = field(default_factory=dict)
    """By layer and group, the sum of z z' (z: the inputs, and a 1); the last element counts what was added up."""
    values: dict[str, list[Float32[np.ndarray, " kept"]]] = field(default_factory=dict)
    extremes: dict[str, tuple[float, float]] = field(default_factory=dict)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def rows_of(weights: Float[np.ndarray, "..."], transposed: bool) -> Float[np.ndarray, "rows columns"]:
    """Weights with one row an output."""
    return weights.T if transposed else weights.reshape(len(weights), -1)


def find_layers(model: onnx.ModelProto) -> list[Layer]:
    """Two-dimensional convolutions (not dilated) and Gemm whose weights are theirs alone, in order of execution."""
    graph = model.graph
    uses = Counter(name for node in graph.node for name in node.input)
    given = {each.name for each in graph.input}  # an old graph lists constants there: callers may replace them
    own = {each.name: each for each in graph.initializer if uses[each.name] == 1 and each.name not in given}
    takers = {name: node for node in graph.node for name in node.input}
    ends = {output.name for output in graph.output}
    found = []
    for index, node in enumerate(graph.node):
        if node.op_type not in ("Conv", "Gemm") or not _plain(node, own):
            continue
        output = node.output[0]
        after = takers.get(output)
        if after is not None and after.op_type in ACTIVATIONS and uses[output] == 1 and output not in ends:
            output = after.output[0]
        transposed = node.op_type == "Gemm" and not attributes(node).get("transB", 0)
        bias = node.input[2] if len(node.input) > 2 else ""
        found.append(Layer(node.output[0], index, node.input[0], output, node.input[1], bias or None, transposed))
    return found


def _plain(node: onnx.NodeProto, own: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a layer is of the plain sort that `_patches` can follow, with constants of its `own`."""
    weights, has = own.get(node.input[1]), attributes(node)
    if weights is None or weights.data_type != onnx.TensorProto.FLOAT:
        return False
    rows, columns = weights.dims[0], int(np.prod(weights.dims[1:]))
    if node.op_type == "Gemm":
        if has.get("alpha", 1.0) != 1 or has.get("beta", 1.0) != 1 or has.get("transA", 0):
            return False
        rows, columns = (rows, columns) if has.get("transB", 0) else (columns, rows)
    elif len(weights.dims) != 4 or set(has.get("dilations", [1])) != {1}:
        return False
    if len(node.input) > 2 and node.input[2]:
        bias = own.get(node.input[2])
        if bias is None or list(bias.dims) != [rows]:
            return False
    return columns <= MOST_COLUMNS


def observe(model: onnx.ModelProto, layers: Iterable[Layer], samples: Iterable[Tensors]) -> Seen:
    """Run the samples (without batch axis) and keep what rounding needs to know. Places are chosen by a fixed seed."""
    layers = list(layers)
    tensors = sorted({name for layer in layers for name in (layer.input, layer.output)})
    given = {each.name for each in model.graph.input}
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    del open_model.graph.output[:]
    open_model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors if name not in given
    )
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    seen = Seen(values={name: [] for name in tensors})
    waiting: dict[str, list[Float32[np.ndarray, "..."]]] = {layer.name: [] for layer in layers}
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(open_model, Path(folder) / "graph.onnx")
        session = OnnxSession(Path(folder) / "graph.onnx")
    for sample in samples:
        batch = {name: value[None] for name, value in sample.items()}
        passed = batch | session.run(batch)
        for name in tensors:
            flat = passed[name].ravel()
            low, high = seen.extremes.get(name, (0.0, 0.0))
            seen.extremes[name] = min(low, float(flat.min())), max(high, float(flat.max()))
            seen.values[name].append(flat[random.integers(flat.size, size=VALUES)])
        for layer in layers:
            node = model.graph.node[layer.node]
            patches = _patches(passed[layer.input], node, weights[layer.weights], random)
            waiting[layer.name].append(patches)
            if len(waiting[layer.name]) == TOGETHER:
                _add(seen, layer.name, waiting[layer.name])
    for name, rest in waiting.items():
        _add(seen, name, rest)
    return seen


def _add(seen: Seen, layer: str, waiting: list[Float32[np.ndarray, "..."]]) -> None:
    """Add the moments of the patches that wait (groups, places, inputs), and let them go."""
    if waiting:
        patches = np.concatenate(waiting, 1)
        waiting.clear()
        seen.moments[layer] = seen.moments.get(layer, 0) + (patches.transpose(0, 2, 1) @ patches).astype(np.float64)


def _patches(
    x: Float[np.ndarray, "1 ..."], node: onnx.NodeProto, weights: Float[np.ndarray, "..."], random: np.random.Generator
) -> Float32[np.ndarray, "groups places inputs"]:
    """What a layer multiplies its weights with, at some places, and a 1."""
    has = attributes(node)
    if node.op_type == "Gemm":
        rows = x.reshape(1, -1, x.shape[-1])
    else:
        high, wide = weights.shape[2:]
        down, right = has.get("strides", [1, 1])
        top, left, bottom, end = _padding(x.shape[2:], (high, wide), (down, right), has)
        padded = np.pad(x[0], ((0, 0), (top, bottom), (left, end)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (high, wide), axis=(1, 2))[:, ::down, ::right]
        places = windows.shape[1] * windows.shape[2]
        chosen = random.integers(places, size=POSITIONS) if places > POSITIONS else np.arange(places)
        some = windows[:, chosen // windows.shape[2], chosen % windows.shape[2]]  # channels, places, high, wide
        groups = has.get("group", 1)
        some = some.reshape(groups, -1, len(chosen), high * wide).transpose(0, 2, 1, 3)
        rows = some.reshape(groups, len(chosen), -1)
    return np.concatenate([rows, np.ones_like(rows[..., :1])], -1, dtype=np.float32)


def _padding(
    size: tuple[int, ...], kernel: tuple[int, int], strides: tuple[int, int], has: dict[str, Any]
) -> tuple[int, int, int, int]:
    """Top, left, bottom, right [px], as ONNX's Conv defines pads and auto_pad."""
    how = has.get("auto_pad", b"NOTSET").decode()
    if how == "NOTSET":
        top, left, bottom, right = has.get("pads", [0, 0, 0, 0])
        return top, left, bottom, right
    if how == "VALID":
        return 0, 0, 0, 0
    both = [max(0, (-(-s // d) - 1) * d + k - s) for s, k, d in zip(size, kernel, strides, strict=True)]
    less, more = [each // 2 for each in both], [each - each // 2 for each in both]
    (top, left), (bottom, right) = (less, more) if how == "SAME_UPPER" else (more, less)
    return top, left, bottom, right
