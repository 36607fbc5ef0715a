"""Layers of networks: convolutions, products, normalisation, activations, pooling, answers."""

from __future__ import annotations

from math import prod

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.mxnet_ops.files import Node
from glia.importers.mxnet_ops.rules import Build, rule
from glia.importers.windows import MAX_WINDOW, Window, pool, resize, scale

_CHANNELS_FIRST = {"", "None", "NCW", "NCHW", "NCDHW"}


def _window(node: Node) -> Window:
    kernel = node.integers("kernel")
    rank = len(kernel)
    parts = (node.integers(key) or [default] * rank for key, default in (("stride", 1), ("pad", 0), ("dilate", 1)))
    window = Window(tuple(kernel), *(tuple(part) for part in parts))
    window.check()
    return window


@rule("Convolution", "Convolution_v1", "Deconvolution")
def convolution(build: Build, node: Node) -> str:
    """Filters, or their transpose."""
    if node.text("layout") not in _CHANNELS_FIRST:
        raise unsupported(f"the layout {node.text('layout')[:20]}")
    transposed = node.op == "Deconvolution"
    window, x, groups = _window(node), build.input(), node.integer("num_group", 1)
    filters = build.learned(1)
    if filters.ndim != len(window.kernel) + 2 or filters.shape[2:] != window.kernel:
        raise ImportFailed(f"its filters are of shape {list(filters.shape)}, its window is {list(window.kernel)}")
    tensors = [x, build.input(1), *([] if node.flag("no_bias", transposed) else [build.input(2)])]
    attributes = {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": list(window.pad) * 2,
        "dilations": list(window.dilation),
        "group": groups,
    }
    if not transposed:
        return build.node("Conv", tensors, **attributes)
    if any(node.integers("target_shape")):
        raise unsupported("a deconvolution to a target shape")
    if any(extra := node.integers("adj")):
        attributes["output_padding"] = extra
    return build.node("ConvTranspose", tensors, **attributes)


@rule("FullyConnected")
def fully_connected(build: Build, node: Node) -> str:
    """A matrix product, with everything behind the first axis or with the last one."""
    x, graph = build.input(), build.graph
    out, width = build.learned(1).shape if build.learned(1).ndim == 2 else (0, 0)
    if out != node.integer("num_hidden", out):
        raise ImportFailed(f"its weights give {out} numbers, expected {node.integer('num_hidden', out)}")
    bias = [] if node.flag("no_bias") else [build.input(2)]
    if node.flag("flatten", True):
        flat = graph.node("Flatten", [x], axis=1) if graph.rank(x) != 2 else x
        sizes = graph.shape(x)[1:]
        if all(isinstance(size, int) for size in sizes) and prod(s for s in sizes if isinstance(s, int)) != width:
            raise ImportFailed(f"its weights take {width} numbers, its input has {list(sizes)}. Give its input_size")
        return build.node("Gemm", [flat, build.input(1), *bias], transB=1)
    product = build.node("MatMul", [x, build.constant("matrix", build.learned(1).T)])
    return build.node("Add", [product, *bias]) if bias else product


@rule("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", "_contrib_SyncBatchNorm", "SyncBatchNorm")
def batch_norm(build: Build, node: Node) -> str:
    """Statistics of training; the factor is 1 unless the graph says that it was learned."""
    x, graph = build.input(), build.graph
    rank = graph.rank(x)
    axis = build.axis(node.integer("axis", 1), rank)
    names, tensors = ("gamma", "beta", "mean", "variance"), []
    for at, name in enumerate(names, 1):
        value = build.learned(at).astype(np.float32)
        if name == "gamma" and node.flag("fix_gamma", True):
            value = np.ones_like(value)
        if value.ndim != 1 or (name == "variance" and (value < 0).any()):
            raise ImportFailed(f"its {name} is negative, or has {value.ndim} axes. The file is damaged")
        tensors.append(build.constant(name, value))
    eps = node.number("eps", 1e-3)
    if axis == 1:
        return build.node("BatchNormalization", [x, *tensors], epsilon=eps)
    order = [0, axis, *(other for other in range(1, rank) if other != axis)]
    y = build.node("BatchNormalization", [graph.transpose(x, order), *tensors], epsilon=eps)
    return graph.transpose(y, [order.index(place) for place in range(rank)], build.hint("Transpose"))


