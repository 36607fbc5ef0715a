"""Layers with weights: convolutions, inner products, normalisation with learned statistics, scales, slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.rules import Build, rule
from glia.importers.caffe_layers.schema import of
from glia.importers.caffe_layers.weights import finite
from glia.importers.faults import unsupported
from glia.importers.windows import Window


def _per_axis(message: Any, field: str, rank: int, default: int, stem: str = "") -> tuple[int, ...]:
    """A size for each axis: given once, once each, or as `_h` and `_w`."""
    stem = stem or field
    high, wide = f"{stem}_h", f"{stem}_w"
    if high in message.DESCRIPTOR.fields_by_name and (message.HasField(high) or message.HasField(wide)):
        if rank != 2:
            raise ImportFailed(f"it names {high} and {wide}, but its input has {rank} axes behind the channels")
        return of(message, high, default), of(message, wide, default)
    values = tuple(getattr(message, field)) or (default,)
    if len(values) not in (1, rank):
        raise ImportFailed(f"{field} has {len(values)} numbers, expected 1 or {rank}")
    return values * (rank if len(values) == 1 else 1)


def _window(message: Any, rank: int) -> Window:
    window = Window(
        _per_axis(message, "kernel_size", rank, 0, "kernel"),
        _per_axis(message, "stride", rank, 1),
        _per_axis(message, "pad", rank, 0),
        _per_axis(message, "dilation", rank, 1) if message.dilation else (1,) * rank,
    )
    window.check()
    return window


@rule("Convolution", "Deconvolution", "DepthwiseConvolution", "ConvolutionDepthwise", "CuDNNConvolution")
def convolution(build: Build) -> list[str]:
    """The same filters over every input."""
    message = build.layer.parameters("convolution_param", "Convolution")
    tensors = build.inputs()
    rank = build.graph.rank(tensors[0]) - 2
    if rank < 1 or of(message, "axis", 1) not in (1, -rank - 1):
        raise unsupported("a convolution whose channels are not the second axis")
    window, out = _window(message, rank), message.num_output
    group = of(message, "group", 1)
    if build.layer.kind in ("DepthwiseConvolution", "ConvolutionDepthwise") and not message.HasField("group"):
        group = out
    channels = _channels(build, tensors[0], group)
    if not 0 < group <= channels or channels % group or out % group or not out:
        raise ImportFailed(f"{channels} channels to {out} in {group} groups cannot be")
    transposed = build.layer.kind == "Deconvolution"
    if transposed and build.weights.channels_last:
        raise unsupported("a deconvolution of CaffeJS")
    first, second = (channels, out) if transposed else (out, channels)
    weights = build.weight(0, (first, second // group, *window.kernel))
    parts = [build.constant("filter", weights)]
    if of(message, "bias_term", True):
        parts.append(build.constant("bias", build.weight(1, (out,))))
    attributes = {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": list(window.pad) * 2,
        "dilations": list(window.dilation),
        "group": group,
    }
    return [build.node("ConvTranspose" if transposed else "Conv", [x, *parts], **attributes) for x in tensors]


def _channels(build: Build, tensor: str, group: int) -> int:
    channels = build.graph.shape(tensor)[1]
    if isinstance(channels, int):
        return channels
    shape = build.weights.shape(build.layer.name, 0)
    if shape is None or len(shape) < 2:
        raise ImportFailed("the number of its channels cannot be told from the files")
    return shape[0] if build.layer.kind == "Deconvolution" else shape[1] * group


@rule("InnerProduct")
def inner_product(build: Build) -> list[str]:
    """A matrix product with everything from an axis on, in the order channels, rows, columns."""
    message = build.layer.parameters("inner_product_param", "InnerProduct")
    tensors = build.inputs()
    graph, out = build.graph, message.num_output
    axis = build.axis(of(message, "axis", 1), graph.rank(tensors[0]))
    sizes = graph.known_shape(tensors[0], range(axis, graph.rank(tensors[0])))
    if build.weights.channels_last and sum(size > 1 for size in sizes) > 1:
        raise unsupported("an inner product over a picture, in CaffeJS's order,")
    width = int(np.prod(sizes, dtype=np.int64))
    is_turned = of(message, "transpose", False)
    matrix = build.weight(0, (width, out) if is_turned else (out, width))
    weights = build.constant("matrix", matrix if is_turned else matrix.T)
    bias = [build.constant("bias", build.weight(1, (out,)))] if of(message, "bias_term", True) else []
    results = []
    for tensor in tensors:
        if axis == 1:
            flat = graph.node("Flatten", [tensor], axis=1) if graph.rank(tensor) != 2 else tensor
            results.append(build.node("Gemm", [flat, weights, *bias]))
            continue
        rows = graph.reshape(tensor, [*[0] * axis, width]) if len(sizes) != 1 else tensor
        product = build.node("MatMul", [rows, weights])
        results.append(build.node("Add", [product, *bias]) if bias else product)
    return results


@rule("Embed")
def embed(build: Build) -> str:
    """Rows of a table, by numbers that Caffe holds as floats."""
    message = build.layer.parameters("embed_param", "Embed")
    x, graph = build.input(), build.graph
    table = build.constant("table", build.weight(0, (message.input_dim, message.num_output)))
    index = graph.node("Cast", [x], to=7)
    rows = build.node("Gather", [table, index], axis=0)
    if not of(message, "bias_term", True):
        return rows
    return build.node("Add", [rows, build.constant("bias", build.weight(1, (message.num_output,)))])


def _normalised(
    build: Build, x: str, mean: Any, variance: Any, eps: float, slope: Any = None, shift: Any = None
) -> str:
    """(x - mean) / sqrt(variance + eps), by channel; times a slope, plus a shift."""
    slope = np.ones(mean.shape, np.float32) if slope is None else slope
    shift = np.zeros(mean.shape, np.float32) if shift is None else shift
    parts = {"scale": slope, "shift": shift, "mean": mean, "variance": variance}
    return build.node("BatchNormalization", [x, *(build.constant(k, v) for k, v in parts.items())], epsilon=eps)


@rule("BatchNorm")
def batch_norm(build: Build) -> str:
    """Statistics of training, stored as sums with the weight of the sum; of the batch at hand where a file wants so."""
    message = build.layer.parameters("batch_norm_param", "BatchNorm")
    x, eps = build.input(), of(message, "eps", 1e-5)
    if not of(message, "use_global_stats", True):
        build.notes.append(f"{build.layer.name[:100]}: normalised by the batch at hand, as the file wants it")
        axes = [axis for axis in range(build.graph.rank(x)) if axis != 1]
        return standardised(build, x, axes, eps, inside=True)
    (channels,) = build.graph.known_shape(x, [1])
    factor = float(build.weight(2, (1,))[0])
    sums = [build.weight(index, (channels,)).astype(np.float64) for index in range(2)]
    with np.errstate(over="ignore"):
        mean, variance = (finite((total / factor if factor else total * 0).astype(np.float32)) for total in sums)
    if (variance < -eps).any():
        raise ImportFailed("its variance is negative. The file is damaged")
    if build.learned() < 5:
        return _normalised(build, x, mean, variance, eps)
    slope, shift = build.weight(3, (channels,)), build.weight(4, (channels,))  # of NVIDIA's fork
    return _normalised(build, x, mean, variance, eps, slope, shift)


def standardised(build: Build, x: str, axes: Sequence[int], eps: float, *, inside: bool, variance: bool = True) -> str:
    """x less its mean over some axes, over its deviation; `inside`: eps is added to the variance, not its root."""
    graph = build.graph
    centred = graph.node("Sub", [x, graph.node("ReduceMean", [x], axes=list(axes), keepdims=1)])
    if not variance:
        return centred
    square = graph.node("ReduceMean", [graph.node("Mul", [centred, centred])], axes=list(axes), keepdims=1)
    small = graph.scalar("eps", eps)
    if inside:
        root = graph.node("Sqrt", [graph.node("Add", [square, small])])
    else:
        root = graph.node("Add", [graph.node("Sqrt", [square]), small])
    return build.node("Div", [centred, root])


@rule("BN")
def batch_norm_of_forks(build: Build) -> str:
    """SegNet's: slope and shift with the statistics already inside; PSPNet's: with mean and variance behind them."""
    x = build.input()
    (channels,) = build.graph.known_shape(x, [1])
    slope, shift = build.weight(0, (channels,)), build.weight(1, (channels,))
    if build.learned() == 4:
        eps = of(build.layer.parameters("bn_param", "BN"), "eps", 1e-5)
        return _normalised(build, x, build.weight(2, (channels,)), build.weight(3, (channels,)), eps, slope, shift)
    shape = (channels, *[1] * (build.graph.rank(x) - 2))
    product = build.node("Mul", [x, build.constant("slope", slope.reshape(shape))])
    return build.node("Add", [product, build.constant("shift", shift.reshape(shape))])


def _operand(build: Build, x: str, message: Any, index: int) -> tuple[str, tuple[int, ...]]:
    """A blob that covers some axes of x, shaped to broadcast against it; and the axes' sizes."""
    graph, rank = build.graph, build.graph.rank(x)
    axis, count = of(message, "axis", 1), of(message, "num_axes", 1)
    axis = build.axis(axis, rank) if count else 0
    end = rank if count == -1 else axis + count
    if not axis <= end <= rank:
        raise ImportFailed(f"it covers axes {axis} to {end} of a tensor of {rank}")
    sizes = graph.known_shape(x, range(axis, end))
    return build.constant("factor", spread(build.weight(index, sizes), rank - end)), sizes


