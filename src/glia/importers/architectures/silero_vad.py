"""Silero's voice activity detector: is somebody speaking in this piece of sound?

A Fourier transform written as a convolution, four convolutions, one LSTM cell whose state the caller keeps.

Source: snakers4/silero-vad, src/silero_vad/tinygrad_model.py (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glia.importers.architectures import Weights, check_shapes
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown

SAMPLES, CONTEXT = 512, 64  # of 16 kHz; the context are the last ones of the piece before
WINDOW, HOP, PAD = 256, 128, 64
CELLS = 128
CONVOLUTIONS = ((WINDOW // 2 + 1, 128, 1), (128, 64, 2), (64, 64, 2), (64, CELLS, 1))  # channels in, out, stride


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor by its name."""
    expected: dict[str, tuple[int, ...]] = {"stft_conv.weight": (WINDOW + 2, 1, WINDOW)}
    for number, (into, out, _) in enumerate(CONVOLUTIONS, 1):
        expected |= {f"conv{number}.weight": (out, into, 3), f"conv{number}.bias": (out,)}
    for side in ("ih", "hh"):
        expected |= {f"lstm_cell.weight_{side}": (4 * CELLS, CELLS), f"lstm_cell.bias_{side}": (4 * CELLS,)}
    return expected | {"final_conv.weight": (1, CELLS, 1), "final_conv.bias": (1,)}


class SileroVad:
    """`input` [n, 576] (context and samples) and `state` [2, n, 128] to `output` [n, 1] and `stateN`; no options."""

    name = "silero-vad"
    marks = frozenset({"stft_conv.weight", "lstm_cell.weight_ih", "final_conv.weight"})

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        check_shapes(weights, shapes())
        graph = GraphWriter(self.name)
        sound, state = graph.input("input", ["n", CONTEXT + SAMPLES]), graph.input("state", [2, "n", CELLS])
        x = self._spectrum(graph, weights, sound)
        for number, (_, _, stride) in enumerate(CONVOLUTIONS, 1):
            x = graph.node("Relu", [_conv(graph, weights, f"conv{number}", x, stride)], "relu")
        x, new = self._cell(graph, weights, graph.node("Squeeze", [x, graph.ints("axes", [2])], "features"), state)
        x = graph.node("Unsqueeze", [graph.node("Relu", [x], "relu"), graph.ints("axes", [2])], "hidden")
        x = graph.node("Sigmoid", [_conv(graph, weights, "final_conv", x, 1, pad=0)], "speech")
        graph.output("output", graph.node("Squeeze", [x, graph.ints("axes", [2])], "speech"), ["n", 1])
        graph.output("stateN", new, [2, "n", CELLS])
        names = {name: name for name in ("input", "state")}, {name: name for name in ("output", "stateN")}
        note = "takes 64 samples of the piece before and 512 of this one, 16 kHz, -1..1; begin with a state of zeros"
        return ImportedGraph(graph.model(), *names, (note,), tuple(graph.layers))

    def _spectrum(self, graph: GraphWriter, weights: Weights, sound: str) -> str:
        """Lengths of the complex numbers that the windows' transforms are."""
        with graph.layer("stft_conv", "Conv1d"):
            padded = graph.node("Pad", [sound, graph.ints("pads", [0, 0, 0, PAD])], "padded", mode="reflect")
            padded = graph.node("Unsqueeze", [padded, graph.ints("axes", [1])], "padded")
            basis = graph.constant("stft_conv.weight", weights["stft_conv.weight"].astype(np.float32))
            both = graph.node("Conv", [padded, basis], "transform", strides=[HOP], kernel_shape=[WINDOW])
            squares = graph.node("Mul", [both, both], "squares")
            half = WINDOW // 2 + 1
            real, imaginary = graph.nodes("Split", [squares, graph.ints("parts", [half, half])], 2, "part", axis=1)
            return graph.node("Sqrt", [graph.node("Add", [real, imaginary], "power")], "spectrum")

    def _cell(self, graph: GraphWriter, weights: Weights, x: str, state: str) -> tuple[str, str]:
        """One step; PyTorch's gates are ordered input, forget, cell, output, ONNX's input, output, forget, cell."""
        with graph.layer("lstm_cell", "LSTMCell"):

            def ordered(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
                i, f, c, o = np.split(weights[f"lstm_cell.{name}"].astype(np.float32), 4)
                return np.concatenate([i, o, f, c])

            bias = np.concatenate([ordered("bias_ih"), ordered("bias_hh")])
            hidden, cell = graph.nodes("Split", [state, graph.ints("parts", [1, 1])], 2, "state_part", axis=0)
            inputs = [graph.node("Unsqueeze", [x, graph.ints("axes", [0])], "step")]
            inputs += [graph.constant(name, ordered(name)[None]) for name in ("weight_ih", "weight_hh")]
            inputs += [graph.constant("bias", bias[None]), "", hidden, cell]
            _, hidden, cell = graph.nodes("LSTM", inputs, 3, "lstm", hidden_size=CELLS)
            new = graph.node("Concat", [hidden, cell], "new_state", axis=0)
            return graph.node("Squeeze", [hidden, graph.ints("axes", [0])], "hidden"), new


def _conv(graph: GraphWriter, weights: Weights, name: str, x: str, stride: int, pad: int = 1) -> str:
    with graph.layer(name, "Conv1d"):
        parts = [graph.constant(f"{name}.{part}", weights[f"{name}.{part}"].astype(np.float32)) for part in
                 ("weight", "bias")]  # fmt: skip
        return graph.node("Conv", [x, *parts], name, strides=[stride], pads=[pad, pad])


ARCHITECTURE = SileroVad()
