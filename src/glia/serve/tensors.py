"""Tensors in frames: each one a buffer; its name, dtype and shape in the header. Plain Python: no numpy.

A buffer is little-endian and row-major. Elements of dtype `bytes` are each a uint32 length with so many bytes after it,
as in the Open Inference Protocol, so that a client's tensor passes from its HTTP body to the replica untouched.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glia.core.errors import InputError
from glia.core.parts import Buffer

SIZES: Mapping[str, int] = {
    "bool": 1,
    **{f"{kind}{bits}": bits // 8 for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": bits // 8 for bits in (16, 32, 64)},
}
"""Dtypes whose elements are all of one size, with that size [bytes]."""

MOST_DIMENSIONS = 32
MOST_ELEMENTS = 1 << 40
MOST_TEXTS = 1 << 20
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Packed:
    """A tensor as it crosses process borders: `dtype` is one of SIZES, or `bytes`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Buffer = field(repr=False)

    def check_shape(self) -> None:
        """Whether such a tensor can be. Raises InputError."""
        known = self.dtype in SIZES or self.dtype == "bytes"
        # A dimension of 0 must not hide others that no array can have.
        if (
            not known
            or len(self.shape) > MOST_DIMENSIONS
            or any(type(size) is not int or size < 0 for size in self.shape)
            or math.prod(max(size, 1) for size in self.shape) > MOST_ELEMENTS
        ):
            raise InputError(
                f"Tensor {self.name}: expected a dtype and a shape of at most {MOST_DIMENSIONS} sizes from 0, "
                f"received {self.dtype} {shown(self.shape)}."
            )

    def check(self) -> None:
        """Whether the buffer is what the description says. Raises InputError."""
        self.check_shape()
        count = math.prod(self.shape)
        if self.dtype == "bytes":
            self._check_elements(count)
        elif len(self.data) != count * SIZES[self.dtype]:
            raise InputError(
                f"Tensor {self.name}: {self.dtype} {shown(self.shape)} takes {count * SIZES[self.dtype]:,} bytes, "
                f"received {len(self.data):,}."
            )

    def _check_elements(self, count: int) -> None:
        if count > MOST_TEXTS:
            raise InputError(
                f"Tensor {self.name}: expected at most {MOST_TEXTS:,} elements of bytes, received {count:,}."
            )
        # Not one further than announced: empty elements are cheap to send and dear to count.
        found = sum(1 for _ in itertools.islice(split_elements(self.name, self.data), count + 1))
        if found != count:
            came = "more" if found > count else f"{found:,}"
            raise InputError(f"Tensor {self.name}: {shown(self.shape)} takes {count:,} elements, received {came}.")

    def elements(self) -> list[memoryview]:
        """The elements of a tensor of dtype `bytes`, uncopied. Raises InputError."""
        return list(split_elements(self.name, self.data))


@dataclass(frozen=True)
class Inference:
    """Tensors for one graph of a service, past the task's answer."""

    tensors: Sequence[Packed]
    role: str = ""
    """The graph; the service's first where empty."""

    outputs: tuple[str, ...] = ()
    """The outputs that are wanted; all where empty."""

    classes: Mapping[str, int] = field(default_factory=dict)
    """Outputs of which only the names of the highest values are wanted, and how many."""

    fields: Mapping[str, Any] | None = None
    """Where given, the only tensor holds encoded media; each goes through the task's preprocessing, with them."""

    @property
    def rows(self) -> int:
        """The size of the first axis of the first tensor."""
        return self.tensors[0].shape[0] if self.tensors and self.tensors[0].shape else 1


def shown(shape: Iterable[object]) -> str:
    """A shape for a message, however long it is."""
    text = str(list(shape))
    return text if len(text) <= 100 else f"{text[:100]}..."


def describe(tensors: Sequence[Packed]) -> tuple[list[dict[str, Any]], list[Buffer]]:
    """Descriptions for a frame's header, and its buffers, in one order."""
    specs = [{"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)} for tensor in tensors]
    return specs, [tensor.data for tensor in tensors]


def described(specs: Sequence[Mapping[str, Any]], buffers: Sequence[Buffer]) -> list[Packed]:
    """The inverse."""
    return [
        Packed(spec["name"], spec["dtype"], tuple(spec["shape"]), buffer)
        for spec, buffer in zip(specs, buffers, strict=True)
    ]


def join_elements(elements: Iterable[Buffer]) -> bytes:
    """The buffer of a tensor of dtype `bytes`."""
    parts: list[Buffer] = []
    for element in elements:
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def split_elements(name: str, data: Buffer) -> Iterable[memoryview]:
    """The inverse, uncopied. Raises InputError for lengths that lie."""
    view, place = memoryview(data), 0
    while place < len(view):
        start = place + _LENGTH.size
        if start > len(view):
            raise InputError(f"Tensor {name}: expected an element's length of 4 bytes, its data ends inside it.")
        (length,) = _LENGTH.unpack_from(view, place)
        place = start + length
        if place > len(view):
            raise InputError(
                f"Tensor {name}: an element says that it has {length:,} bytes, but {len(view) - start:,} follow."
            )
        yield view[start:place]