@rule("InstanceNorm")
def instance_norm(build: Build, node: Node) -> str:
    """Each channel of each picture by its own mean and deviation."""
    inputs = [build.input(at) for at in range(3)]
    return build.node("InstanceNormalization", inputs, epsilon=node.number("eps", 1e-3))


@rule("LayerNorm")
def layer_norm(build: Build, node: Node) -> str:
    """Along the last axis."""
    x, rank = build.input(), build.graph.rank(build.input())
    if build.axis(node.integer("axis", -1), rank) != rank - 1:
        raise unsupported("a LayerNorm along another axis than the last")
    inputs = [x, build.input(1), build.input(2)]
    return build.node("LayerNormalization", inputs, axis=-1, epsilon=node.number("eps", 1e-5))


@rule("L2Normalization")
def l2_normalization(build: Build, node: Node) -> str:
    """x over its length: of everything, of the channels of a place, or of the places of a channel."""
    x, graph, mode = build.input(), build.graph, node.text("mode", "instance")
    rank = graph.rank(x)
    axes = {"instance": range(1, rank), "channel": [1], "spatial": range(2, rank)}.get(mode)
    if axes is None:
        raise unsupported(f"the mode {mode[:20]}")
    total = graph.node("ReduceSum", [graph.node("Mul", [x, x]), graph.ints("axes", list(axes))], keepdims=1)
    small = graph.node("Add", [total, graph.scalar("eps", node.number("eps", 1e-10))])
    return build.node("Div", [x, graph.node("Sqrt", [small])])


@rule("LRN")
def local_response(build: Build, node: Node) -> str:
    """x over a power of its neighbours' squares in other channels."""
    size = node.integer("nsize", 0)
    if not 0 < size <= MAX_WINDOW:
        raise ImportFailed(f"it looks at {size} neighbours")
    alpha, beta, bias = (node.number(key, value) for key, value in (("alpha", 1e-4), ("beta", 0.75), ("knorm", 2.0)))
    return build.node("LRN", [build.input()], size=size, alpha=alpha, beta=beta, bias=bias)


_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}


@rule("Activation")
def activation(build: Build, node: Node) -> str:
    """By its name."""
    kind = node.text("act_type")
    if kind not in _ACTIVATIONS:
        raise unsupported(f"the activation {kind[:50]!r}")
    return build.node(_ACTIVATIONS[kind], [build.input()])


@rule("LeakyReLU")
def leaky_relu(build: Build, node: Node) -> str:
    """The family of activations with something below zero."""
    x, graph, kind = build.input(), build.graph, node.text("act_type", "leaky")
    slope = node.number("slope", 0.25)
    if kind == "leaky":
        return build.node("LeakyRelu", [x], alpha=slope)
    if kind == "rrelu":
        bounds = node.number("lower_bound", 0.125) + node.number("upper_bound", 0.334)
        return build.node("LeakyRelu", [x], alpha=bounds / 2)
    if kind == "elu":
        return build.node("Elu", [x], alpha=slope)
    if kind == "selu":
        return build.node("Selu", [x])
    if kind == "gelu":
        inner = graph.node("Erf", [graph.node("Mul", [x, graph.scalar("half_root", 0.5**0.5)])])
        half = graph.node("Mul", [x, graph.scalar("half", 0.5)])
        return build.node("Mul", [half, graph.node("Add", [inner, graph.scalar("one", 1.0)])])
    if kind == "prelu":
        gamma = build.learned(1).reshape(-1)
        shape = (-1, *[1] * (graph.rank(x) - 2)) if gamma.size > 1 else (1,)
        return build.node("PRelu", [x, build.constant("slope", gamma.reshape(shape))])
    raise unsupported(f"the activation {kind[:50]!r}")


