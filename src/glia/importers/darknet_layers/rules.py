"""What a kind of section is in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed
from glia.importers.darknet_layers.files import Numbers, Section
from glia.importers.faults import unsupported
from glia.importers.graph import GraphWriter
from glia.importers.windows import LOWEST, Window, pad_axes, scale

EPSILON = 1e-6  # added to variances; some versions of Darknet add as much to the root, others 1e-5 to the variance
HEADS = {"yolo", "region", "detection", "Gaussian_yolo", "iseg"}
"""Kinds that read boxes out of numbers: what they are given is the output."""
IDENTITY = {"dropout", "cost", "contrastive"}
REFUSED_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "convolutional": ("binary", "xnor", "antialiasing", "share_index", "deform", "stream", "rotate", "sway"),
    "maxpool": ("antialiasing", "maxpool_depth", "out_channels"),
    "shortcut": ("weights_type", "weights_normalization"),
    "route": ("stream",),
    "reorg": ("reverse", "flatten", "extra"),
    "softmax": ("tree", "noloss"),
    "connected": (),
    "upsample": (),
}


@dataclass
class Build:
    """A graph under way: what each layer gave, by its place."""

    graph: GraphWriter
    numbers: Numbers
    tensors: list[str] = field(default_factory=list)
    source: str = ""
    """The network's input."""
    section: Section = field(default_factory=lambda: Section("", -1))

    @property
    def before(self) -> str:
        """What the layer before gave."""
        return self.tensors[-1] if self.tensors else self.source

    def layer(self, number: int) -> str:
        """What another layer gave: by its place, or counted back from the one at hand. Raises ImportFailed."""
        place = number + len(self.tensors) if number < 0 else number
        if not 0 <= place < len(self.tensors):
            raise ImportFailed(f"it names the layer {number}, which does not come before it")
        return self.tensors[place]

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """An operator with one output, named after the layer."""
        return self.graph.node(op, inputs, f"{self.section.name}:{op}", **attributes)

    def constant(self, what: str, value: Float32[np.ndarray, "..."]) -> str:
        """An array named after the layer."""
        return self.graph.constant(f"{self.section.name}:{what}", value)

    def channels(self, tensor: str) -> int:
        """The size of the second axis."""
        return self.graph.known_shape(tensor, [1])[0]


Rule = Callable[[Build, Section], str]


def activate(build: Build, x: str, kind: str) -> str:
    """Darknet's activations. Raises ImportFailed for one that is unknown."""
    graph = build.graph
    simple: dict[str, tuple[str, dict[str, float]]] = {
        "leaky": ("LeakyRelu", {"alpha": 0.1}),
        "relie": ("LeakyRelu", {"alpha": 0.01}),
        "relu": ("Relu", {}),
        "logistic": ("Sigmoid", {}),
        "tanh": ("Tanh", {}),
        "elu": ("Elu", {"alpha": 1.0}),
        "selu": ("Selu", {"alpha": 1.6732, "gamma": 1.0507}),
    }
    if kind == "linear":
        return x
    if kind in simple:
        op, attributes = simple[kind]
        return build.node(op, [x], **attributes)
    if kind in ("relu6", "hardtan"):
        low, high = (0.0, 6.0) if kind == "relu6" else (-1.0, 1.0)
        return build.node("Clip", [x, graph.scalar("min", low), graph.scalar("max", high)])
    if kind == "mish":
        return build.node("Mul", [x, graph.node("Tanh", [graph.node("Softplus", [x])])])
    if kind == "swish":
        return build.node("Mul", [x, graph.node("Sigmoid", [x])])
    if kind == "ramp":
        return build.node("Add", [graph.node("Relu", [x]), graph.node("Mul", [x, graph.scalar("slope", 0.1)])])
    if kind == "loggy":
        twice = graph.node("Mul", [graph.node("Sigmoid", [x]), graph.scalar("two", 2.0)])
        return build.node("Sub", [twice, graph.scalar("one", 1.0)])
    raise unsupported(f"the activation {kind[:50]!r}")


