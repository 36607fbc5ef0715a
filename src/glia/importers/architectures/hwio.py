"""Layers of networks whose filters lie as TensorFlow keeps them: (height, width, in, out). No architecture of its own.

The graphs take pictures as planes, RGB of 0..255, and subtract their means themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph

IMAGENET_MEAN = (122.782, 117.001, 104.298)

Shapes = dict[str, tuple[int, ...]]


def separable_shapes(name: str, into: int, out: int, kernel: int = 3) -> Shapes:
    """The tensors of a separable convolution."""
    return {
        f"{name}/depthwise_filter": (kernel, kernel, into, 1),
        f"{name}/pointwise_filter": (1, 1, into, out),
        f"{name}/bias": (out,),
    }


def conv_shapes(name: str, into: int, out: int, kernel: int = 3) -> Shapes:
    """The tensors of a convolution."""
    return {f"{name}/filters": (kernel, kernel, into, out), f"{name}/bias": (out,)}


class Layers:
    """Writes layers with the weights of their names."""

    def __init__(self, name: str, weights: Weights) -> None:
        self.graph = GraphWriter(name)
        self.weights = weights

    def image(self, mean: Sequence[float], divisor: float, size: int | None = None) -> str:
        """The input, minus the mean of each colour, divided."""
        shape: list[int | str] = ["n", 3, size or "h", size or "w"]
        x = self.graph.input("image", shape)
        average = self.graph.constant("mean", np.array(mean, np.float32).reshape(1, 3, 1, 1))
        return self.graph.node(
            "Div", [self.graph.node("Sub", [x, average], "centred"), self.graph.scalar("divisor", divisor)], "scaled"
        )

    def array(self, name: str) -> Float32[np.ndarray, "..."]:
        """A weight as float32."""
        return self.weights[name].astype(np.float32)

    def filters(self, name: str, x: str, bias: str | None = None, **attributes: Any) -> str:
        """A convolution by (h, w, in, out)."""
        kernel = self.array(name)
        inputs = [x, self.graph.constant(name, kernel.transpose(3, 2, 0, 1))]
        if bias is not None:
            inputs.append(self.graph.constant(bias, self.array(bias)))
        return self.graph.node("Conv", inputs, f"{name}/conv", kernel_shape=list(kernel.shape[:2]), **attributes)

    def conv(self, name: str, x: str, stride: int = 1, pad: str = "SAME_UPPER") -> str:
        """A convolution with its bias; `pad` in ONNX's words."""
        with self.graph.layer(name, "conv"):
            return self.filters(f"{name}/filters", x, f"{name}/bias", strides=[stride, stride], auto_pad=pad)

    def separable(self, name: str, x: str, stride: int = 1) -> str:
        """Each channel by itself, then all of them at each place, and a bias."""
        with self.graph.layer(name, "separable conv"):
            kernel = self.array(f"{name}/depthwise_filter")
            weights = self.graph.constant(f"{name}/depthwise_filter", kernel.transpose(2, 3, 0, 1))
            y = self.graph.node(
                "Conv",
                [x, weights],
                f"{name}/depthwise",
                kernel_shape=list(kernel.shape[:2]),
                strides=[stride, stride],
                auto_pad="SAME_UPPER",
                group=kernel.shape[2],
            )
            return self.filters(f"{name}/pointwise_filter", y, f"{name}/bias")

    def dense(self, name: str, x: str) -> str:
        """A matrix (in, out) and a bias."""
        with self.graph.layer(name, "dense"):
            weights, bias = (self.graph.constant(f"{name}/{part}", self.array(f"{name}/{part}")) for part in
                             ("weights", "bias"))  # fmt: skip
            return self.graph.node("Gemm", [x, weights, bias], name)

    def relu(self, x: str) -> str:
        """What is above 0."""
        return self.graph.node("Relu", [x], f"{x}/relu")

    def add(self, *tensors: str) -> str:
        """The sum."""
        total = tensors[0]
        for tensor in tensors[1:]:
            total = self.graph.node("Add", [total, tensor], "sum")
        return total

    def max_pool(self, x: str, size: int, stride: int, pad: str = "SAME_UPPER") -> str:
        """The largest in a window."""
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "auto_pad": pad}
        return self.graph.node("MaxPool", [x], "pool", **attributes)

    def flat_pool(self, x: str, size: int) -> str:
        """The mean of windows that cover all there is, as rows."""
        pooled = self.graph.node("AveragePool", [x], "pool", kernel_shape=[size, size], strides=[2, 2])
        if self.graph.known_shape(pooled, [2, 3]) != (1, 1):
            raise ImportFailed(f"A window of {size} leaves more than one place of {self.graph.shape(x)}.")
        return self.graph.node("Flatten", [pooled], "features", axis=1)

    def finish(self, outputs: Mapping[str, str], known: Mapping[str, Any], *notes: str) -> ImportedGraph:
        """The graph with its outputs by name."""
        for name, tensor in outputs.items():
            self.graph.output(name, tensor)
        return ImportedGraph(
            self.graph.model(),
            {"image": "image"},
            {name: name for name in outputs},
            notes,
            tuple(self.graph.layers),
            known,
        )
