"""ResNet and ResNeXt with the keys of torchvision: 18 to 152 layers, wide ones, grouped ones; their shapes tell which.

A block of two 3x3 convolutions, or of 1x1, 3x3 and 1x1, is added to its input; the first block of a stage halves the
size by its 3x3 convolution. Batch normalisation is folded into the convolution before it, in float64.

Source: He et al. 2016, arXiv:1512.03385; Xie et al. 2017, arXiv:1611.05431; torchvision, models/resnet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights, check_shapes
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown

BN_EPSILON = 1e-5
STAGES = (1, 2, 3, 4)
MAX_BLOCKS = 200
PARTS = ("weight", "bias", "running_mean", "running_var")


def plan(weights: Weights) -> dict[str, tuple[int, int, int, int, int]]:
    """Convolution to channels in and out, kernel, stride and groups, as far as the keys tell.

    Raises ImportFailed where they are not those of this family.
    """

    def channels(name: str) -> int:
        value = weights.get(f"{name}.weight")
        if value is None or value.ndim != 4 or not value.shape[0]:
            raise ImportFailed(f"Expected the filters {name}.weight of a ResNet; they are missing, or of another rank.")
        return int(value.shape[0])

    into = channels("conv1")
    found = {"conv1": (3, into, 7, 2, 1)}
    for stage in STAGES:
        for block in range(MAX_BLOCKS):
            name = f"layer{stage}.{block}"
            if f"{name}.conv1.weight" not in weights:
                break
            stride = 2 if stage > 1 and block == 0 else 1
            inner, deep = channels(f"{name}.conv1"), f"{name}.conv3.weight" in weights
            middle = channels(f"{name}.conv2")
            if deep:
                grouped = weights[f"{name}.conv2.weight"].shape[1]
                found[f"{name}.conv1"] = (into, inner, 1, 1, 1)
                found[f"{name}.conv2"] = (inner, middle, 3, stride, max(1, inner // max(1, grouped)))
                found[f"{name}.conv3"] = (middle, channels(f"{name}.conv3"), 1, 1, 1)
            else:
                found[f"{name}.conv1"] = (into, inner, 3, stride, 1)
                found[f"{name}.conv2"] = (inner, middle, 3, 1, 1)
            out = found[f"{name}.conv{3 if deep else 2}"][1]
            if stride > 1 or into != out:
                found[f"{name}.downsample.0"] = (into, out, 1, stride, 1)
            into = out
    return found


def norm_of(convolution: str) -> str:
    """The normalisation after a convolution."""
    if convolution.endswith("downsample.0"):
        return convolution.removesuffix("0") + "1"
    return convolution.replace("conv", "bn")


def shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Every tensor of the network that these weights seem to be of."""
    expected: dict[str, tuple[int, ...]] = {}
    into = 0
    for name, (before, out, kernel, _, groups) in plan(weights).items():
        expected[f"{name}.weight"] = (out, before // groups, kernel, kernel)
        expected |= {f"{norm_of(name)}.{part}": (out,) for part in PARTS}
        into = out
    classes = weights["fc.weight"].shape[0] if "fc.weight" in weights and weights["fc.weight"].ndim == 2 else 1000
    return expected | {"fc.weight": (int(classes), into), "fc.bias": (int(classes),)}


class ResNet:
    """The family: `image` [n, 3, h, w] to `logits` [n, classes]; no options: the shapes tell all."""

    name = "resnet"
    marks = frozenset(
        {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.0.downsample.0.weight", "fc.weight"}
    )

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        expected = shapes(weights)
        check_shapes(weights, expected, ignored=".num_batches_tracked")
        graph, layers = GraphWriter(self.name), plan(weights)

        def conv(name: str, x: str) -> str:
            return _conv(graph, weights, name, x, layers[name])

        x = graph.node("Relu", [conv("conv1", graph.input("image", ["n", 3, "h", "w"]))], "relu")
        x = graph.node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for block in dict.fromkeys(name.rsplit(".conv", 1)[0] for name in layers if ".conv" in name):
            y = x
            names = [name for name in layers if name.startswith(f"{block}.conv")]
            for number, name in enumerate(names):
                y = conv(name, y)
                y = graph.node("Relu", [y], "relu") if number + 1 < len(names) else y
            if f"{block}.downsample.0" in layers:
                x = conv(f"{block}.downsample.0", x)
            x = graph.node("Relu", [graph.node("Add", [y, x], "sum")], "relu")
        x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x], "pool")], "features", axis=1)
        with graph.layer("fc", "Linear"):
            parts = [graph.constant(f"fc.{part}", weights[f"fc.{part}"].astype(np.float32)) for part in PARTS[:2]]
            x = graph.node("Gemm", [x, *parts], "fc", transB=1)
        graph.output("logits", x, ["n", expected["fc.bias"][0]])
        note = (
            f"{len([name for name in layers if 'downsample' not in name]) + 1} layers; normalisation folded in float64"
        )
        return ImportedGraph(graph.model(), {"image": "image"}, {"logits": "logits"}, (note,), tuple(graph.layers))


def _conv(graph: GraphWriter, weights: Weights, name: str, x: str, described: tuple[int, int, int, int, int]) -> str:
    """A convolution with its normalisation folded in."""
    _, _, kernel, stride, groups = described
    gamma, beta, mean, variance = (weights[f"{norm_of(name)}.{part}"].astype(np.float64) for part in PARTS)
    if (variance + BN_EPSILON <= 0).any():
        raise ImportFailed(f"{norm_of(name)}.running_var holds negative variances, expected none. The file is damaged.")
    scale = gamma / np.sqrt(variance + BN_EPSILON)
    with graph.layer(name, "Conv2d and BatchNorm2d"):
        filters = (weights[f"{name}.weight"] * scale[:, None, None, None]).astype(np.float32)
        inputs = [x, graph.constant(name, filters), graph.constant("bias", (beta - mean * scale).astype(np.float32))]
        pads = [kernel // 2] * 4
        return graph.node("Conv", inputs, name, strides=[stride, stride], pads=pads, group=groups)


ARCHITECTURE = ResNet()
