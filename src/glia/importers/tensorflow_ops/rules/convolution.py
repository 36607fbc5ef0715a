"""Operators of pictures' windows: convolutions, poolings, normalisations.

Filters are HWIO in TensorFlow, OIHW in ONNX. SAME pads so that ceil(size / stride) windows fit, the odd pixel at the
bottom and the right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from glia.core.errors import ImportFailed
from glia.importers.sizes import Dim
from glia.importers.tensorflow_ops.call import Call, Rule, Value

MAX_WINDOW = 1 << 14


def padding(
    call: Call, sizes: Sequence[Dim], window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> dict[str, Any]:
    """The attributes of ONNX that pad as TensorFlow does. Raises ImportFailed where that depends on an open size."""
    way = call.attribute("padding", "VALID")
    if way == "VALID":
        return {}
    if way == "EXPLICIT":
        explicit = call.numbers("explicit_paddings")
        axes = range(2, len(sizes) + 2) if call.is_first else range(1, len(sizes) + 1)
        if len(explicit) != 2 * (len(sizes) + 2) or min(explicit) < 0 or max(explicit) > MAX_WINDOW:
            raise ImportFailed(f"the explicit padding {explicit[:12]} cannot be; the file is damaged")
        return {"pads": [explicit[2 * axis + end] for end in (0, 1) for axis in axes]}
    if way != "SAME":
        raise ImportFailed(f"the padding {way[:20]!r} is not supported")
    begins, finishes = [], []
    for size, extent, stride, dilation in zip(sizes, window, strides, dilations, strict=True):
        spread = (extent - 1) * dilation + 1
        if isinstance(size, int):
            total = max((-(-size // stride) - 1) * stride + spread - size, 0)
        elif stride == 1:
            total = spread - 1
        elif max(dilations) > 1:
            raise ImportFailed("its padding depends on the size of the picture; give the option `input_size`")
        else:
            return {"auto_pad": "SAME_UPPER"}
        begins.append(total // 2)
        finishes.append(total - total // 2)
    return {"pads": begins + finishes} if any(begins + finishes) else {}


def _window(call: Call, tensor: str, window: Sequence[int]) -> dict[str, Any]:
    """Strides, dilations and padding of a window over the picture `tensor`."""
    sizes = call.graph.shape(tensor)[2:]
    ones = [1] * (len(sizes) + 2)
    strides = call.spatial(call.numbers("strides", ones), "strides")
    dilations = call.spatial(call.numbers("dilations", ones), "dilations")
    if not len(window) == len(strides) == len(dilations) == len(sizes) or not all(
        0 < one <= MAX_WINDOW for one in window
    ):
        raise ImportFailed(f"a window of {list(window)} over {len(sizes)} axes cannot be; the file is damaged")
    return {"strides": strides, "dilations": dilations, **padding(call, sizes, window, strides, dilations)}


def _filters(call: Call, index: int, order: Sequence[int]) -> str:
    """The filters in ONNX's order of axes."""
    value = call.value(index)
    if value is not None and value.ndim == len(order):
        return call.graph.constant(f"{call.hint}_filters", value.transpose(list(order)))
    if call.rank(index) != len(order):
        raise ImportFailed(f"its filters have {call.rank(index)} axes, expected {len(order)}; the file is damaged")
    return call.graph.transpose(call.tensor(index), order, call.hint)


def _convolved(call: Call) -> str:
    """Conv2D and Conv3D without what is fused to them: a tensor with channels first."""
    tensor = call.picture(0)
    rank = call.graph.rank(tensor)
    filters = _filters(call, 1, [rank - 1, rank - 2, *range(rank - 2)])
    shape = call.graph.known_shape(filters)
    channels = call.graph.shape(tensor)[1]
    group = channels // shape[1] if isinstance(channels, int) and shape[1] and channels % shape[1] == 0 else 1
    return call.write("Conv", [tensor, filters], group=max(group, 1), **_window(call, tensor, shape[2:]))


def _conv(call: Call) -> str:
    return call.give(_convolved(call))


def _depthwise_convolved(call: Call) -> str:
    """Filters (h, w, channels, multiplier): channel c gives the outputs c * multiplier ..."""
    tensor = call.picture(0)
    height, width, channels, multiplier = call.layout.known_shape(call.handle(1))
    value = call.value(1)
    if value is not None:
        whole = value.reshape(height, width, 1, channels * multiplier).transpose(3, 2, 0, 1)
        filters = call.graph.constant(f"{call.hint}_filters", whole)
    else:
        whole_shape = [height, width, 1, channels * multiplier]
        filters = call.graph.transpose(
            call.graph.reshape(call.tensor(1), whole_shape, call.hint), [3, 2, 0, 1], call.hint
        )
    return call.write("Conv", [tensor, filters], group=channels, **_window(call, tensor, [height, width]))