def _folded(build: Build, out: int, section: Section, shape: tuple[int, ...], *, late: bool) -> list[str]:
    """Weights and bias, with the normalisation behind them worked in; `late`: its numbers come after the weights."""
    numbers = build.numbers
    bias, normalised = numbers.take(out), section.integer("batch_normalize", 0) != 0
    parts = [numbers.take(out) for _ in range(3)] if normalised and not late else []
    weights = numbers.take(*shape[::-1]).T if late and numbers.transposed else numbers.take(*shape)
    if normalised and late:
        parts = [numbers.take(out) for _ in range(3)]
    if normalised:
        slope, mean, variance = (part.astype(np.float64) for part in parts)
        if (variance < 0).any():
            raise ImportFailed("its variance is negative. The weights are damaged, or belong to another cfg")
        factor = slope / np.sqrt(variance + EPSILON)
        with np.errstate(over="ignore"):
            weights = (weights * factor.reshape(-1, *[1] * (len(shape) - 1))).astype(np.float32)
            bias = (bias - mean * factor).astype(np.float32)
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ImportFailed("its weights grow infinite by their normalisation. They belong to another cfg")
    return [build.constant("weights", weights), build.constant("bias", bias)]


def convolutional(build: Build, section: Section) -> str:
    """Filters; `pad` is a yes that pads by half of the size, `padding` a number."""
    x, out, size = build.before, section.size("filters", 1), section.size("size", 1)
    channels, groups = build.channels(x), section.size("groups", 1)
    if channels % groups or out % groups:
        raise ImportFailed(f"{channels} channels to {out} in {groups} groups cannot be")
    pad = size // 2 if section.integer("pad", 0) else section.size("padding", 0, least=0)
    stride = section.size("stride", 1)
    dilation = section.size("dilation", 1) if size > 1 else 1
    steps = [section.size("stride_y", stride), section.size("stride_x", stride)]
    parts = _folded(build, out, section, (out, channels // groups, size, size), late=False)
    attributes = {"kernel_shape": [size] * 2, "strides": steps, "pads": [pad * dilation] * 4, "group": groups}
    y = build.node("Conv", [x, *parts], dilations=[dilation] * 2, **attributes)
    return activate(build, y, section.options.get("activation", "logistic"))


def connected(build: Build, section: Section) -> str:
    """A matrix product with everything, in the order channels, rows, columns."""
    x, out = build.before, section.size("output", 1)
    width = prod(build.graph.known_shape(x, range(1, build.graph.rank(x))))
    weights, bias = _folded(build, out, section, (out, width), late=True)
    flat = build.graph.node("Flatten", [x], axis=1) if build.graph.rank(x) != 2 else x
    y = build.node("Gemm", [flat, weights, bias], transB=1)
    return activate(build, y, section.options.get("activation", "logistic"))


def maxpool(build: Build, section: Section) -> str:
    """Padding counts both sides together, and the smaller half lies in front."""
    stride = section.size("stride", 1)
    size = section.size("size", stride)
    steps = section.size("stride_y", stride), section.size("stride_x", stride)
    padding = section.size("padding", size - 1, least=0)
    begin, end = padding // 2, padding - padding // 2
    Window((size,) * 2, steps, (begin,) * 2).check()
    x, pads = build.before, [begin, begin, end, end]
    if end >= size:
        x, pads = pad_axes(build.graph, x, [begin] * 2, [end] * 2, LOWEST), [0] * 4
    return build.node("MaxPool", [x], kernel_shape=[size] * 2, strides=list(steps), pads=pads)


def avgpool(build: Build, section: Section) -> str:
    """The mean of each channel."""
    return build.node("GlobalAveragePool", [build.before])


def route(build: Build, section: Section) -> str:
    """Other layers, joined by channels; or a part of each one's channels."""
    tensors = [build.layer(number) for number in section.integers("layers")]
    if not tensors:
        raise ImportFailed("it names no layers")
    groups, which = section.size("groups", 1), section.size("group_id", 0, least=0)
    if groups > 1:
        tensors = [_part(build, tensor, groups, which) for tensor in tensors]
    return tensors[0] if len(tensors) == 1 else build.node("Concat", tensors, axis=1)


def _part(build: Build, tensor: str, groups: int, which: int) -> str:
    width = build.channels(tensor) // groups
    if which >= groups or not width:
        raise ImportFailed(f"it takes part {which} of {groups}")
    return _channels(build, tensor, which * width, (which + 1) * width)


def _channels(build: Build, tensor: str, begin: int, end: int) -> str:
    bounds = [build.graph.ints(name, [value]) for name, value in (("starts", begin), ("ends", end), ("axes", 1))]
    return build.graph.node("Slice", [tensor, *bounds])


def shortcut(build: Build, section: Section) -> str:
    """Plus other layers; of one with another number of channels, the first ones."""
    result = build.before
    channels = build.channels(result)
    froms = section.integers("from")
    if not froms:
        raise ImportFailed("it names no layer")
    for number in froms:
        other = build.layer(number)
        count = build.channels(other)
        sizes = [build.graph.shape(tensor)[2:] for tensor in (result, other)]
        if any(a != b for a, b in zip(*sizes, strict=True) if isinstance(a, int) and isinstance(b, int)):
            raise unsupported("a shortcut between pictures of different sizes")
        if count > channels:
            other = _channels(build, other, 0, channels)
        elif count < channels:
            pads = build.graph.ints("pads", [0, 0, 0, 0, 0, channels - count, 0, 0])
            other = build.graph.node("Pad", [other, pads], mode="constant")
        result = build.node("Add", [result, other])
    return activate(build, result, section.options.get("activation", "linear"))


def upsample(build: Build, section: Section) -> str:
    """Each number so many times."""
    factor = section.size("stride", 2)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = scale(build.graph, build.before, [factor] * 2, f"{section.name}:Resize", **how)
    weight = section.number("scale", 1.0)
    return y if weight == 1 else build.node("Mul", [y, build.graph.scalar("scale", weight)])


def reorg(build: Build, section: Section) -> str:
    """Pixels to channels, as Darknet does it: over a picture whose numbers are read as if it had fewer channels."""
    graph, x, step = build.graph, build.before, section.size("stride", 1)
    channels, rows, columns = graph.known_shape(x, [1, 2, 3])
    if channels % (step * step) or rows % step or columns % step:
        raise ImportFailed(f"{channels} channels of {rows} x {columns} do not divide by {step}")
    few = channels // (step * step)
    parts = graph.reshape(x, [0, few, rows, step, columns, step])
    turned = graph.transpose(parts, [0, 3, 5, 1, 2, 4])
    shape = [0, channels * step * step, rows // step, columns // step]
    return graph.reshape(turned, shape, f"{section.name}:Reshape")


def softmax(build: Build, section: Section) -> str:
    """Exponentials that sum to 1, over everything or over the channels of each place."""
    x, graph = build.before, build.graph
    if section.integer("groups", 1) != 1:
        raise unsupported("a softmax of groups")
    if (heat := section.number("temperature", 1.0)) != 1:
        if heat == 0:
            raise ImportFailed("its temperature is 0")
        x = graph.node("Mul", [x, graph.scalar("coldness", 1 / heat)])
    if not section.integer("spatial", 0) and graph.rank(x) != 2:
        x = graph.node("Flatten", [x], axis=1)
    return build.node("Softmax", [x], axis=1)


def scaled(build: Build, section: Section) -> str:
    """Another layer, times this one: a factor of each channel (`scale_channels`), or of each number (`sam`)."""
    y = build.node("Mul", [build.layer(section.integer("from", -1)), build.before])
    return activate(build, y, section.options.get("activation", "linear"))


def crop(build: Build, section: Section) -> str:
    """The middle of the picture, as -1..1 instead of 0..1 unless `noadjust` is set: what it does once trained."""
    sizes = [section.size(key, 1) for key in ("crop_height", "crop_width")]
    old = build.graph.known_shape(build.before, [2, 3])
    begins = [(a - b) // 2 for a, b in zip(old, sizes, strict=True)]
    if min(begins) < 0:
        raise ImportFailed(f"it crops {sizes} out of {list(old)}")
    after = [a - b - c for a, b, c in zip(old, sizes, begins, strict=True)]
    x = pad_axes(build.graph, build.before, [-begin for begin in begins], [-end for end in after], 0.0)
    if section.integer("noadjust", 0):
        return x
    twice = build.graph.node("Mul", [x, build.graph.scalar("two", 2.0)])
    return build.node("Sub", [twice, build.graph.scalar("one", 1.0)])


def activation(build: Build, section: Section) -> str:
    """An activation alone."""
    return activate(build, build.before, section.options.get("activation", "linear"))


def logistic(build: Build, section: Section) -> str:
    """What its loss would compare."""
    return build.node("Sigmoid", [build.before])


RULES: Mapping[str, Rule] = {
    "convolutional": convolutional,
    "connected": connected,
    "maxpool": maxpool,
    "avgpool": avgpool,
    "route": route,
    "shortcut": shortcut,
    "upsample": upsample,
    "reorg": reorg,
    "softmax": softmax,
    "scale_channels": scaled,
    "sam": scaled,
    "crop": crop,
    "activation": activation,
    "logistic": logistic,
}
