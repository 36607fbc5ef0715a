"""One operator as its rule sees it: inputs, attributes, and what writes the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.graph import GraphWriter
from glia.importers.layout import Layout
from glia.importers.sizes import Dims
from glia.importers.tensorflow_ops.nodes import Node
from glia.importers.tensorflow_ops.numbers import Array

Plain = TypeVar("Plain", int, float, bool, str)


@dataclass(frozen=True)
class Elements:
    """What a TensorArray holds at one moment: the handle of each element, None where none was written."""

    items: tuple[str | None, ...]


@dataclass(frozen=True)
class Dead:
    """What the branch of a decided condition that is not taken gives."""


@dataclass(frozen=True)
class Failed:
    """What an operator gives that could not be written: its fault is told already."""


Value = str | Elements | Dead | Failed
"""A handle of `Layout`, or what is no tensor."""


@dataclass(frozen=True)
class Call:
    """A node, its inputs as handles, and the writers."""

    node: Node
    inputs: Sequence[Value]
    graph: GraphWriter
    layout: Layout
    hint: str
    notes: list[str]

    # -- inputs --------------------------------------------------------------------------------------------------------

    def handle(self, index: int) -> str:
        """Input `index` as a handle. Raises ImportFailed where it is missing or no tensor."""
        if not -len(self.inputs) <= index < len(self.inputs):
            raise ImportFailed(f"it has {len(self.inputs)} inputs and needs more; the file is damaged")
        value = self.inputs[index]
        if not isinstance(value, str):
            raise ImportFailed("it reads the state of a loop as a tensor, which is not supported")
        return value

    def tensor(self, index: int) -> str:
        """Input `index` in the order of its axes that TensorFlow means."""
        return self.layout.last(self.handle(index))

    def tensors(self) -> list[str]:
        """All inputs in TensorFlow's order of axes."""
        return [self.tensor(index) for index in range(len(self.inputs))]

    def shape(self, index: int) -> Dims:
        """Sizes of input `index`, in TensorFlow's order."""
        return self.layout.shape(self.handle(index))

    def rank(self, index: int) -> int:
        """Number of axes of input `index`."""
        return len(self.shape(index))

    def dtype(self, index: int) -> np.dtype[Any]:
        """Type of input `index`."""
        handle = self.handle(index)
        return self.graph.dtype(self.layout.first(handle) if self.layout.is_first(handle) else handle)

    def value(self, index: int) -> Array | None:
        """The array of a constant input, in TensorFlow's order; None where it is computed."""
        handle = self.handle(index)
        if self.layout.is_first(handle) and self.graph.value(self.layout.first(handle)) is None:
            return None
        return self.graph.value(self.layout.last(handle))

    def array(self, index: int, what: str) -> Array:
        """As `value`. Raises ImportFailed where it is computed; `what` names it."""
        value = self.value(index)
        if value is None:
            raise ImportFailed(f"{what} is computed from the input; only a constant is supported")
        return value

    def ints(self, index: int, what: str) -> list[int]:
        """The integers of a constant input."""
        value = self.array(index, what)
        if value.dtype.kind not in "iu" or value.ndim > 2:
            raise ImportFailed(f"{what} is of the type {value.dtype}, expected integers; the file is damaged")
        return [int(one) for one in value.ravel()]

    def integer(self, index: int, what: str) -> int:
        """The integer of a constant input."""
        values = self.ints(index, what)
        if len(values) != 1:
            raise ImportFailed(f"{what} has {len(values)} numbers, expected one")
        return values[0]

    def number(self, index: int, what: str) -> float:
        """The number of a constant input."""
        value = self.array(index, what)
        if value.size != 1:
            raise ImportFailed(f"{what} has {value.size} numbers, expected one")
        return float(value.ravel()[0])

    def axis(self, index: int, rank: int, what: str = "the axis") -> int:
        """A constant axis of so many, from 0."""
        return checked_axis(self.integer(index, what), rank)

    # -- attributes ----------------------------------------------------------------------------------------------------

    def attribute(self, name: str, default: Plain) -> Plain:
        """An attribute of the default's type; the default where there is none. Raises ImportFailed."""
        value = self.node.attributes.get(name)
        if value is None:
            return default
        kinds = (int, float) if isinstance(default, float) else type(default)
        right = isinstance(value, kinds) and isinstance(value, bool) == isinstance(default, bool)
        if not right or (isinstance(value, float) and not math.isfinite(value)):
            raise ImportFailed(f"the attribute {name} is {str(value)[:50]!r}, which cannot be; the file is damaged")
        return type(default)(value)

    def numbers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """An attribute that is a list of integers."""
        value = self.node.attributes.get(name)
        if value is None:
            return list(default)
        if not isinstance(value, list) or not all(isinstance(one, int) for one in value):
            raise ImportFailed(f"the attribute {name} is {str(value)[:50]!r}, which cannot be; the file is damaged")
        return [int(one) for one in value]

    def texts(self, name: str) -> list[str]:
        """An attribute that is a list of texts."""
        value = self.node.attributes.get(name) or []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ImportFailed(f"the attribute {name} is {str(value)[:50]!r}, which cannot be; the file is damaged")
        return list(value)

    def kind(self, name: str, default: int = 0) -> int:
        """An attribute that is a type."""
        return self.attribute(name, default)

    # -- pictures ------------------------------------------------------------------------------------------------------

    @property
    def is_first(self) -> bool:
        """Whether the node speaks of channels first."""
        order = self.attribute("data_format", "NHWC")
        if order not in ("NHWC", "NDHWC", "NWC", "NCHW", "NCDHW", "NCW"):
            raise ImportFailed(f"the order {order[:20]} of the axes is not supported")
        return order.startswith("NC")

    def picture(self, index: int) -> str:
        """Input `index` with channels first, of rank 3 or more."""
        if self.rank(index) < 3:
            raise ImportFailed(f"its input has {self.rank(index)} axes, expected batch, positions and channels")
        return self.tensor(index) if self.is_first else self.layout.first(self.handle(index))

    def give(self, tensor: str) -> str:
        """The handle of a tensor with channels first, as the node means it."""
        return tensor if self.is_first else self.layout.promise(tensor)

    def spatial(self, values: Sequence[int], what: str) -> list[int]:
        """The middle of a list with a number for each axis: strides, windows. Batch and channels must be 1."""
        channel = 1 if self.is_first else len(values) - 1
        rest = [value for axis, value in enumerate(values) if axis not in (0, channel)]
        if len(values) < 3 or values[0] != 1 or values[channel] != 1:
            raise ImportFailed(f"{what} {list(values)[:8]} over batch or channels are not supported")
        if min(rest) < 1:
            raise ImportFailed(f"{what} are {list(values)[:8]}, expected 1 or more; the file is damaged")
        return rest

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """An ONNX operator with one output, called as the node."""
        return self.graph.node(op, inputs, self.hint, **attributes)

    def ints_constant(self, values: Sequence[int]) -> str:
        """A 1-D constant of int64, named after the node."""
        return self.graph.ints(f"{self.hint}_ints", values)

    def scalar(self, value: int | float, like: int = 0) -> str:
        """A constant without axes of input `like`'s type."""
        return self.graph.scalar(f"{self.hint}_number", value, self.dtype(like))


Rule = Callable[[Call], Value | Sequence[Value]]
"""Writes a node; gives the handle of its output, or of its outputs."""
Rules = Mapping[str, Rule]


def checked_axis(axis: int, rank: int) -> int:
    """An axis from 0. Raises ImportFailed where there is none."""
    if not -rank <= axis < rank:
        raise ImportFailed(f"the axis {axis} of {rank} cannot be; the file is damaged")
    return axis % rank
