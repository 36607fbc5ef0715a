"""Tiny face detector of face-api: a small YOLO of separable convolutions; any size of picture.

Its output is the grid of YOLO v2: for each cell of 32 pixels and each of five anchors x, y, log width, log height and
a logit of the score, to be decoded outside.

Source: Redmon and Farhadi 2017, arXiv:1612.08242; face-api.js, src/tinyYolov2 (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glia.importers.architectures import Weights, check_shapes
from glia.importers.architectures.hwio import Layers, Shapes, conv_shapes, separable_shapes
from glia.importers.importer import ImportedGraph, refuse_unknown

CHANNELS = (16, 32, 64, 128, 256, 512)
ANCHORS = ((1.603231, 2.094468), (6.041143, 7.080126), (2.882459, 3.518061), (4.266906, 5.178857), (9.041765, 10.66308))
"""Width and height in cells."""
MEAN = (117.001, 114.697, 97.404)
SLOPE = 0.1


def shapes() -> Shapes:
    """Every tensor by its name."""
    expected = conv_shapes("conv0", 3, CHANNELS[0])
    for number in range(1, len(CHANNELS)):
        expected |= separable_shapes(f"conv{number}", CHANNELS[number - 1], CHANNELS[number])
    return expected | conv_shapes("conv8", CHANNELS[-1], 5 * len(ANCHORS), 1)


class TinyFaceDetector:
    """`image` [n, 3, h, w] to `grid` [n, rows, columns, 25]; no options."""

    name = "tiny-face-detector"
    marks = frozenset({"conv0/filters", "conv5/depthwise_filter", "conv8/filters"})

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        check_shapes(weights, shapes())
        net = Layers(self.name, weights)
        x = net.conv("conv0", net.image(MEAN, 256.0), pad="VALID")
        for number in range(1, len(CHANNELS)):
            x = net.max_pool(net.graph.node("LeakyRelu", [x], "leaky", alpha=SLOPE), 2, 2)
            x = net.separable(f"conv{number}", x)
        x = net.max_pool(net.graph.node("LeakyRelu", [x], "leaky", alpha=SLOPE), 2, 1)
        grid = net.graph.transpose(net.conv("conv8", x, pad="VALID"), [0, 2, 3, 1], "cells")
        known = {"size": (416, 416), "colour": "rgb"}
        return net.finish({"grid": grid}, known, "takes RGB of 0..255, of any size; 416 x 416 is usual")


ARCHITECTURE = TinyFaceDetector()