def _depthwise(call: Call) -> str:
    return call.give(_depthwise_convolved(call))


def _fused(convolved: Rule | None) -> Rule:
    """A convolution or a product, and what grappler fused to it: a bias, a normalisation, an activation."""

    def rule(call: Call) -> Value:
        spatial = convolved is not None
        if convolved is not None:
            handle = convolved(call)
            assert isinstance(handle, str)
        else:
            handle = _matrices(call)
        more = 2
        for op in call.texts("fused_ops"):
            if op == "BiasAdd":
                handle = _with_bias(call, handle, more, spatial)
                more += 1
            elif op == "FusedBatchNorm":
                scale, offset, mean, variance = (call.tensor(index) for index in range(more, more + 4))
                handle = _normalised(call, handle, scale, offset, mean, variance, call.attribute("epsilon", 1e-4))
                more += 4
            elif op == "Prelu":
                handle, more = _with_slopes(call, handle, more, spatial), more + 1
            elif op in ("Relu", "Elu", "Sigmoid", "Tanh"):
                handle = call.graph.node(op, [handle], call.hint)
            elif op == "Relu6":
                handle = call.graph.node("Clip", [handle, call.scalar(0), call.scalar(6)], call.hint)
            elif op == "LeakyRelu":
                handle = call.graph.node("LeakyRelu", [handle], call.hint, alpha=call.attribute("leakyrelu_alpha", 0.2))
            elif op == "Add":
                raise ImportFailed("a sum fused to a convolution is not supported")
            else:
                raise ImportFailed(f"the operator {op[:50]!r} fused to it is not supported")
        return call.give(handle) if spatial else handle

    return rule


def _matrices(call: Call) -> str:
    sides = []
    for index, name in enumerate(("transpose_a", "transpose_b")):
        swap = call.attribute(name, False)
        sides.append(call.graph.transpose(call.tensor(index), [1, 0] if swap else [0, 1], call.hint))
    return call.graph.node("MatMul", sides, call.hint)


def _along_channels(call: Call, tensor: str, rank: int) -> str:
    """One number for each channel, as it broadcasts against a picture with channels first."""
    return call.graph.reshape(tensor, [1, -1, *[1] * (rank - 2)], call.hint)


def _with_bias(call: Call, tensor: str, index: int, spatial: bool) -> str:
    bias = call.tensor(index)
    if spatial:
        bias = _along_channels(call, bias, call.graph.rank(tensor))
    return call.graph.node("Add", [tensor, bias], call.hint)


def _with_slopes(call: Call, tensor: str, index: int, spatial: bool) -> str:
    """PRelu; its slopes end with the channels."""
    slope = call.tensor(index)
    if spatial and call.graph.rank(slope) >= 3:
        rank = call.graph.rank(slope)
        slope = call.graph.transpose(slope, [rank - 1, *range(rank - 1)] if rank == 3 else [0, 3, 1, 2], call.hint)
    elif spatial:
        slope = call.graph.reshape(slope, [-1, 1, 1], call.hint)
    return call.graph.node("PRelu", [tensor, slope], call.hint)


def _bias(call: Call) -> str:
    if not call.is_first or call.rank(0) < 3:
        return call.layout.pair("Add", call.handle(0), call.handle(1), call.hint)
    return call.write("Add", [call.tensor(0), _along_channels(call, call.tensor(1), call.rank(0))])


def _transposed(call: Call) -> str:
    """Conv2DBackpropInput(sizes of the output, filters HWOI, x): what is cut off follows from the sizes."""
    tensor = call.picture(2)
    rank = call.graph.rank(tensor)
    filters = _filters(call, 1, [rank - 1, rank - 2, *range(rank - 2)])
    window = call.graph.known_shape(filters)[2:]
    strides, dilations = (call.spatial(call.numbers(name, [1] * rank), name) for name in ("strides", "dilations"))
    if call.attribute("padding", "VALID") not in ("SAME", "VALID"):
        raise ImportFailed("explicit padding of a transposed convolution is not supported")
    ways = list(zip(call.graph.shape(tensor)[2:], _wanted(call, rank), window, strides, dilations, strict=True))
    margins = [_margin(call, *way) for way in ways]
    if max(max(margin) for margin in margins) > MAX_WINDOW:
        raise ImportFailed(f"an output of {[way[1] for way in ways]} cannot be; the file is damaged")
    more = [margin[2] for margin in margins]
    # More than a stride at the end is not ONNX's to give: zeros follow.
    inside = [extra if extra < max(way[3:]) else 0 for extra, way in zip(more, ways, strict=True)]
    attributes = {"strides": strides, "dilations": dilations, "output_padding": inside}
    pads = [margin[end] for end in (0, 1) for margin in margins]
    found = call.write("ConvTranspose", [tensor, filters], pads=pads, **attributes)
    if inside != more:
        rest = [extra - held for extra, held in zip(more, inside, strict=True)]
        found = call.write("Pad", [found, call.ints_constant([0] * rank + [0, 0, *rest])])
    return call.give(found)


