"""What a rule is given: one call of a layer, its settings and arrays, and the graph to write to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.graph import GraphWriter
from glia.importers.keras_layers.configs import Spec
from glia.importers.layout import Layout

Array = Shaped[np.ndarray, "..."]
MAX_SIZE = 1 << 20
MAX_REACH = 1 << 14
"""Kernels, strides and pads are smaller than this [px]."""


@dataclass
class Scope:
    """What all calls of one import share."""

    graph: GraphWriter
    layout: Layout
    version: tuple[int, int]
    """Of the Keras that wrote the network."""
    is_tf: bool = True
    """Whether tf.keras or TensorFlow 2 ran it: resizing differs."""
    is_theano: bool = False
    """Whether Theano ran it: kernels are turned by 180 degrees, `same` pads differ."""
    hard_sigmoid: tuple[float, float] = (0.2, 0.5)
    masks: dict[str, str] = field(default_factory=dict)
    """Handle to the tensor of booleans [n, t] that says which steps count."""
    notes: list[str] = field(default_factory=list)

    def note(self, words: str) -> None:
        """Tell people something, once."""
        if words not in self.notes:
            self.notes.append(words)


@dataclass(frozen=True)
class Applied:
    """A layer applied to inputs."""

    scope: Scope
    name: str
    spec: Spec
    inputs: Sequence[Any]
    """Handles, or constants of the call."""
    weights: Sequence[Array]
    keywords: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> GraphWriter:
        """The writer."""
        return self.scope.graph

    @property
    def layout(self) -> Layout:
        """The handles."""
        return self.scope.layout

    @property
    def hint(self) -> str:
        """What its nodes are called: never as the layer alone, for outputs of the graph carry layers' names."""
        return f"{self.name}/out"

    @property
    def config(self) -> Mapping[str, Any]:
        """The layer's settings in the words of Keras 2."""
        return self.spec.config

    @property
    def x(self) -> str:
        """The only input, or the first one."""
        if not self.inputs or not isinstance(self.inputs[0], str):
            raise ImportFailed("It has no input. The file is damaged.")
        return self.inputs[0]

    @property
    def handles(self) -> list[str]:
        """All inputs, each a tensor."""
        handles = [value for value in self.inputs if isinstance(value, str)]
        if not handles or len(handles) != len(self.inputs):
            raise unsupported("a constant among its inputs")
        return handles

    def weight(self, index: int, rank: int | None = None, what: str = "weights") -> Array:
        """An array of the layer. Raises ImportFailed where it is not there, or of another rank."""
        if index >= len(self.weights):
            raise ImportFailed(f"expected {what} as array {index + 1}, the file holds {len(self.weights)} for it")
        array = self.weights[index]
        if rank is not None and array.ndim != rank:
            raise ImportFailed(f"expected {what} of {rank} axes, received the shape {list(array.shape)}")
        return array

    def vector(self, index: int, size: int, what: str = "bias") -> Array:
        """An array of the layer with `size` numbers in a row."""
        array = self.weight(index, None, what)
        if array.size != size:
            raise ImportFailed(f"expected {what} of {size} numbers, received the shape {list(array.shape)}")
        return array.reshape(size)

    def constant(self, part: str, array: Array) -> str:
        """An array of the layer as a tensor."""
        return self.graph.constant(f"{self.name}/{part}", array)

    # -- settings ------------------------------------------------------------------------------------------------------

    def text(self, key: str, default: str) -> str:
        """A setting that is a word."""
        value = self.config.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, "a word", value)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A setting that is true or false."""
        value = self.config.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A setting that is a number, which Keras may have wrapped up as an array."""
        value = self.config.get(key)
        if isinstance(value, dict):
            value = value.get("value")
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(key, "a number", value)
        return float(value)

    def integer(self, key: str, default: int | None = None, least: int = -MAX_SIZE) -> int:
        """A setting that is a whole number."""
        value = self.config.get(key)
        value = default if value is None else value
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_SIZE:
            raise self._wrong(key, f"a whole number of {least} or more", value)
        return value

    def integers(self, key: str, count: int, default: int | None = None, least: int = 1) -> list[int]:
        """A setting of `count` whole numbers, or one for all of them."""
        value = self.config.get(key)
        value = default if value is None else value
        values = value if isinstance(value, list) else [value] * count
        right = all(
            isinstance(size, int) and not isinstance(size, bool) and least <= size <= MAX_REACH for size in values
        )
        if len(values) != count or not right:
            raise self._wrong(key, f"{count} whole numbers of {least} or more", value)
        return list(values)

    def shape(self, key: str) -> list[int]:
        """A setting that is a shape; -1 is open."""
        value = self.config.get(key)
        values = value if isinstance(value, list) else []
        right = all(isinstance(size, int) and not isinstance(size, bool) and -1 <= size <= 1 << 30 for size in values)
        if not isinstance(value, list) or not right or len(values) > 16:
            raise self._wrong(key, "a shape", value)
        return list(values)

    def _wrong(self, key: str, wanted: str, value: object) -> ImportFailed:
        return ImportFailed(f"its setting `{key}` should be {wanted}, received {str(value)[:100]!r}")

    # -- tensors -------------------------------------------------------------------------------------------------------

    def rank(self, handle: str | None = None) -> int:
        """Axes of an input."""
        return len(self.layout.shape(handle or self.x))

    def is_last(self) -> bool:
        """Whether channels are the last axis for this layer."""
        order = self.text("data_format", "channels_last")
        if order == "default":
            order = "channels_last"
        if order not in {"channels_last", "channels_first"}:
            raise self._wrong("data_format", "channels_last or channels_first", order)
        return order == "channels_last"

    def first(self, handle: str, rank: int) -> str:
        """The tensor with channels first, however this layer's input has them; it must have so many axes."""
        if self.rank(handle) != rank:
            raise ImportFailed(f"it needs an input of {rank} axes, received {list(self.layout.shape(handle))}")
        return self.layout.first(handle) if self.is_last() else self.layout.last(handle)

    def given(self, tensor: str) -> str:
        """The handle for a tensor with channels first, in this layer's own order."""
        return self.layout.promise(tensor) if self.is_last() else tensor

    def plain(self, handle: str | None = None) -> str:
        """An input as the tensor that Keras means."""
        return self.layout.last(handle or self.x)

    def lasts(self, count: int = 1) -> list[int]:
        """The last sizes of the input, where they are numbers."""
        return list(self.layout.known_shape(self.x, range(-count, 0)))


Rule = Callable[[Applied], str | list[str]]
"""Writes a layer; gives the handle of its output, or those of its outputs."""
