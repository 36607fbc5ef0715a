"""Tensors in a GraphDef to arrays, and TensorFlow's types to numpy's."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.tensorflow_ops.nodes import DATA_TYPES, Shape, checked_shape, type_name

MAX_ELEMENTS = 1 << 29
MAX_REPEATED = 1 << 24
"""Elements of a tensor that is stored as fewer numbers, the last of them repeated."""

Array = Shaped[np.ndarray, "..."]

_STORED: dict[str, tuple[str, str]] = {  # type of the bytes, and the field that holds single numbers
    "FLOAT": ("<f4", "float_val"),
    "DOUBLE": ("<f8", "double_val"),
    "HALF": ("<f2", "half_val"),
    "BFLOAT16": ("<u2", "half_val"),
    "INT32": ("<i4", "int_val"),
    "INT16": ("<i2", "int_val"),
    "INT8": ("|i1", "int_val"),
    "UINT8": ("|u1", "int_val"),
    "UINT16": ("<u2", "int_val"),
    "INT64": ("<i8", "int64_val"),
    "UINT32": ("<u4", "uint32_val"),
    "UINT64": ("<u8", "uint64_val"),
    "BOOL": ("|u1", "bool_val"),
    "QINT8": ("|i1", "int_val"),
    "QUINT8": ("|u1", "int_val"),
    "QINT32": ("<i4", "int_val"),
}
_FLOATS = {"FLOAT", "DOUBLE", "HALF", "BFLOAT16"}


def dtype_of(number: object) -> np.dtype[Any]:
    """The type that the graph computes in: every float is float32. Raises ImportFailed for text and resources."""
    name = type_name(number) if isinstance(number, int) else str(number)
    if name in _FLOATS:
        return np.dtype(np.float32)
    if name == "BOOL":
        return np.dtype(bool)
    if name not in _STORED:
        raise ImportFailed(f"numbers of the type {name} are not supported")
    return np.dtype(_STORED[name][0]).newbyteorder("=")


def decode(tensor: Any) -> Array:
    """A TensorProto's array; every float becomes float32. Raises ImportFailed for what is damaged or not finite."""
    kind = type_name(tensor.dtype)
    if kind not in _STORED:
        raise ImportFailed(f"a constant of the type {kind} is not supported")
    shape = checked_shape([int(dim.size) for dim in tensor.tensor_shape.dim]).sizes
    assert shape is not None
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0 or prod(map(_at_least_one, shape)) > MAX_ELEMENTS:
        raise ImportFailed(f"a constant has the shape {list(shape)}, which cannot be; the file is damaged")
    return finite(_floats(_numbers(tensor, kind, prod(shape)), kind).reshape(shape))


def _at_least_one(size: int) -> int:
    return max(1, size)


def _numbers(tensor: Any, kind: str, count: int) -> Array:
    """The `count` numbers as they are stored: all their bytes, or single ones of which the last is repeated."""
    stored, single = _STORED[kind]
    dtype = np.dtype(stored)
    content = tensor.tensor_content
    if content:
        if len(content) != count * dtype.itemsize:
            raise ImportFailed(f"a constant has {len(content)} bytes for {count} numbers; the file is damaged")
        return np.frombuffer(content, dtype)
    held = getattr(tensor, single)
    if len(held) > count or (len(held) < count and count > MAX_REPEATED):
        raise ImportFailed(f"a constant has {len(held)} numbers for {count} elements; the file is damaged")
    wide = np.array(held, np.float64 if kind in ("FLOAT", "DOUBLE") else np.int64 if kind != "UINT64" else np.uint64)
    if single == "half_val":
        values = wide.astype(np.uint16).view("<u2" if kind == "BFLOAT16" else "<f2")
    else:
        with np.errstate(over="ignore"):  # an infinity stays one, and is met later
            values = wide.astype(dtype)
    if len(values) == count:
        return values
    filled = np.zeros(count, values.dtype)
    filled[: len(values)] = values
    if len(values):
        filled[len(values) :] = values[-1]
    return filled


def _floats(values: Array, kind: str) -> Array:
    if kind == "BFLOAT16":
        return np.left_shift(values.astype(np.uint32), 16).view(np.float32)
    if kind == "BOOL":
        return values.astype(bool)
    with np.errstate(over="ignore"):
        return values.astype(dtype_of(DATA_TYPES[kind]))


def finite(values: Array) -> Array:
    """The array, where its floats are numbers; one infinity alone is a bound and may be. Raises ImportFailed."""
    if values.dtype.kind == "f" and not np.isfinite(values).all() and (np.isnan(values).any() or values.size > 1):
        raise ImportFailed("a constant holds NaN or infinities; the file is damaged, or the training diverged")
    return values


def sizes_of(shape: object) -> tuple[int, ...] | None:
    """The sizes of an attribute that is a shape; None where there is none or its rank is unknown."""
    return shape.sizes if isinstance(shape, Shape) else None
