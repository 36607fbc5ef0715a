"""Arrays to tensors of frames and back: the replica's side, where numpy lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import InputError
from glia.core.parts import Buffer
from glia.core.session import Tensors
from glia.serve.tensors import SIZES, Packed, join_elements


def pack(tensors: Tensors) -> list[Packed]:
    """Arrays as tensors of frames; contiguous ones are not copied, text becomes UTF-8. Raises InputError."""
    return [_packed(name, value) for name, value in tensors.items()]


def _packed(name: str, value: Shaped[np.ndarray, "..."]) -> Packed:
    dtype, shape = value.dtype.name, tuple(value.shape)
    flat = value.reshape(-1)
    if value.dtype.kind in "OSU" and all(isinstance(item, str | bytes) for item in flat):
        texts = (item.encode() if isinstance(item, str) else bytes(item) for item in flat)
        return Packed(name, "bytes", shape, join_elements(texts))
    if dtype not in SIZES:
        raise InputError(f"Tensor {name}: expected one of {', '.join(sorted(SIZES))}, received {dtype}.")
    flat = np.ascontiguousarray(flat, value.dtype.newbyteorder("<"))
    data: Buffer = flat.view(np.uint8).data
    return Packed(name, dtype, shape, data)


def unpack(tensors: Iterable[Packed]) -> Tensors:
    """The inverse; elements of dtype `bytes` become text. Raises InputError for a buffer that is not as described."""
    arrays: Tensors = {}
    for tensor in tensors:
        tensor.check()
        if tensor.dtype == "bytes":
            try:
                texts = [str(element, "utf-8") for element in tensor.elements()]
            except UnicodeDecodeError as error:
                raise InputError(f"Tensor {tensor.name}: expected elements in UTF-8, received other bytes.") from error
            flat = np.empty(len(texts), object)
            flat[:] = texts
        else:
            flat = np.frombuffer(tensor.data, np.dtype(tensor.dtype).newbyteorder("<"))
        arrays[tensor.name] = flat.reshape(tensor.shape)
    return arrays


def wanted(outputs: Tensors, names: Sequence[str], classes: Mapping[str, int], labels: Sequence[str]) -> list[Packed]:
    """The outputs that were asked for, in that order, some as the names of their highest values."""
    chosen = {name: outputs[name] for name in names or outputs}
    packed = []
    for name, value in chosen.items():
        packed.append(highest(name, value, classes[name], labels) if name in classes else _packed(name, value))
    return packed


def highest(name: str, value: Shaped[np.ndarray, "..."], most: int, labels: Sequence[str]) -> Packed:
    """The `most` highest values of each row (axis 0) as `value:index:label`, best first; ties by index.

    A tensor of one axis is one row. The label is left out where the card has not one for each value.
    Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
    """
    if value.dtype.kind not in "biuf":
        raise InputError(f"Output {name}: expected numbers to rank, received {value.dtype}.")
    rows = value.reshape(value.shape[0], -1) if value.ndim > 1 else value.reshape(1, -1)
    count = min(most, rows.shape[1])
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    named = len(labels) == rows.shape[1]
    texts = (
        f"{row[index]!s}:{index}" + (f":{labels[index]}" if named else "")
        for row, indices in zip(rows, best, strict=True)
        for index in indices
    )
    shape = (len(rows), count) if value.ndim > 1 else (count,)
    return Packed(name, "bytes", shape, join_elements(text.encode() for text in texts))