def spread(values: Float32[np.ndarray, "..."], behind: int) -> Float32[np.ndarray, "..."]:
    """The array with so many axes of size 1 behind its own."""
    return values.reshape(*values.shape, *[1] * behind)


def _second(build: Build, x: str, other: str, message: Any) -> str:
    """A second input that covers some axes of x from `axis` on, with axes of size 1 behind its own."""
    graph = build.graph
    rank, own = graph.rank(x), graph.rank(other)
    axis = build.axis(of(message, "axis", 1), rank) if own else rank
    behind = rank - axis - own
    if behind < 0:
        raise ImportFailed(f"a factor of {own} axes does not fit behind axis {axis} of {rank}")
    return graph.node("Unsqueeze", [other, graph.ints("axes", range(own, own + behind))]) if behind and own else other


@rule("Scale", "Bias")
def scale(build: Build) -> str:
    """Times a learned or given factor, plus a learned shift; `Bias` is the shift alone."""
    is_bias = build.layer.kind == "Bias"
    message = build.layer.parameters("bias_param" if is_bias else "scale_param", "Scale")
    x, *other = build.inputs(1, 2)
    op = "Add" if is_bias else "Mul"
    if other:
        result, index = build.node(op, [x, _second(build, x, other[0], message)]), 0
    else:
        result, index = build.node(op, [x, _operand(build, x, message, 0)[0]]), 1
    if is_bias or not of(message, "bias_term", False):
        return result
    if other:
        sizes = build.graph.known_shape(other[0])
        behind = build.graph.rank(x) - build.axis(of(message, "axis", 1), build.graph.rank(x)) - len(sizes)
        return build.node("Add", [result, build.constant("shift", spread(build.weight(index, sizes), behind))])
    return build.node("Add", [result, _operand(build, x, message, index)[0]])


