"""SSR-Net: the age of a face (or its gender) in three stages, from coarse to fine; keys as Keras names them.

Two streams see the picture, one with ReLU and mean pools, one with tanh and maximum pools. What they give after their
fourth, second and first block is joined by products, and each join gives the probabilities p of a few bins, a shift
eta of each bin, and a stretch delta of their width. The answer is V times

    sum_k  sum_i p_k[i] (i + lambda eta_k[i])  /  prod_(j <= k) bins_j (1 + lambda delta_j)

Source: Yang, Huang, Lin, Hsiu and Chuang, SSR-Net, IJCAI 2018, equations 2 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights, check_shapes
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown

BN_EPSILON = 1e-3
SIZE_PX = 64
STREAMS = {"x": (32, "Relu", "AveragePool", 1), "s": (16, "Tanh", "MaxPool", 5)}
"""Channels, activation, pool, and the number of the first of its four convolutions."""
STAGES = ((1, 3, None, 9, 1), (2, 1, 4, 11, 4), (3, 0, 8, 13, 7))
"""Number, block that it follows, pool [px], and the numbers of its first 1x1 convolution and dense layer."""
MIXED = 10
AGES = 101


def shapes(bins: tuple[int, int, int], prediction: str) -> dict[str, tuple[int, ...]]:
    """Every tensor by its key."""
    expected: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        expected[f"{name}/kernel"] = shape
        expected[f"{name}/bias"] = shape[-1:]

    for channels, _, _, first in STREAMS.values():
        for block in range(4):
            layer(f"conv2d_{first + block}", 3, 3, channels if block else 3, channels)
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            expected.update({f"batch_normalization_{first + block}/{part}": (channels,) for part in parts})
    for (number, _, pool, conv, dense), count in zip(STAGES, bins, strict=True):
        side = 3 if pool else 4
        layer(f"conv2d_{conv}", 1, 1, STREAMS["s"][0], MIXED)
        layer(f"conv2d_{conv + 1}", 1, 1, STREAMS["x"][0], MIXED)
        flat = side * side * MIXED
        layer(f"dense_{dense}", flat, count)
        layer(f"dense_{dense + 1}", flat, count)
        layer(f"dense_{dense + 2}", count, 2 * count)
        layer(f"delta_s{number}", flat, 1)
        layer(f"{prediction}_stage{number}", 2 * count, count)
        layer(f"local_delta_stage{number}", 2 * count, count)
    return expected


class Writer:
    """Writes the layers of one network, with the weights of its keys."""

    def __init__(self, weights: Weights) -> None:
        self.graph = GraphWriter("ssr-net")
        self.weights = weights

    def constant(self, key: str) -> Shaped[np.ndarray, "..."]:
        """An array as float32."""
        return self.weights[key].astype(np.float32)

    def convolution(self, x: str, name: str, activation: str, norm: str = "") -> str:
        """A convolution without pads; its normalisation is folded in, in float64."""
        kernel = self.weights[f"{name}/kernel"].astype(np.float64)
        bias = self.weights[f"{name}/bias"].astype(np.float64)
        if norm:
            gamma, beta, mean, variance = (
                self.weights[f"{norm}/{part}"].astype(np.float64)
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            if (variance + BN_EPSILON <= 0).any():
                raise ImportFailed(f"{norm}/moving_variance holds negative variances. The file is damaged.")
            scale = gamma / np.sqrt(variance + BN_EPSILON)
            kernel, bias = kernel * scale, beta + (bias - mean) * scale
        parts = [
            self.graph.constant(f"{name}/kernel", kernel.transpose(3, 2, 0, 1).astype(np.float32)),
            self.graph.constant(f"{name}/bias", bias.astype(np.float32)),
        ]
        return self.graph.node(activation, [self.graph.node("Conv", [x, *parts], name)])

    def dense(self, x: str, name: str, activation: str) -> str:
        """A dense layer."""
        parts = [self.graph.constant(f"{name}/{part}", self.constant(f"{name}/{part}")) for part in ("kernel", "bias")]
        return self.graph.node(activation, [self.graph.node("Gemm", [x, *parts], name)])

    def pool(self, x: str, op: str, size: int) -> str:
        """Pool without overlap."""
        return self.graph.node(op, [x], kernel_shape=[size, size], strides=[size, size])

    def stream(self, image: str, which: str) -> list[str]:
        """What the blocks of a stream give: pooled after the first three, as it is after the fourth."""
        _, activation, pool, first = STREAMS[which]
        found, x = [], image
        for block in range(4):
            name = f"{first + block}"
            with self.graph.layer(f"conv2d_{name}", "Conv2D"):
                x = self.convolution(x, f"conv2d_{name}", activation, f"batch_normalization_{name}")
                x = self.pool(x, pool, 2) if block < 3 else x
            found.append(x)
        return found

    def row(self, x: str) -> str:
        """Rows, columns, channels in a row, as Keras lays them."""
        return self.graph.node("Flatten", [self.graph.transpose(x, [0, 2, 3, 1])], axis=1)

    def stage(
        self, s: str, x: str, stage: tuple[int, int, int | None, int, int], prediction: str
    ) -> tuple[str, str, str]:
        """Probabilities, shifts and stretch of one stage."""
        number, _, pool, conv, dense = stage
        rows = []
        for at, (stream, op) in enumerate(((s, "MaxPool"), (x, "AveragePool"))):
            y = self.convolution(stream, f"conv2d_{conv + at}", "Relu")
            rows.append(self.row(self.pool(y, op, pool) if pool else y))
        mixed = [self.dense(row, f"dense_{dense + at}", "Relu") for at, row in enumerate(rows)]
        delta = self.dense(self.graph.node("Mul", rows), f"delta_s{number}", "Tanh")
        joined = self.dense(self.graph.node("Mul", mixed), f"dense_{dense + 2}", "Relu")
        local = self.dense(joined, f"local_delta_stage{number}", "Tanh")
        return self.dense(joined, f"{prediction}_stage{number}", "Relu"), local, delta


class SSRNet:
    """Options: `lambda_local`, `lambda_d` (1.0), `range` (101 where the layers are called `pred_age_...`, else 1)."""

    name = "ssr-net"

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """`image` [n, 64, 64, 3], BGR in 0..255, to `age` or `value` [n, 1]."""
        refuse_unknown(options, {"lambda_local", "lambda_d", "range"})
        named = {key.removesuffix(":0"): value for key, value in weights.items()}
        prediction = "pred_age" if "pred_age_stage1/kernel" in named else "pred"
        is_age = prediction == "pred_age"
        local, stretch = (_number(options, key, 1.0) for key in ("lambda_local", "lambda_d"))
        span = _number(options, "range", float(AGES) if is_age else 1.0)
        kernels = (named.get(f"{prediction}_stage{number}/kernel") for number in (1, 2, 3))
        bins = tuple(kernel.shape[-1] if kernel is not None and kernel.ndim == 2 else 0 for kernel in kernels)
        first, second, third = bins
        check_shapes(named, shapes((first, second, third), prediction))
        writer = Writer(named)
        graph = writer.graph
        image = graph.input("image", ["n", SIZE_PX, SIZE_PX, 3])
        planes = graph.transpose(image, [0, 3, 1, 2])
        x, s = (writer.stream(planes, which) for which in ("x", "s"))
        total, width = "", ""
        for stage, count in zip(STAGES, bins, strict=True):
            with graph.layer(f"stage{stage[0]}", "SSR stage"):
                p, eta, delta = writer.stage(s[stage[1]], x[stage[1]], stage, prediction)
                places = graph.constant("places", np.arange(count, dtype=np.float32)[None])
                shifted = graph.node("Add", [graph.node("Mul", [eta, graph.scalar("lambda", local)]), places])
                summed = graph.node("ReduceSum", [graph.node("Mul", [shifted, p]), graph.ints("axes", [1])], keepdims=1)
                wider = graph.node(
                    "Add", [graph.node("Mul", [delta, graph.scalar("lambda", stretch)]), graph.scalar("one", 1.0)]
                )
                bin_width = graph.node("Mul", [wider, graph.scalar("bins", float(count))])
                width = graph.node("Mul", [width, bin_width]) if width else bin_width
                term = graph.node("Div", [summed, width])
                total = graph.node("Add", [total, term]) if total else term
        name = "age" if is_age else "value"
        graph.output(name, graph.node("Mul", [total, graph.scalar("range", span)]), ["n", 1])
        notes = ("batch normalisation folded in float64",)
        return ImportedGraph(graph.model(), {"image": "image"}, {name: name}, notes, tuple(graph.layers))


def _number(options: Mapping[str, Any], key: str, default: float) -> float:
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1000:
        raise ImportFailed(f"Expected the option `{key}` to be a number from 0 to 1000, received {str(value)[:100]!r}.")
    return float(value)


ARCHITECTURE = SSRNet()
