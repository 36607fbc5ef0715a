"""Tensors in frames: each array a buffer, its name, dtype and shape in the header."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from glia.core.errors import InputError
from glia.core.parts import Buffer
from glia.core.session import Tensors

DTYPES = frozenset(("bool", "float16", "float32", "float64")) | {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}


def pack(tensors: Tensors) -> tuple[list[dict[str, Any]], list[Buffer]]:
    """Descriptions and buffers, in one order; contiguous arrays are not copied. Raises InputError."""
    specs: list[dict[str, Any]] = []
    buffers: list[Buffer] = []
    for name, value in tensors.items():
        if value.dtype.name not in DTYPES:
            raise InputError(f"Tensor {name}: expected one of {', '.join(sorted(DTYPES))}, received {value.dtype}.")
        flat = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).reshape(-1)
        specs.append({"name": name, "dtype": value.dtype.name, "shape": list(value.shape)})
        buffers.append(flat.view(np.uint8).data)
    return specs, buffers


def unpack(specs: Sequence[dict[str, Any]], buffers: Sequence[Buffer]) -> Tensors:
    """The inverse. Raises InputError for a buffer that is not what its description says."""
    tensors: Tensors = {}
    for spec, buffer in zip(specs, buffers, strict=True):
        name, shape = spec["name"], tuple(spec["shape"])
        if spec["dtype"] not in DTYPES or any(size < 0 for size in shape):
            raise InputError(f"Tensor {name}: expected a dtype and a shape, received {spec['dtype']} {list(shape)}.")
        dtype = np.dtype(spec["dtype"]).newbyteorder("<")
        if len(buffer) != math.prod(shape) * dtype.itemsize:
            raise InputError(
                f"Tensor {name}: {spec['dtype']} {list(shape)} takes {math.prod(shape) * dtype.itemsize:,} bytes, "
                f"received {len(buffer):,}."
            )
        tensors[name] = np.frombuffer(buffer, dtype).reshape(shape)
    return tensors