def _wanted(call: Call, rank: int) -> Sequence[Dim]:
    """The output's sizes over the picture, as far as they are known."""
    given = call.graph.sizes(call.tensor(0))
    if given is not None and len(given) == rank:
        return given[2:] if call.is_first else given[1:-1]
    return given if given is not None and len(given) == rank - 2 else [None] * (rank - 2)


def _margin(call: Call, size: Dim, out: Dim, extent: int, stride: int, dilation: int) -> tuple[int, int, int]:
    """What is cut off at the begin and at the end of an axis, and what is added at the end."""
    same, spread = call.attribute("padding", "VALID") == "SAME", (extent - 1) * dilation + 1
    if isinstance(size, int) and isinstance(out, int):
        total = max((size - 1) * stride + spread - out, 0) if same else 0
        extra = out - ((size - 1) * stride + spread - total)
    else:
        call.notes.append(f"{call.node.name} is taken to enlarge by its stride: its size depends on the input's.")
        total = max(spread - stride, 0) if same else 0
        extra = max(stride - spread, 0)
    return total // 2, total - total // 2 - min(extra, 0), max(extra, 0)


def _pool(op: str) -> Rule:
    def rule(call: Call) -> str:
        tensor = call.picture(0)
        rank = call.graph.rank(tensor)
        if call.node.op == "MaxPoolV2":
            window, strides = (call.spatial(call.ints(index, "the window"), "windows") for index in (1, 2))
        else:
            window, strides = (call.spatial(call.numbers(name), name) for name in ("ksize", "strides"))
        if len(window) != rank - 2 or max(window) > MAX_WINDOW:
            raise ImportFailed(f"a window of {window} over {rank - 2} axes cannot be; the file is damaged")
        pads = padding(call, call.graph.shape(tensor)[2:], window, strides, [1] * len(window))
        return call.give(call.write(op, [tensor], kernel_shape=window, strides=strides, **pads))

    return rule


def _pool_with_places(call: Call) -> list[Value]:
    """MaxPoolWithArgmax: a place counts (y * width + x) * channels + channel.

    In ONNX it is ((item * channels + channel) * height + y) * width + x.
    """
    tensor = call.picture(0)
    window, strides = (call.spatial(call.numbers(name), name) for name in ("ksize", "strides"))
    channels, height, width = call.graph.known_shape(tensor, [1, 2, 3])
    pads = padding(call, (height, width), window, strides, [1, 1])
    found, places = call.graph.nodes("MaxPool", [tensor], 2, call.hint, kernel_shape=window, strides=strides, **pads)

    def number(value: int) -> str:
        return call.graph.scalar(f"{call.hint}_number", value, np.int64)

    where = call.write("Mod", [places, number(height * width)])
    which = call.graph.constant(f"{call.hint}_channels", np.arange(channels, dtype=np.int64).reshape(1, channels, 1, 1))
    counted = call.write("Add", [call.write("Mul", [where, number(channels)]), which])
    if call.attribute("include_batch_in_index", False):
        whole = number(channels * height * width)
        counted = call.write("Add", [counted, call.write("Mul", [call.write("Div", [places, whole]), whole])])
    if call.kind("Targmax", 9) == 3:
        counted = call.write("Cast", [counted], to=TensorProto.INT32)
    return [call.give(found), call.give(counted)]


def _normalised(call: Call, tensor: str, scale: str, offset: str, mean: str, variance: str, epsilon: float) -> str:
    return call.graph.node("BatchNormalization", [tensor, scale, offset, mean, variance], call.hint, epsilon=epsilon)


