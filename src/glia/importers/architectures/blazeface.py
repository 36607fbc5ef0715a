"""BlazeFace for the front camera: faces with six points, in 128 x 128 pixels; keys as in its port to PyTorch.

A block filters each channel by itself, mixes them, and adds its input, whose new channels are zeros; where it halves
the size, the input is pooled.

Source: Bazarevsky et al. 2019, arXiv:1907.05047; hollance/BlazeFace-PyTorch, blazeface.py (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glia.importers.architectures import Weights, check_shapes
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown

SIZE, ANCHORS, COORDINATES = 128, 896, 16
BACKBONES = {  # name: key of the first block, channels before it, (channels after, stride) of each block
    "backbone1": (2, 24, ((24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1),
                          (88, 1))),
    "backbone2": (0, 88, ((96, 2), (96, 1), (96, 1), (96, 1), (96, 1))),
}  # fmt: skip
HEADS = {"8": (88, 2), "16": (96, 6)}  # channels, anchors of each cell


def blocks(backbone: str) -> list[tuple[str, int, int, int]]:
    """Name, channels before and after, and stride of each block."""
    first, into, described = BACKBONES[backbone]
    found = []
    for number, (out, stride) in enumerate(described, first):
        found.append((f"{backbone}.{number}.convs", into, out, stride))
        into = out
    return found


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor by its name."""
    expected: dict[str, tuple[int, ...]] = {"backbone1.0.weight": (24, 3, 5, 5), "backbone1.0.bias": (24,)}
    for backbone in BACKBONES:
        for name, into, out, _ in blocks(backbone):
            expected |= {f"{name}.0.weight": (into, 1, 3, 3), f"{name}.0.bias": (into,)}
            expected |= {f"{name}.1.weight": (out, into, 1, 1), f"{name}.1.bias": (out,)}
    for name, (channels, anchors) in HEADS.items():
        for head, count in (("classifier", anchors), ("regressor", anchors * COORDINATES)):
            expected |= {f"{head}_{name}.weight": (count, channels, 1, 1), f"{head}_{name}.bias": (count,)}
    return expected


class BlazeFace:
    """`image` [n, 3, 128, 128] of -1..1 to `regressors` [n, 896, 16] and `classificators` [n, 896, 1]; no options."""

    name = "blazeface"
    marks = frozenset({"backbone1.2.convs.0.weight", "classifier_8.weight", "regressor_16.weight"})

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        check_shapes(weights, shapes())
        graph = GraphWriter(self.name)
        x = graph.input("image", ["n", 3, SIZE, SIZE])
        x = graph.node("Relu", [_conv(graph, weights, "backbone1.0", x, 2, [1, 1, 2, 2])], "relu")
        outs: dict[str, list[str]] = {"classifier": [], "regressor": []}
        for backbone, scale in zip(BACKBONES, HEADS, strict=True):
            for block in blocks(backbone):
                x = _block(graph, weights, x, *block)
            for head, found in outs.items():
                cells = graph.transpose(_conv(graph, weights, f"{head}_{scale}", x), [0, 2, 3, 1], "cells")
                found.append(graph.reshape(cells, [0, -1, 1 if head == "classifier" else COORDINATES], "rows"))
        for name, head in (("regressors", "regressor"), ("classificators", "classifier")):
            graph.output(name, graph.node("Concat", outs[head], "all", axis=1))
        known = {"size": (SIZE, SIZE), "colour": "rgb", "mean": (127.5,) * 3, "std": (127.5,) * 3}
        names = {name: name for name in ("regressors", "classificators")}
        note = "boxes and points are moved from 896 anchors; scores are logits"
        return ImportedGraph(graph.model(), {"image": "image"}, names, (note,), tuple(graph.layers), known)


def _conv(
    graph: GraphWriter,
    weights: Weights,
    name: str,
    x: str,
    stride: int = 1,
    pads: list[int] | None = None,
    group: int = 1,
) -> str:
    with graph.layer(name, "Conv2d"):
        parts = [graph.constant(f"{name}.{part}", weights[f"{name}.{part}"].astype(np.float32)) for part in
                 ("weight", "bias")]  # fmt: skip
        pads = pads or [0, 0, 0, 0]
        return graph.node("Conv", [x, *parts], name, strides=[stride, stride], pads=pads, group=group)


def _block(graph: GraphWriter, weights: Weights, x: str, name: str, into: int, out: int, stride: int) -> str:
    pads = [1, 1, 1, 1] if stride == 1 else [0, 0, 2, 2]
    y = _conv(graph, weights, f"{name}.1", _conv(graph, weights, f"{name}.0", x, stride, pads, into))
    if stride == 2:
        x = graph.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    if out > into:
        x = graph.node("Pad", [x, graph.ints("pads", [0, 0, 0, 0, 0, out - into, 0, 0])], "filled")
    return graph.node("Relu", [graph.node("Add", [y, x], "sum")], "relu")


ARCHITECTURE = BlazeFace()
