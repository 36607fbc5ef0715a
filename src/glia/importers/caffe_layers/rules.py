"""Rules: what a kind of layer is in ONNX. Modules beside this one register theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.network import CaffeLayer
from glia.importers.caffe_layers.weights import Weights
from glia.importers.faults import input_failed
from glia.importers.graph import GraphWriter
from glia.importers.names import clean


@dataclass
class Build:
    """A graph under way, and the layer at hand."""

    graph: GraphWriter
    weights: Weights
    batch: int | None
    """The number of pictures that the file declares, which literal shapes may repeat; None where it does not."""
    blobs: dict[str, str] = field(default_factory=dict)
    """Caffe's name of a blob to the tensor that it is now: layers may write over their input."""
    failed: set[str] = field(default_factory=set)
    """Blobs of layers that could not be written."""
    notes: list[str] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)
    """What layers that are left out say for the card."""
    layer: CaffeLayer = field(default_factory=lambda: CaffeLayer("", "", [], [], None))

    def read(self, blob: str) -> str:
        """The tensor of a blob. Raises ImportFailed where nothing gives it."""
        if blob in self.failed:
            raise input_failed("its input failed")
        if blob not in self.blobs:
            raise ImportFailed(f"it reads {blob[:100]!r}, which no layer before it gives")
        return self.blobs[blob]

    def inputs(self, least: int = 1, most: int | None = None) -> list[str]:
        """The tensors that the layer reads. Raises ImportFailed for a number that its kind does not take."""
        count = len(self.layer.bottoms)
        if count < least or (most is not None and count > most):
            expected = str(least) if most == least else f"{least} to {most}" if most else f"{least} or more"
            raise ImportFailed(f"it has {count} inputs, expected {expected}")
        return [self.read(bottom) for bottom in self.layer.bottoms]

    def input(self) -> str:
        """The one tensor that the layer reads."""
        return self.inputs(1, 1)[0]

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """An operator with one output, named after the layer."""
        return self.graph.node(op, inputs, self.hint(op), **attributes)

    def hint(self, op: str) -> str:
        """A name for what the layer writes; no blob has it, since outputs keep theirs."""
        return f"{clean(self.layer.name, 'layer')}:{op}"

    def weight(self, index: int, shape: Sequence[int]) -> Float32[np.ndarray, "..."]:
        """The layer's blob of this number."""
        return self.weights.blob(self.layer.name, index, shape)

    def constant(self, what: str, value: Float32[np.ndarray, "..."]) -> str:
        """An array named after the layer."""
        return self.graph.constant(self.hint(what), value)

    def learned(self) -> int:
        """How many blobs of weights the layer has."""
        return self.weights.count(self.layer.name)

    def axis(self, value: int, rank: int) -> int:
        """An axis that may be counted from the end. Raises ImportFailed where there is none."""
        if not -rank <= value < rank:
            raise ImportFailed(f"it names axis {value} of a tensor of {rank} axes")
        return value % rank


Rule = Callable[[Build], str | list[str]]
"""Writes the layer at hand; gives the tensor of its only top, or those of all."""
RULES: dict[str, Rule] = {}


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register a rule for these kinds of layers."""

    def register(function: Rule) -> Rule:
        for kind in kinds:
            assert kind not in RULES, f"two rules for {kind}"
            RULES[kind] = function
        return function

    return register


REFUSED: Mapping[str, str] = {
    "Python": "its program is Python code that is not in the files",
    "Im2col": "it only serves other layers",
    "unknown": "its number is of no known kind; a fork of Caffe wrote it. Give the prototxt as well",
}