@rule("Pooling", "Pooling_v1")
def pooling(build: Build, node: Node) -> str:
    """The largest, mean or sum of a window; of everything if `global_pool`."""
    x, kind = build.input(), node.text("pool_type", "max")
    if node.text("layout") not in _CHANNELS_FIRST:
        raise unsupported(f"the layout {node.text('layout')[:20]}")
    if kind not in ("max", "avg", "sum"):
        raise unsupported(f"the pooling {kind[:20]!r}")
    op = "MaxPool" if kind == "max" else "AveragePool"
    if node.flag("global_pool"):
        if kind == "sum":
            axes = build.graph.ints("axes", range(2, build.graph.rank(x)))
            return build.node("ReduceSum", [x, axes], keepdims=1)
        return build.node(f"Global{op}", [x])
    convention = node.text("pooling_convention", "valid")
    if convention not in ("valid", "full"):
        raise unsupported(f"the convention {convention[:20]!r}")
    window = _window(node)
    counts = kind == "sum" or node.flag("count_include_pad", True)
    up = convention == "full"
    if kind == "sum" and up:
        raise unsupported("sums of windows whose number is rounded up")
    hint = build.hint(op)
    y = pool(build.graph, op, x, window, up=up, clip=False, counts_pad=counts, hint=hint)
    return y if kind != "sum" else build.node("Mul", [y, build.graph.scalar("count", float(prod(window.kernel)))])


