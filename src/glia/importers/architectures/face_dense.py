"""Networks of face-api on densely connected blocks: 68 landmarks (two sizes) and expressions.

A block is a convolution of stride 2 and further ones, each of which sees the sum of all before it.

Source: Huang et al. 2017, arXiv:1608.06993; face-api.js, src/faceFeatureExtractor (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights, check_shapes
from glia.importers.architectures.hwio import IMAGENET_MEAN, Layers, Shapes, conv_shapes, separable_shapes
from glia.importers.importer import ImportedGraph, refuse_unknown

SIZE = 112
CHANNELS = (32, 64, 128, 256)
LANDMARKS = 136
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")


def shapes(blocks: int, convolutions: int, outputs: int) -> Shapes:
    """Every tensor by its name."""
    expected, into = Shapes(), 3
    for block in range(blocks):
        out = CHANNELS[block]
        for number in range(convolutions):
            name, before = f"dense{block}/conv{number}", into if number == 0 else out
            plain = block == number == 0
            expected |= conv_shapes(name, before, out) if plain else separable_shapes(name, before, out)
        into = out
    return expected | {"fc/weights": (into, outputs), "fc/bias": (outputs,)}


class FaceDense:
    """`image` [n, 3, 112, 112] to `landmarks` [n, 136], x and y in shares of the picture, or `expressions` [n, 7]."""

    name = "face-dense"
    marks = frozenset({"dense0/conv0/filters", "dense2/conv2/depthwise_filter", "fc/weights"})

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights; which one it is, they tell. Raises ImportFailed."""
        refuse_unknown(options, set())
        blocks, convolutions = (4, 4) if "dense3/conv0/depthwise_filter" in weights else (3, 3)
        last = weights.get("fc/bias")
        outputs = last.shape[0] if last is not None and last.ndim == 1 else LANDMARKS
        if outputs not in (LANDMARKS, len(EXPRESSIONS)):
            raise ImportFailed(
                f"It has {outputs} outputs, expected {LANDMARKS} landmarks or {len(EXPRESSIONS)} classes."
            )
        check_shapes(weights, shapes(blocks, convolutions, outputs))
        net = Layers(self.name, weights)
        x = net.image(IMAGENET_MEAN, 255.0, SIZE)
        for block in range(blocks):
            x = self._block(net, f"dense{block}", x, convolutions, first=block == 0)
        made = net.dense("fc", net.flat_pool(x, SIZE >> blocks))
        known: dict[str, Any] = {"size": (SIZE, SIZE), "colour": "rgb"}
        if outputs == LANDMARKS:
            return net.finish({"landmarks": made}, known, "takes RGB of 0..255; x and y by turns, of 68 points")
        scores = net.graph.node("Softmax", [made], "probabilities", axis=1)
        return net.finish({"expressions": scores}, known | {"labels": EXPRESSIONS}, "takes RGB of 0..255")

    def _block(self, net: Layers, name: str, x: str, convolutions: int, *, first: bool) -> str:
        outs = [net.relu((net.conv if first else net.separable)(f"{name}/conv0", x, 2))]
        for number in range(1, convolutions):
            seen = outs[0] if number == 1 else net.relu(net.add(*outs))
            outs.append(net.separable(f"{name}/conv{number}", seen))
        return net.relu(net.add(*outs))


ARCHITECTURE = FaceDense()