def _batch_norm(call: Call) -> list[Value]:
    """FusedBatchNorm and its versions: x, scale, offset, mean, variance."""
    tensor = call.picture(0)
    scale, offset = call.tensor(1), call.tensor(2)
    epsilon = call.attribute("epsilon", 1e-4)
    if not call.attribute("is_training", True):
        mean, variance = call.tensor(3), call.tensor(4)
        found = _normalised(call, tensor, scale, offset, mean, variance, epsilon)
        return [_activated(call, found), mean, variance, mean, variance]
    axes = [0, *range(2, call.graph.rank(tensor))]
    whole = call.write("ReduceMean", [tensor], axes=axes, keepdims=1)
    spread = call.write("Sub", [tensor, whole])
    square = call.write("ReduceMean", [call.write("Mul", [spread, spread])], axes=axes, keepdims=1)
    mean, variance = (call.graph.reshape(one, [-1], call.hint) for one in (whole, square))
    found = _normalised(call, tensor, scale, offset, mean, variance, epsilon)
    count = math.prod(call.graph.known_shape(tensor, axes))
    unbiased = call.write("Mul", [variance, call.scalar(count / max(count - 1, 1))])
    return [_activated(call, found), mean, unbiased, mean, variance]


def _activated(call: Call, tensor: str) -> str:
    """_FusedBatchNormEx carries an activation."""
    mode = call.attribute("activation_mode", "Identity") if call.node.op == "_FusedBatchNormEx" else "Identity"
    if mode not in ("Identity", "Relu"):
        raise ImportFailed(f"the activation {mode[:20]!r} fused to it is not supported")
    return call.give(call.write("Relu", [tensor]) if mode == "Relu" else tensor)


def _old_batch_norm(call: Call) -> str:
    """BatchNormWithGlobalNormalization of 2015: x, mean, variance, beta, gamma; gamma counts where it says so."""
    mean, variance, beta, gamma = (call.tensor(index) for index in range(1, 5))
    if not call.attribute("scale_after_normalization", True):
        gamma = call.graph.constant(f"{call.hint}_ones", np.ones(call.graph.known_shape(beta), np.float32))
    epsilon = call.attribute("variance_epsilon", 1e-3)
    return call.give(_normalised(call, call.picture(0), gamma, beta, mean, variance, epsilon))


def _lrn(call: Call) -> str:
    """Over channels; ONNX divides alpha by the number of channels that are summed."""
    size = 2 * call.attribute("depth_radius", 5) + 1
    if not 0 < size <= MAX_WINDOW:
        raise ImportFailed(f"a normalisation over {size} channels cannot be; the file is damaged")
    alpha, beta, bias = (call.attribute(name, value) for name, value in (("alpha", 1.0), ("beta", 0.5), ("bias", 1.0)))
    return call.give(call.write("LRN", [call.picture(0)], size=size, alpha=alpha * size, beta=beta, bias=bias))


def _patches(call: Call) -> str:
    """ExtractImagePatches: each window's numbers, (y, x, channel) in the depth; a convolution with an identity."""
    tensor = call.picture(0)
    height, width = call.spatial(call.numbers("ksizes"), "windows")
    strides, rates = (call.spatial(call.numbers(name, [1] * 4), name) for name in ("strides", "rates"))
    (channels,) = call.graph.known_shape(tensor, [1])
    count = height * width * channels
    if count * count > 1 << 24:
        raise ImportFailed(f"patches of {count} numbers are not supported")
    filters = np.eye(count, dtype=np.float32).reshape(count, height, width, channels).transpose(0, 3, 1, 2)
    pads = padding(call, call.graph.shape(tensor)[2:], [height, width], strides, rates)
    own = call.dtype(0)
    if own.kind != "f":
        tensor = call.write("Cast", [tensor], to=TensorProto.FLOAT)
    kernel = call.graph.constant(f"{call.hint}_filters", filters)
    return call.give(call.write("Conv", [tensor, kernel], strides=strides, dilations=rates, **pads))


RULES: dict[str, Rule] = {
    "Conv2D": _conv,
    "Conv3D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "_FusedConv2D": _fused(_convolved),
    "FusedConv2D": _fused(_convolved),
    "FusedDepthwiseConv2dNative": _fused(_depthwise_convolved),
    "_FusedDepthwiseConv2dNative": _fused(_depthwise_convolved),
    "_FusedMatMul": _fused(None),
    "BiasAdd": _bias,
    "BiasAddV1": _bias,
    "Conv2DBackpropInput": _transposed,
    "Conv3DBackpropInputV2": _transposed,
    "MaxPool": _pool("MaxPool"),
    "MaxPoolV2": _pool("MaxPool"),
    "MaxPool3D": _pool("MaxPool"),
    "AvgPool": _pool("AveragePool"),
    "AvgPool3D": _pool("AveragePool"),
    "MaxPoolWithArgmax": _pool_with_places,
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "_FusedBatchNormEx": _batch_norm,
    "BatchNormWithGlobalNormalization": _old_batch_norm,
    "LRN": _lrn,
    "ExtractImagePatches": _patches,
}
