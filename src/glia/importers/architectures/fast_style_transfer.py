"""Fast style transfer: one network for one painting, from any picture to one in its manner.

Three convolutions, five residual blocks, two transposed convolutions and a last one, each followed by normalisation
over the picture. Variables are numbered as they were made: filters, shift, scale of each convolution.

Source: Johnson, Alahi and Fei-Fei 2016, arXiv:1603.08155; Ulyanov et al. 2016, arXiv:1607.08022 (instance norm);
reiinakano/fast-style-transfer-deeplearnjs, src/net.ts (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glia.importers.architectures import Weights, check_shapes
from glia.importers.architectures.hwio import Layers, Shapes
from glia.importers.importer import ImportedGraph, refuse_unknown

EPSILON = 1e-3
# Kernel [px], channels in and out, stride; a stride below 0 enlarges.
ENTRY = ((9, 3, 32, 1), (3, 32, 64, 2), (3, 64, 128, 2))
RESIDUAL = ((3, 128, 128, 1),) * 10
LEAVE = ((3, 128, 64, -2), (3, 64, 32, -2), (9, 32, 3, 1))
STAGES = ENTRY + RESIDUAL + LEAVE


def variable(number: int) -> str:
    """What TensorFlow calls the variable of this number."""
    return f"Variable_{number}" if number else "Variable"


def shapes() -> Shapes:
    """Every tensor by its name."""
    expected = Shapes()
    for stage, (kernel, into, out, stride) in enumerate(STAGES):
        expected[variable(3 * stage)] = (kernel, kernel, into, out) if stride > 0 else (kernel, kernel, out, into)
        expected |= {variable(3 * stage + 1): (out,), variable(3 * stage + 2): (out,)}
    return expected


class FastStyleTransfer:
    """`image` [n, 3, h, w] of 0..255 to `stylised` of the same size up to multiples of 4, not cut; no options."""

    name = "fast-style-transfer"
    marks = frozenset({variable(0), variable(47), variable(24)})

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        check_shapes(weights, shapes())
        net = Layers(self.name, weights)
        x = net.graph.input("image", ["n", 3, "h", "w"])
        for stage in range(len(ENTRY)):
            x = net.relu(self._stage(net, stage, x))
        for stage in range(len(ENTRY), len(ENTRY + RESIDUAL), 2):
            y = self._stage(net, stage + 1, net.relu(self._stage(net, stage, x)))
            x = net.add(y, x)
        for stage in range(len(ENTRY + RESIDUAL), len(STAGES)):
            x = self._stage(net, stage, x)
            x = net.relu(x) if stage + 1 < len(STAGES) else net.graph.node("Tanh", [x], "tanh")
        x = net.graph.node("Mul", [x, net.graph.scalar("contrast", 150.0)], "contrasted")
        x = net.graph.node("Add", [x, net.graph.scalar("grey", 127.5)], "shifted")
        return net.finish({"stylised": x}, {"colour": "rgb"}, "takes and gives RGB of 0..255; cut what it gives")

    def _stage(self, net: Layers, stage: int, x: str) -> str:
        """A convolution and its normalisation."""
        _, _, _, stride = STAGES[stage]
        name, shift, scale = (variable(3 * stage + part) for part in range(3))
        with net.graph.layer(name, "conv and instance norm"):
            if stride > 0:
                y = net.filters(name, x, strides=[stride, stride], auto_pad="SAME_UPPER")
            else:
                kernel = net.array(name)
                filters = net.graph.constant(name, kernel.transpose(3, 2, 0, 1))
                # Twice the size exactly: the one pixel too many is cut off at the end.
                attributes = {"kernel_shape": list(kernel.shape[:2]), "strides": [2, 2], "pads": [0, 0, 1, 1]}
                y = net.graph.node("ConvTranspose", [x, filters], f"{name}/conv", **attributes)
            parts = [net.graph.constant(part, net.array(part)) for part in (scale, shift)]
            return net.graph.node("InstanceNormalization", [y, *parts], f"{name}/norm", epsilon=EPSILON)


ARCHITECTURE = FastStyleTransfer()
