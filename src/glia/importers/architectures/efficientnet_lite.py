"""EfficientNet-Lite: EfficientNet with ReLU6 and without squeeze-and-excite; keys as in the PyTorch port.

A block widens its channels by a 1x1 convolution, filters each channel by itself (depthwise), and narrows them again;
where neither size nor channels change, its input is added. Batch normalisation is an affine map once trained,
so it is folded into the convolution before it, in float64.

Source: Tan and Le 2019, arXiv:1905.11946; TensorFlow's EfficientNet-Lite release notes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights, check_shapes
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown

BN_EPSILON = 1e-3
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
STAGES = (  # repeats, kernel [px], stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Block:
    """One inverted residual block; channels before, inside and after it."""

    name: str
    kernel: int
    stride: int
    before: int
    inside: int
    after: int


def rounded(channels: int, width: float) -> int:
    """Channels times `width`, to the nearest multiple of 8 that takes away no more than a tenth."""
    wanted = channels * width
    result = max(8, int(wanted + 4) // 8 * 8)
    return result + 8 if result < 0.9 * wanted else result


def blocks(width: float, depth: float) -> Iterator[Block]:
    """The blocks in order; the first and the last stage keep their repeats, stem and head their channels."""
    before, index = STEM_CHANNELS, 0
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        after = rounded(channels, width)
        count = repeats if stage in (0, len(STAGES) - 1) else math.ceil(depth * repeats)
        for repeat in range(count):
            yield Block(f"_blocks.{index}", kernel, stride if repeat == 0 else 1, before, before * expansion, after)
            before, index = after, index + 1


def shapes(width: float, depth: float, classes: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of the network by its key."""
    expected: dict[str, tuple[int, ...]] = {}

    def convolution(conv: str, norm: str, out: int, into: int, kernel: int) -> None:
        expected[f"{conv}.weight"] = (out, into, kernel, kernel)
        expected.update({f"{norm}.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")})

    convolution("_conv_stem", "_bn0", STEM_CHANNELS, 3, 3)
    last = STEM_CHANNELS
    for b in blocks(width, depth):
        if b.inside != b.before:
            convolution(f"{b.name}._expand_conv", f"{b.name}._bn0", b.inside, b.before, 1)
        convolution(f"{b.name}._depthwise_conv", f"{b.name}._bn1", b.inside, 1, b.kernel)
        convolution(f"{b.name}._project_conv", f"{b.name}._bn2", b.after, b.inside, 1)
        last = b.after
    convolution("_conv_head", "_bn1", HEAD_CHANNELS, last, 1)
    expected |= {"_fc.weight": (classes, HEAD_CHANNELS), "_fc.bias": (classes,)}
    return expected


class Writer:
    """Writes the layers of one network, with the weights of its keys."""

    def __init__(self, weights: Weights) -> None:
        self.graph = GraphWriter("efficientnet-lite")
        self.weights = weights
        self.zero = self.graph.constant("zero", np.array(0, np.float32))
        self.six = self.graph.constant("six", np.array(6, np.float32))

    def convolution(self, x: str, conv: str, norm: str, stride: int = 1, group: int = 1) -> str:
        """A convolution without bias, its batch normalisation folded in.

        TensorFlow's padding: as much as makes the output ceil(size / stride), the odd pixel at the lower right.
        """
        weight = self.weights[f"{conv}.weight"].astype(np.float64)
        gamma, beta, mean, variance = (
            self.weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        if (variance + BN_EPSILON <= 0).any():
            raise ImportFailed(f"{norm}.running_var holds negative variances, expected none. The file is damaged.")
        scale = gamma / np.sqrt(variance + BN_EPSILON)
        folded = self.graph.constant(f"{conv}.weight", (weight * scale[:, None, None, None]).astype(np.float32))
        bias = self.graph.constant(f"{conv}.bias", (beta - mean * scale).astype(np.float32))
        kernel = weight.shape[2]
        return self.graph.node(
            "Conv",
            [x, folded, bias],
            conv,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=group,
            auto_pad="SAME_UPPER",
        )

    def relu6(self, x: str) -> str:
        """Cut to [0, 6]."""
        return self.graph.node("Clip", [x, self.zero, self.six], f"{x}.relu6")

    def block(self, x: str, b: Block) -> str:
        """Widen, filter, narrow, and add the input where shapes allow."""
        y = x
        if b.inside != b.before:
            y = self.relu6(self.convolution(y, f"{b.name}._expand_conv", f"{b.name}._bn0"))
        y = self.relu6(self.convolution(y, f"{b.name}._depthwise_conv", f"{b.name}._bn1", b.stride, b.inside))
        y = self.convolution(y, f"{b.name}._project_conv", f"{b.name}._bn2")
        if b.stride == 1 and b.before == b.after:
            y = self.graph.node("Add", [x, y], f"{b.name}.sum")
        return y


class EfficientNetLite:
    """The family; options: `width` and `depth` (required), `classes` (1000), `resolution` [px] (a note only)."""

    name = "efficientnet-lite"

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """`image` [n, 3, h, w] to `logits` [n, classes]; every size of picture goes."""
        refuse_unknown(options, {"width", "depth", "classes", "resolution"})
        width, depth = _number(options, "width"), _number(options, "depth")
        classes = options.get("classes", 1000)
        if not isinstance(classes, int) or not 1 <= classes <= 1_000_000:
            raise ImportFailed(
                f"Expected the option `classes` to be an integer from 1 to 1000000, received {classes!r}."
            )
        check_shapes(weights, shapes(width, depth, classes), ignored=".num_batches_tracked")
        writer = Writer(weights)
        graph = writer.graph
        x = graph.input("image", ["n", 3, "h", "w"])
        x = writer.relu6(writer.convolution(x, "_conv_stem", "_bn0", stride=2))
        for b in blocks(width, depth):
            x = writer.block(x, b)
        x = writer.relu6(writer.convolution(x, "_conv_head", "_bn1"))
        x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x], "pool")], "features", axis=1)
        weight, bias = (graph.constant(key, weights[key].astype(np.float32)) for key in ("_fc.weight", "_fc.bias"))
        graph.output("logits", graph.node("Gemm", [x, weight, bias], "_fc", transB=1), ["n", classes])
        notes = ["batch normalisation folded in float64"]
        if "resolution" in options:
            notes.append(f"trained for {options['resolution']} px")
        return ImportedGraph(graph.model(), {"image": "image"}, {"logits": "logits"}, tuple(notes))


def _number(options: Mapping[str, Any], key: str) -> float:
    value = options.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 10:
        raise ImportFailed(
            f"Expected the option `{key}` to be a number in (0, 10], received {value!r}. "
            "Width and depth of Lite0 are 1.0 and 1.0, of Lite2 1.1 and 1.2."
        )
    return float(value)


ARCHITECTURE = EfficientNetLite()
