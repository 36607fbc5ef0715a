"""SqueezeNet with batch normalisation and randomised leaky ReLU, trained with Lasagne; arrays in Lasagne's order.

A fire module squeezes its channels by a 1x1 convolution and spreads them by a 1x1 and a 3x3 convolution side by side.
Each convolution but the last has W, b and a batch normalisation beta, gamma, mean, 1/sqrt(variance + epsilon), which
is folded in, in float64. Once trained the ReLU's random slope is its mean. Theano turns kernels by 180 degrees; here
they are turned once, for good.

Source: Iandola et al. 2016, arXiv:1602.07360; Xu et al. 2015, arXiv:1505.00853 (the slope); squeezenet_places365.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights, check_shapes
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown

SIZE_PX = 224
SLOPE = (0.3 + 0.8) / 2
STEM = 64
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOLED_AFTER = (1, 3)
"""Fire modules that a pool follows, counted from 0."""
LAST_POOL = 13


def convolutions(classes: int) -> Iterator[tuple[str, int, int, int]]:
    """Name, channels before and after, and kernel [px] of each convolution, in the order of the arrays."""
    yield "conv1", 3, STEM, 3
    before = STEM
    for number, (squeezed, spread) in enumerate(FIRES, 2):
        yield f"fire{number}/squeeze1x1", before, squeezed, 1
        yield f"fire{number}/expand1x1", squeezed, spread, 1
        yield f"fire{number}/expand3x3", squeezed, spread, 3
        before = 2 * spread
    yield "conv10", before, classes, 1


def keys(classes: int) -> dict[str, list[str]]:
    """The keys of each convolution."""
    found, at = {}, 0
    for name, *_ in convolutions(classes):
        count = 2 if name == "conv10" else 6
        found[name] = [f"arr_{number}" for number in range(at, at + count)]
        at += count
    return found


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Every array by its key."""
    of, expected = keys(classes), {}
    for name, before, after, kernel in convolutions(classes):
        sizes = [(after, before, kernel, kernel), *[(after,)] * 5]
        expected.update(dict(zip(of[name], sizes, strict=False)))
    return expected


class Writer:
    """Writes the layers of one network."""

    def __init__(self, weights: Weights, classes: int) -> None:
        self.graph = GraphWriter("squeezenet-lasagne")
        self.weights = weights
        self.keys = keys(classes)

    def convolution(self, x: str, name: str, stride: int = 1) -> str:
        """A convolution with its normalisation folded in, and the leaky ReLU."""
        kernel, bias, *norm = (self.weights[key].astype(np.float64) for key in self.keys[name])
        if norm:
            beta, gamma, mean, inverse = norm
            scale = gamma * inverse
            kernel, bias = kernel * scale[:, None, None, None], beta + (bias - mean) * scale
        kernel = np.flip(kernel, (2, 3))
        pad = kernel.shape[2] // 2
        with self.graph.layer(name, "Conv2DLayer"):
            parts = [
                self.graph.constant(f"{name}/{part}", value.astype(np.float32))
                for part, value in (("W", kernel), ("b", bias))
            ]
            y = self.graph.node("Conv", [x, *parts], name, strides=[stride, stride], pads=[pad] * 4)
            return self.graph.node("LeakyRelu", [y], alpha=SLOPE)

    def fire(self, x: str, number: int) -> str:
        """Squeeze, then spread in two ways side by side."""
        squeezed = self.convolution(x, f"fire{number}/squeeze1x1")
        spread = [self.convolution(squeezed, f"fire{number}/expand{kernel}") for kernel in ("1x1", "3x3")]
        return self.graph.node("Concat", spread, f"fire{number}", axis=1)

    def pool(self, x: str) -> str:
        """The largest of 3x3, every second pixel; what is left at the border is left out."""
        return self.graph.node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2])


class SqueezeNetLasagne:
    """No options: the number of classes is in the arrays."""

    name = "squeezenet-lasagne"

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """`image` [n, 3, 224, 224] to `probabilities` [n, classes].

        With a mean image the input is BGR in 0..255, of which the mean's middle is taken away; it is divided by 255.
        """
        refuse_unknown(options, set())
        arrays = dict(weights)
        mean = arrays.pop("mean", None)
        last = arrays.get(f"arr_{len(arrays) - 1}")
        classes = last.size if last is not None else 0
        check_shapes(arrays, shapes(classes))
        writer = Writer(arrays, classes)
        graph = writer.graph
        image = graph.input("image", ["n", 3, SIZE_PX, SIZE_PX])
        x = _centred(graph, image, mean) if mean is not None else image
        x = writer.pool(writer.convolution(x, "conv1", 2))
        for number in range(len(FIRES)):
            x = writer.fire(x, number + 2)
            x = writer.pool(x) if number in POOLED_AFTER else x
        x = writer.convolution(x, "conv10")
        x = graph.node("AveragePool", [x], "pool10", kernel_shape=[LAST_POOL, LAST_POOL])
        x = graph.node("Softmax", [graph.node("Flatten", [x], axis=1)], axis=1)
        graph.output("probabilities", x, ["n", classes])
        notes = ["batch normalisation folded in float64"]
        notes.append(
            "takes BGR in 0..255: the mean image is taken away in the graph"
            if mean is not None
            else "takes (BGR - mean) / 255: no mean image was given"
        )
        names = {"probabilities": "probabilities"}
        return ImportedGraph(graph.model(), {"image": "image"}, names, tuple(notes), tuple(graph.layers))


def _centred(graph: GraphWriter, image: str, mean: Shaped[np.ndarray, "..."]) -> str:
    if mean.ndim != 3 or mean.shape[0] != 3 or min(mean.shape[1:]) < SIZE_PX or not np.isfinite(mean).all():
        raise ImportFailed(
            f"Expected a mean image of 3 by {SIZE_PX} by {SIZE_PX} or more, received {list(mean.shape)}."
        )
    top, left = (size // 2 - SIZE_PX // 2 for size in mean.shape[1:])
    middle = mean[None, :, top : top + SIZE_PX, left : left + SIZE_PX].astype(np.float32)
    with graph.layer("mean", "mean image"):
        centred = graph.node("Sub", [image, graph.constant("mean", middle)])
        return graph.node("Mul", [centred, graph.scalar("scale", 1 / 255)])


ARCHITECTURE = SqueezeNetLasagne()
