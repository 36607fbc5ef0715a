"""Face recognition of face-api: dlib's ResNet of 29 convolutions with its affine layers, on faces of 150 x 150 pixels.

The skip around a block that halves the size is an average pool; where channels or sizes then differ, the smaller one
is filled with zeros at its end.

Source: He et al. 2016, arXiv:1512.03385; face-api.js, src/faceRecognitionNet (MIT); dlib's dnn_face_recognition_ex.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glia.importers.architectures import Weights, check_shapes
from glia.importers.architectures.hwio import IMAGENET_MEAN, Layers, Shapes
from glia.importers.importer import ImportedGraph, refuse_unknown

SIZE = 150
BLOCKS = {
    "conv32_1": (32, 32), "conv32_2": (32, 32), "conv32_3": (32, 32), "conv64_down": (32, 64), "conv64_1": (64, 64),
    "conv64_2": (64, 64), "conv64_3": (64, 64), "conv128_down": (64, 128), "conv128_1": (128, 128),
    "conv128_2": (128, 128), "conv256_down": (128, 256), "conv256_1": (256, 256), "conv256_2": (256, 256),
    "conv256_down_out": (256, 256),
}  # fmt: skip


def shapes() -> Shapes:
    """Every tensor by its name."""

    def one(name: str, into: int, out: int, kernel: int) -> Shapes:
        found = Shapes({f"{name}/conv/filters": (kernel, kernel, into, out)})
        return found | {f"{name}/{part}": (out,) for part in ("conv/bias", "scale/weights", "scale/biases")}

    expected = one("conv32_down", 3, 32, 7)
    for name, (into, out) in BLOCKS.items():
        expected |= one(f"{name}/conv1", into, out, 3) | one(f"{name}/conv2", out, out, 3)
    return expected | {"fc": (256, 128)}


class FaceRecognitionResNet:
    """`image` [n, 3, 150, 150] to `embedding` [n, 128], compared by Euclidean distance; no options."""

    name = "face-recognition-resnet"
    marks = frozenset({"conv32_down/conv/filters", "conv256_down_out/conv1/scale/weights", "fc"})

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        check_shapes(weights, shapes())
        net = Layers(self.name, weights)
        x = net.relu(self._conv(net, "conv32_down", net.image(IMAGENET_MEAN, 256.0, SIZE), down=True))
        x = net.max_pool(x, 3, 2, "VALID")
        for name in BLOCKS:
            x = self._block(net, name, x, down="down" in name)
        pooled = net.graph.node("Flatten", [net.graph.node("GlobalAveragePool", [x], "pool")], "features", axis=1)
        made = net.graph.node("MatMul", [pooled, net.graph.constant("fc", net.array("fc"))], "embedding_")
        return net.finish({"embedding": made}, {"size": (SIZE, SIZE), "colour": "rgb"}, "takes RGB of 0..255")

    def _conv(self, net: Layers, name: str, x: str, *, down: bool) -> str:
        """A convolution and the factor and shift of each channel, which are folded into it."""
        graph, scale = net.graph, net.weights[f"{name}/scale/weights"].astype(np.float64)
        kernel = (net.weights[f"{name}/conv/filters"] * scale).astype(np.float32)
        bias = net.weights[f"{name}/conv/bias"] * scale + net.weights[f"{name}/scale/biases"]
        with graph.layer(name, "conv and scale"):
            inputs = [x, graph.constant(f"{name}/filters", kernel.transpose(3, 2, 0, 1))]
            inputs.append(graph.constant(f"{name}/bias", bias.astype(np.float32)))
            pads = {} if down else {"pads": [1, 1, 1, 1]}
            strides = [2, 2] if down else [1, 1]
            return graph.node("Conv", inputs, name, kernel_shape=list(kernel.shape[:2]), strides=strides, **pads)

    def _block(self, net: Layers, name: str, x: str, *, down: bool) -> str:
        y = net.relu(self._conv(net, f"{name}/conv1", x, down=down))
        y = self._conv(net, f"{name}/conv2", y, down=False)
        if down:
            x = net.graph.node("AveragePool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
        sizes = [net.graph.known_shape(tensor, [1, 2, 3]) for tensor in (x, y)]
        most = [max(pair) for pair in zip(*sizes, strict=True)]
        return net.relu(
            net.add(*(_filled(net, tensor, size, most) for tensor, size in zip((x, y), sizes, strict=True)))
        )


def _filled(net: Layers, x: str, size: tuple[int, ...], most: list[int]) -> str:
    """Zeros after the end of channels, rows and columns."""
    missing = [wanted - held for wanted, held in zip(most, size, strict=True)]
    if not any(missing):
        return x
    return net.graph.node("Pad", [x, net.graph.ints("pads", [0, 0, 0, 0, 0, *missing])], "filled")


ARCHITECTURE = FaceRecognitionResNet()
