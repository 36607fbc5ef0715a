"""SSD on MobileNet v1, as face-api finds faces with it: 512 x 512 pixels, 5118 anchors that lie in the file.

Pointwise convolutions have their normalisation folded in already, depthwise ones have it beside them.

Source: Liu et al. 2016, arXiv:1512.02325; Howard et al. 2017, arXiv:1704.04861; face-api.js, src/ssdMobilenetv1 (MIT).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights, check_shapes
from glia.importers.architectures.hwio import Layers, Shapes
from glia.importers.importer import ImportedGraph, refuse_unknown

SIZE, ANCHORS = 512, 5118
EPSILON = 0.0010000000474974513
CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
HALVED = (2, 4, 6, 12)
EXTRA = (
    (1024, 256, 1),
    (256, 512, 3),
    (512, 128, 1),
    (128, 256, 3),
    (256, 128, 1),
    (128, 256, 3),
    (256, 64, 1),
    (64, 128, 3),
)
"""Further convolutions: channels in and out, kernel; those of 3 x 3 halve the size."""
HEADS = (512, 1024, 512, 256, 256, 128)
"""Channels that each predictor of boxes sees."""
CLASSES = 3
ANCHORS_OF = "Output/extra_dim"
NORMS = ("gamma", "beta", "moving_mean", "moving_variance")
LEFTOVERS = re.compile(r"(Preprocessor|Postprocessor|concat_1)/.*|Prediction/BoxPredictor_\d/(stack|strided_slice).*")
"""Constants of the graph that the weights were taken from: axes, sizes."""


def shapes() -> Shapes:
    """Every tensor by its name."""

    def pointwise(name: str, into: int, out: int, kernel: int) -> Shapes:
        return {f"{name}/weights": (kernel, kernel, into, out), f"{name}/convolution_bn_offset": (out,)}

    expected = pointwise("MobilenetV1/Conv2d_0_pointwise", 3, CHANNELS[0], 3)
    for number in range(1, len(CHANNELS)):
        into, name = CHANNELS[number - 1], f"MobilenetV1/Conv2d_{number}"
        expected[f"{name}_depthwise/depthwise_weights"] = (3, 3, into, 1)
        expected |= {f"{name}_depthwise/BatchNorm/{part}": (into,) for part in NORMS}
        expected |= pointwise(f"{name}_pointwise", into, CHANNELS[number], 1)
    for number, (into, out, kernel) in enumerate(EXTRA):
        expected |= pointwise(f"Prediction/Conv2d_{number}_pointwise", into, out, kernel)
    for number, channels in enumerate(HEADS):
        count = 3 if number == 0 else 6
        for head, width in (("BoxEncodingPredictor", 4), ("ClassPredictor", CLASSES)):
            name = f"Prediction/BoxPredictor_{number}/{head}"
            expected |= {f"{name}/weights": (1, 1, channels, count * width), f"{name}/biases": (count * width,)}
    return expected | {ANCHORS_OF: (1, ANCHORS, 4)}


class SsdMobileNetV1:
    """`image` [n, 3, 512, 512] to `boxes` [n, 5118, 4] and `scores` [n, 5118]; no options."""

    name = "ssd-mobilenet-v1"
    marks = frozenset(
        {"MobilenetV1/Conv2d_0_pointwise/weights", "Prediction/BoxPredictor_5/ClassPredictor/weights", ANCHORS_OF}
    )

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        expected = shapes()
        used = {name: value for name, value in weights.items() if not LEFTOVERS.fullmatch(name)}
        check_shapes(used, expected)
        net = Layers(self.name, used)
        x = self._pointwise(net, "MobilenetV1/Conv2d_0_pointwise", net.image((127.5,) * 3, 127.5, SIZE), 2)
        seen = []
        for number in range(1, len(CHANNELS)):
            name = f"MobilenetV1/Conv2d_{number}"
            x = self._depthwise(net, f"{name}_depthwise", x, 2 if number in HALVED else 1)
            x = self._pointwise(net, f"{name}_pointwise", x, 1)
            if number in (11, 13):
                seen.append(x)
        for number, (_, _, kernel) in enumerate(EXTRA):
            x = self._pointwise(net, f"Prediction/Conv2d_{number}_pointwise", x, 2 if kernel == 3 else 1)
            if kernel == 3:
                seen.append(x)
        boxes, classes = (self._predicted(net, seen, head, width) for head, width in
                          (("BoxEncodingPredictor", 4), ("ClassPredictor", CLASSES)))  # fmt: skip
        outputs = {"boxes": self._decoded(net, boxes), "scores": self._scores(net, classes)}
        known = {"size": (SIZE, SIZE), "colour": "rgb"}
        return net.finish(
            outputs, known, "takes RGB of 0..255", "boxes: top, left, bottom, right in shares of the picture"
        )

    def _pointwise(self, net: Layers, name: str, x: str, stride: int) -> str:
        with net.graph.layer(name, "conv"):
            y = net.filters(
                f"{name}/weights", x, f"{name}/convolution_bn_offset", strides=[stride] * 2, auto_pad="SAME_UPPER"
            )
            return _relu6(net, y)

    def _depthwise(self, net: Layers, name: str, x: str, stride: int) -> str:
        """Each channel by itself; the normalisation is folded in."""
        gamma, beta, mean, variance = (net.weights[f"{name}/BatchNorm/{part}"].astype(np.float64) for part in NORMS)
        if (variance + EPSILON <= 0).any():
            raise ImportFailed(f"{name}/BatchNorm/moving_variance holds negative variances. The file is damaged.")
        scale = gamma / np.sqrt(variance + EPSILON)
        kernel = net.weights[f"{name}/depthwise_weights"].transpose(2, 3, 0, 1) * scale.reshape(-1, 1, 1, 1)
        with net.graph.layer(name, "depthwise conv"):
            inputs = [x, net.graph.constant(name, kernel.astype(np.float32))]
            inputs.append(net.graph.constant(f"{name}/bias", (beta - mean * scale).astype(np.float32)))
            attributes = {
                "strides": [stride] * 2,
                "auto_pad": "SAME_UPPER",
                "group": len(scale),
                "kernel_shape": [3, 3],
            }
            return _relu6(net, net.graph.node("Conv", inputs, f"{name}/conv", **attributes))

    def _predicted(self, net: Layers, seen: list[str], head: str, width: int) -> str:
        """What each anchor of each scale is said to be, one after the other."""
        rows = []
        for number, x in enumerate(seen):
            name = f"Prediction/BoxPredictor_{number}/{head}"
            with net.graph.layer(name, "conv"):
                y = net.filters(f"{name}/weights", x, f"{name}/biases")
                rows.append(net.graph.reshape(net.graph.transpose(y, [0, 2, 3, 1], "cells"), [0, -1, width], "rows"))
        return net.graph.node("Concat", rows, head, axis=1)

    def _decoded(self, net: Layers, encoded: str) -> str:
        """Centres move by tenths of the anchor's size, sizes grow by the exponential of fifths."""
        anchors, graph = net.array(ANCHORS_OF), net.graph
        size = anchors[:, :, 2:] - anchors[:, :, :2]
        centre = anchors[:, :, :2] + size / 2
        moved, grown = graph.nodes("Split", [encoded, graph.ints("parts", [2, 2])], 2, "part", axis=2)
        middle = graph.node("Mul", [moved, graph.constant("tenths", size / 10)], "moved")
        middle = graph.node("Add", [middle, graph.constant("centres", centre)], "middle")
        half = graph.node("Exp", [graph.node("Div", [grown, graph.scalar("five", 5.0)], "fifths")], "grown")
        half = graph.node("Mul", [half, graph.constant("halves", size / 2)], "half")
        corners = [graph.node(kind, [middle, half], "corner") for kind in ("Sub", "Add")]
        return graph.node("Concat", corners, "corners", axis=2)

    def _scores(self, net: Layers, classes: str) -> str:
        """Of the first class after the background."""
        score = net.graph.node("Gather", [classes, net.graph.constant("face", np.array(1))], "face_logit", axis=2)
        return net.graph.node("Sigmoid", [score], "face_score")


def _relu6(net: Layers, x: str) -> str:
    return net.graph.node("Clip", [x, net.graph.scalar("zero", 0.0), net.graph.scalar("six", 6.0)], "relu6")


ARCHITECTURE = SsdMobileNetV1()
