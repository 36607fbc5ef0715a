"""Channels last outside, channels first inside: formats that speak NHWC, in a graph that is NCHW.

An importer hands tensors about by handles. A handle stands for a tensor in the order that the format means; where an
operator gives channels first, its handle is only a promise, and a transpose is written when somebody needs the other
order: once, and not at all between two operators that both work channels first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.graph import GraphWriter
from glia.importers.sizes import Dims


def to_first(rank: int) -> list[int]:
    """The axes of channels last, in the order of channels first: [0, 3, 1, 2] for pictures."""
    return [0, rank - 1, *range(1, rank - 1)]


def to_last(rank: int) -> list[int]:
    """The inverse: [0, 2, 3, 1] for pictures."""
    return [0, *range(2, rank), 1]


class Layout:
    """Handles of one graph. A handle is a tensor's name, or a name that is no tensor yet."""

    def __init__(self, graph: GraphWriter) -> None:
        self.graph = graph
        self._first: dict[str, str] = {}
        """Handle to the tensor with channels first."""
        self._last: dict[str, str] = {}
        """Handle that was a promise to the tensor in the format's own order."""
        self._promised: set[str] = set()

    def first(self, handle: str) -> str:
        """The tensor with channels first, of rank 3 or more; transposed where it has to be, once."""
        if handle not in self._first:
            perm = to_first(self.graph.rank(handle))
            self._first[handle] = self.graph.transpose(handle, perm, f"{handle}_first")
        return self._first[handle]

    def last(self, handle: str) -> str:
        """The tensor in the order that the format means."""
        if handle not in self._promised:
            return handle
        if handle not in self._last:
            tensor = self._first[handle]
            self._last[handle] = self.graph.transpose(tensor, to_last(self.graph.rank(tensor)), f"{tensor}_last")
        return self._last[handle]

    def promise(self, tensor: str) -> str:
        """A handle for a tensor with channels first, which the format means as channels last."""
        handle = f"{tensor}:last"
        self._promised.add(handle)
        self._first[handle] = tensor
        return handle

    def is_first(self, handle: str) -> bool:
        """Whether it lies with channels first, so that an operator on each number should take it so."""
        return handle in self._promised

    def shape(self, handle: str) -> Dims:
        """Sizes in the order that the format means. Raises ImportFailed for an unknown rank."""
        if handle not in self._promised:
            return self.graph.shape(handle)
        shape = self.graph.shape(self._first[handle])
        return tuple(shape[axis] for axis in to_last(len(shape)))

    def known_shape(self, handle: str, axes: Sequence[int] | None = None) -> tuple[int, ...]:
        """Sizes, of these axes or all, in the format's order, where they are numbers. Raises ImportFailed."""
        shape = self.shape(handle)
        sizes = [shape[axis] for axis in axes] if axes is not None else list(shape)
        if not all(isinstance(size, int) for size in sizes):
            raise ImportFailed(f"The sizes are {list(shape)}; all of them must be known here. Give the input's size.")
        return tuple(size for size in sizes if isinstance(size, int))

    def value(self, handle: str) -> Shaped[np.ndarray, "..."] | None:
        """The array of a constant, in the format's order; None for anything else."""
        return None if handle in self._promised else self.graph.value(handle)

    def each(self, op: str, handle: str, *more: str, hint: str = "", **attributes: Any) -> str:
        """An operator on every number, with further inputs that have no axes."""
        if not self.is_first(handle):
            return self.graph.node(op, [handle, *more], hint, **attributes)
        return self.promise(self.graph.node(op, [self._first[handle], *more], hint, **attributes))

    def pair(self, op: str, left: str, right: str, hint: str = "") -> str:
        """An operator on two tensors that broadcast against each other, number by number."""
        ranks = [len(self.shape(handle)) for handle in (left, right)]
        rank = max(ranks)
        if rank < 3 or not (self.is_first(left) or self.is_first(right)):
            return self.graph.node(op, [self.last(left), self.last(right)], hint)
        operands = [self._beside(handle, own, rank) for handle, own in zip((left, right), ranks, strict=True)]
        if None in operands:
            return self.graph.node(op, [self.last(left), self.last(right)], hint)
        return self.promise(self.graph.node(op, [operand for operand in operands if operand is not None], hint))

    def _beside(self, handle: str, own: int, rank: int) -> str | None:
        """The operand as it broadcasts against one of channels first; None where it has to stay as it is."""
        value = self.value(handle)
        if own == 0:
            return handle
        if value is not None:
            whole = value.reshape((1,) * (rank - own) + value.shape).transpose(to_first(rank))
            return self.graph.constant(f"{handle}_first", whole)
        return self.first(handle) if own == rank else None

    def join(self, handles: Sequence[str], axis: int, hint: str = "") -> str:
        """Concatenate along an axis of the format's order."""
        rank = len(self.shape(handles[0]))
        axis %= rank
        if rank >= 3 and any(self.is_first(handle) for handle in handles):
            tensors = [self.first(handle) for handle in handles]
            return self.promise(self.graph.node("Concat", tensors, hint, axis=to_first(rank).index(axis)))
        return self.graph.node("Concat", [self.last(handle) for handle in handles], hint, axis=axis)