@rule("_contrib_AdaptiveAvgPooling2D")
def adaptive_pooling(build: Build, node: Node) -> str:
    """Means of so many cells a side."""
    sizes = node.integers("output_size") or [1]
    sizes = sizes * 2 if len(sizes) == 1 else sizes
    if sizes == [1, 1]:
        return build.node("GlobalAveragePool", [build.input()])
    old = build.graph.known_shape(build.input(), [2, 3])
    if len(sizes) != 2 or any(new < 1 or size % new for size, new in zip(old, sizes, strict=True)):
        raise unsupported(f"adaptive pooling of {list(old)} to {sizes}")
    steps = [size // new for size, new in zip(old, sizes, strict=True)]
    return build.node("AveragePool", [build.input()], kernel_shape=steps, strides=steps)


@rule("SoftmaxOutput", "Softmax", "SoftmaxActivation", "softmax", "log_softmax", "SVMOutput", "softmin")
def softmax(build: Build, node: Node) -> str:
    """Exponentials that sum to 1: along an axis (lower case), over the channels, or over everything."""
    x, graph = build.input(), build.graph
    rank = graph.rank(x)
    if node.op == "SVMOutput":
        return build.node("Identity", [x])
    if node.op in ("softmax", "log_softmax", "softmin"):
        if node.flag("use_length"):
            raise unsupported("a softmax of sequences of several lengths")
        heat = node.number("temperature", 1.0) * (-1 if node.op == "softmin" else 1)
        if heat == 0:
            raise ImportFailed("its temperature is 0")
        x = graph.node("Div", [x, graph.scalar("heat", heat)]) if heat != 1 else x
        op = "LogSoftmax" if node.op == "log_softmax" else "Softmax"
        return build.node(op, [x], axis=build.axis(node.integer("axis", -1), rank))
    if node.flag("multi_output") or node.text("mode") == "channel" or rank == 2:
        return build.node("Softmax", [x], axis=1)
    if node.flag("preserve_shape"):
        return build.node("Softmax", [x], axis=rank - 1)
    flat = graph.node("Flatten", [x], axis=1)
    tail = [size if isinstance(size, int) else None for size in graph.shape(x)[1:]]
    if tail.count(None):
        raise ImportFailed("its softmax over everything needs the size. Give the option input_size")
    return graph.reshape(
        graph.node("Softmax", [flat], axis=1), [0, *(size for size in tail if size is not None)], build.hint("Reshape")
    )


@rule("LogisticRegressionOutput")
def logistic_output(build: Build, node: Node) -> str:
    """What its loss would compare."""
    return build.node("Sigmoid", [build.input()])


@rule(
    "Dropout", "BlockGrad", "stop_gradient", "identity", "_copy", "MakeLoss", "make_loss", "LinearRegressionOutput",
    "MAERegressionOutput", "IdentityAttachKLSparseReg", "_identity_with_attr_like_rhs", "_CrossDeviceCopy",
)  # fmt: skip
def same(build: Build, node: Node) -> str:
    """What does nothing once a network is trained."""
    return build.input()


@rule("Embedding")
def embedding(build: Build, node: Node) -> str:
    """Rows of a table, by numbers that MXNet holds as floats."""
    index = build.graph.node("Cast", [build.input()], to=7)
    return build.node("Gather", [build.input(1), index], axis=0)


@rule("UpSampling")
def upsampling(build: Build, node: Node) -> str:
    """Each number so many times; or by learned filters, one for each channel."""
    factor = node.integer("scale", 0)
    if not 0 < factor <= MAX_WINDOW:
        raise ImportFailed(f"its factor is {factor}, expected a number above 0")
    if node.text("sample_type", "nearest") == "nearest":
        if len(build.tensors) > 1:
            raise unsupported("upsampling of several inputs")
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return scale(build.graph, build.input(), [factor] * 2, build.hint("Resize"), **how)
    size = 2 * factor - factor % 2
    channels = build.learned(1).shape[0]
    build.learned(1, (channels, 1, size, size))
    more = {"kernel_shape": [size] * 2, "strides": [factor] * 2, "pads": [factor // 2] * 4, "group": channels}
    return build.node("ConvTranspose", [build.input(), build.input(1)], **more)


@rule("ROIPooling")
def roi_pooling(build: Build, node: Node) -> str:
    """The largest of each cell of a region; regions are (picture, left, top, right, bottom) [px of the input]."""
    sizes = node.integers("pooled_size")
    if len(sizes) != 2 or not all(0 < size <= MAX_WINDOW for size in sizes):
        raise ImportFailed(f"it pools to {sizes[:10]}, expected two numbers above 0")
    ratio = node.number("spatial_scale", 1.0)
    return build.node("MaxRoiPool", [build.input(), build.input(1)], pooled_shape=sizes, spatial_scale=ratio)


@rule("_contrib_BilinearResize2D")
def bilinear(build: Build, node: Node) -> str:
    """To a size, or by factors; corners on corners unless the graph says otherwise."""
    x, mode = build.input(), node.text("mode", "size")
    if mode != "size" or len(build.tensors) > 1:
        raise unsupported(f"resizing by the mode {mode[:20]!r}")
    align = "align_corners" if node.flag("align_corners", True) else "half_pixel"
    how = {"mode": "linear", "coordinate_transformation_mode": align}
    if node.has("scale_height"):
        old = build.graph.known_shape(x, [2, 3])
        factors = (node.number("scale_height", 1), node.number("scale_width", 1))
        sizes = [int(size * factor) for size, factor in zip(old, factors, strict=True)]
    else:
        sizes = [node.integer("height", 1), node.integer("width", 1)]
    return resize(build.graph, x, sizes, build.hint("Resize"), **how)


@rule("_contrib_MultiBoxPrior")
def prior_boxes(build: Build, node: Node) -> str:
    """The boxes that SSD corrects: a constant (1, boxes, 4), as shares of the picture."""
    rows, columns = build.graph.known_shape(build.input(), [2, 3])
    sizes, ratios = node.numbers("sizes", [1.0]), node.numbers("ratios", [1.0])
    if rows * columns * (len(sizes) + len(ratios)) > 1 << 24 or not sizes or min(ratios, default=0) <= 0:
        raise ImportFailed(f"it makes {len(sizes)} x {len(ratios)} boxes at {rows} x {columns} places")
    down, right = node.numbers("steps", [-1, -1])
    down, right = down if down > 0 else 1 / rows, right if right > 0 else 1 / columns
    top, left = node.numbers("offsets", [0.5, 0.5])
    y, x = np.meshgrid((np.arange(rows) + top) * down, (np.arange(columns) + left) * right, indexing="ij")
    squeeze = rows / columns
    halves = [(size * squeeze / 2, size / 2) for size in sizes]
    halves += [(sizes[0] * squeeze * ratio**0.5 / 2, sizes[0] / ratio**0.5 / 2) for ratio in ratios[1:]]
    centre, half = np.stack([x, y], -1)[:, :, None], np.array(halves)
    boxes = np.concatenate([centre - half, centre + half], -1).reshape(1, -1, 4).astype(np.float32)
    return build.constant("boxes", boxes.clip(0, 1) if node.flag("clip") else boxes)
