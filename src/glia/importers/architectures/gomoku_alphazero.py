"""Policy and value for Gomoku, as AlphaZero_Gomoku trained it with Lasagne; arrays in Lasagne's order.

Three 3x3 convolutions (32, 64, 128), then two heads: 4 channels to a probability of each point, 2 channels to 64
numbers to the value. Theano's convolutions turn their kernels by 180 degrees; here they are turned once, for good.

Source: Junxiao Song, AlphaZero_Gomoku, policy_value_net.py; Silver et al. 2017, Nature 550.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.architectures import Weights, check_shapes
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown

PLANES = 4
WIDTHS = (32, 64, 128)
POLICY, VALUE, HIDDEN = 4, 2, 64
MAX_POINTS = 25 * 25


def shapes(points: int) -> dict[str, tuple[int, ...]]:
    """Every array by its key."""
    layers: list[tuple[int, ...]] = []
    before = PLANES
    for width in WIDTHS:
        layers += [(width, before, 3, 3), (width,)]
        before = width
    layers += [(POLICY, before, 1, 1), (POLICY,), (POLICY * points, points), (points,)]
    layers += [(VALUE, before, 1, 1), (VALUE,), (VALUE * points, HIDDEN), (HIDDEN,), (HIDDEN, 1), (1,)]
    return {f"arr_{number}": shape for number, shape in enumerate(layers)}


class Gomoku:
    """No options: the board's side is in the arrays."""

    name = "gomoku-alphazero"

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """`state` [n, 4, side, side] to `policy` [n, side * side] and `value` [n, 1] in -1..1."""
        refuse_unknown(options, set())
        last = weights.get("arr_9")
        points = last.size if last is not None else 0
        side = math.isqrt(points)
        if not 0 < points <= MAX_POINTS or side * side != points:
            raise ImportFailed(f"Expected as array 10 a number for each point of a square board, received {points}.")
        check_shapes(weights, shapes(points))
        graph = GraphWriter(self.name)
        x = graph.input("state", ["n", PLANES, side, side])
        for number in range(3):
            x = _convolution(graph, weights, x, 2 * number)
        policy = graph.node("Flatten", [_convolution(graph, weights, x, 6)], axis=1)
        with graph.layer("policy", "DenseLayer"):
            graph.output("policy", graph.node("Softmax", [_dense(graph, weights, policy, 8)], axis=1))
        value = graph.node("Flatten", [_convolution(graph, weights, x, 10)], axis=1)
        with graph.layer("hidden", "DenseLayer"):
            value = graph.node("Relu", [_dense(graph, weights, value, 12)])
        with graph.layer("value", "DenseLayer"):
            graph.output("value", graph.node("Tanh", [_dense(graph, weights, value, 14)]))
        names = {"policy": "policy", "value": "value"}
        notes = ("planes: own stones, the opponent's, the last move, who is to move; rows from the bottom",)
        return ImportedGraph(graph.model(), {"state": "state"}, names, notes, tuple(graph.layers))


def _convolution(graph: GraphWriter, weights: Weights, x: str, number: int) -> str:
    """A convolution that keeps the board's size, and ReLU."""
    kernel = np.flip(weights[f"arr_{number}"].astype(np.float32), (2, 3))
    bias = graph.constant(f"arr_{number + 1}", weights[f"arr_{number + 1}"].astype(np.float32))
    pad = kernel.shape[2] // 2
    with graph.layer(f"conv{number // 2 + 1}", "Conv2DLayer"):
        y = graph.node("Conv", [x, graph.constant(f"arr_{number}", kernel), bias], pads=[pad] * 4)
        return graph.node("Relu", [y])


def _dense(graph: GraphWriter, weights: Weights, x: str, number: int) -> str:
    parts = [graph.constant(key, weights[key].astype(np.float32)) for key in (f"arr_{number}", f"arr_{number + 1}")]
    return graph.node("Gemm", [x, *parts])


ARCHITECTURE = Gomoku()