@rule("PReLU")
def prelu(build: Build) -> str:
    """A learned slope below zero, of each channel or of all."""
    x, message = build.input(), build.layer.parameters("prelu_param", "PReLU")
    if of(message, "channel_shared", False):
        return build.node("PRelu", [x, build.constant("slope", build.weight(0, (1,)))])
    (channels,) = build.graph.known_shape(x, [1])
    slope = spread(build.weight(0, (channels,)), build.graph.rank(x) - 2)
    return build.node("PRelu", [x, build.constant("slope", slope)])


@rule("Normalize")
def normalize(build: Build) -> str:
    """x over its length, at each place or of the whole picture, times learned scales."""
    x, message = build.input(), build.layer.parameters("norm_param", "Normalize")
    graph, rank = build.graph, build.graph.rank(x)
    axes = list(range(1, rank)) if of(message, "across_spatial", True) else [1]
    total = graph.node("ReduceSum", [graph.node("Mul", [x, x]), graph.ints("axes", axes)], keepdims=1)
    length = graph.node("Sqrt", [graph.node("Add", [total, graph.scalar("eps", of(message, "eps", 1e-10))])])
    (channels,) = graph.known_shape(x, [1])
    shared = of(message, "channel_shared", True)
    factor = build.weight(0, (1,)) if shared else spread(build.weight(0, (channels,)), rank - 2)
    return build.node("Mul", [build.node("Div", [x, length]), build.constant("scale", factor)])
