"""Rules: what an operator of MXNet is in ONNX. Modules beside this one register theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.graph import GraphWriter
from glia.importers.mxnet_ops.files import Node
from glia.importers.names import clean


@dataclass
class Build:
    """A graph under way, and the node at hand."""

    graph: GraphWriter
    node_: Node = field(default_factory=lambda: Node("", "", []))
    tensors: list[str] = field(default_factory=list)
    """What the node at hand reads."""

    def input(self, at: int = 0) -> str:
        """The tensor it reads at this place. Raises ImportFailed where it reads fewer."""
        if at >= len(self.tensors):
            raise ImportFailed(f"it has {len(self.tensors)} inputs, expected {at + 1} or more")
        return self.tensors[at]

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """An operator with one output, named after the node."""
        return self.graph.node(op, inputs, self.hint(op), **attributes)

    def hint(self, op: str) -> str:
        """A name for what the node writes."""
        return f"{clean(self.node_.name, 'node')}:{op}"

    def constant(self, what: str, value: Shaped[np.ndarray, "..."]) -> str:
        """An array named after the node."""
        return self.graph.constant(self.hint(what), value)

    def learned(self, at: int, shape: Sequence[int] | None = None) -> Shaped[np.ndarray, "..."]:
        """The array that it reads at this place. Raises ImportFailed where it is no constant, or of another shape."""
        value = self.graph.value(self.input(at))
        if value is None:
            raise ImportFailed(f"its input {at} must be among the weights")
        if shape is not None and value.shape != tuple(shape):
            raise ImportFailed(f"its weights are of shape {list(value.shape)}, expected {list(shape)}")
        return value

    def channels(self, tensor: str, axis: int = 1) -> int:
        """The size of an axis."""
        return self.graph.known_shape(tensor, [axis])[0]

    def axis(self, value: int, rank: int) -> int:
        """An axis that may be counted from the end. Raises ImportFailed where there is none."""
        if not -rank <= value < rank:
            raise ImportFailed(f"it names axis {value} of a tensor of {rank} axes")
        return value % rank

    def scalar(self, value: float) -> str:
        """A number, of the type that the first input has."""
        return self.graph.scalar("value", value, self.graph.dtype(self.input()))


Rule = Callable[[Build, Node], str | list[str]]
RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for these operators."""

    def register(function: Rule) -> Rule:
        for operator in operators:
            assert operator not in RULES, f"two rules for {operator}"
            RULES[operator] = function
        return function

    return register
