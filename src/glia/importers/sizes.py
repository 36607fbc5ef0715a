"""Shape arithmetic, followed with names for what is open: what `Shape`, `Gather`, `Concat` ... say of sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from jaxtyping import Shaped
from onnx import helper

Dim = int | str | None
Dims = tuple[Dim, ...]


@dataclass
class Known:
    """What is known of one tensor; a shape of None has an unknown rank, a size of None is unknown."""

    dtype: np.dtype[Any] | None
    shape: Dims | None
    value: Shaped[np.ndarray, "..."] | None = None
    """The array of a constant."""
    sizes: Dims | None = None
    """For shape arithmetic: the numbers in this tensor of at most one axis, as far as they are known."""


Rule = Callable[[Sequence[Known | None], Mapping[str, Any]], Dims | None]
"""Inputs and attributes of a node to the numbers that it gives."""


def symbolic(node: onnx.NodeProto, inputs: Sequence[Known | None]) -> Dims | None:
    """The numbers that a node of shape arithmetic gives, as far as they are known; None for every other node."""
    rule = _RULES.get(node.op_type)
    if rule is None or not inputs or inputs[0] is None:
        return None
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return rule(inputs, attributes)


def _shape(inputs: Sequence[Known | None], attributes: Mapping[str, Any]) -> Dims | None:
    assert inputs[0] is not None
    shape = inputs[0].shape
    return shape[attributes.get("start", 0) : attributes.get("end")] if shape is not None else None


def _same(inputs: Sequence[Known | None], attributes: Mapping[str, Any]) -> Dims | None:
    """Cast, Identity, Squeeze and Unsqueeze of what is at most 1-D: the numbers stay."""
    assert inputs[0] is not None
    return inputs[0].sizes


def _gather(inputs: Sequence[Known | None], attributes: Mapping[str, Any]) -> Dims | None:
    sizes, which = inputs[0].sizes if inputs[0] else None, inputs[1].value if inputs[1] else None
    if sizes is None or which is None or which.ndim > 1:
        return None
    picked = [int(index) for index in np.atleast_1d(which)]
    return tuple(sizes[index] for index in picked) if all(-len(sizes) <= i < len(sizes) for i in picked) else None


def _slice(inputs: Sequence[Known | None], attributes: Mapping[str, Any]) -> Dims | None:
    sizes = inputs[0].sizes if inputs[0] else None
    bounds = [one.value if one is not None else None for one in inputs[1:]] + [None] * 4
    if sizes is None or bounds[0] is None or bounds[1] is None:
        return None
    step = int(np.ravel(bounds[3])[0]) if bounds[3] is not None else 1
    start, end = int(np.ravel(bounds[0])[0]), int(np.ravel(bounds[1])[0])
    return sizes[start : end if step > 0 or end > -len(sizes) else None : step]


def _concat(inputs: Sequence[Known | None], attributes: Mapping[str, Any]) -> Dims | None:
    parts = [one.sizes if one is not None else None for one in inputs]
    if any(part is None for part in parts):
        return None
    return tuple(size for part in parts if part is not None for size in part)


def _arithmetic(
    compute: Callable[[int, int], int],
) -> Callable[[Sequence[Known | None], Mapping[str, Any]], Dims | None]:
    def rule(inputs: Sequence[Known | None], attributes: Mapping[str, Any]) -> Dims | None:
        left, right = (one.sizes if one is not None else None for one in inputs[:2])
        if left is None or right is None or not (len(left) == len(right) or 1 in (len(left), len(right))):
            return None
        count = max(len(left), len(right))
        pairs = zip(left * (count // len(left)), right * (count // len(right)), strict=True)
        return tuple(compute(a, b) if isinstance(a, int) and isinstance(b, int) else None for a, b in pairs)

    return rule


_RULES: Mapping[str, Rule] = {
    "Shape": _shape,
    "Cast": _same,
    "Identity": _same,
    "Squeeze": _same,
    "Unsqueeze": _same,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Add": _arithmetic(lambda a, b: a + b),
    "Sub": _arithmetic(lambda a, b: a - b),
    "Mul": _arithmetic(lambda a, b: a * b),
}
