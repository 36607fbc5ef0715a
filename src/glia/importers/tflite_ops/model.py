"""A TensorFlow Lite file as plain records: tensors, operators, and the numbers that its buffers hold.

Source: schema.fbs of TensorFlow Lite, version 3c; the numbers of fields are their places in the tables there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.flatbuffer import Table, root
from glia.importers.tflite_ops.names import BUILTIN, CUSTOM, FIELDS

IDENTIFIER = b"TFL3"
VERSION = 3
MAX_RANK = 8
MAX_ELEMENTS = 1 << 29
MAX_TENSORS = 1 << 17
MAX_INPUTS = 1 << 12
KINDS = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    5: "string",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    11: "complex128",
    12: "uint64",
    13: "resource",
    14: "variant",
    15: "uint32",
    16: "uint16",
    17: "int4",
}
QUANTISED = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767), "int4": (-8, 7)}
"""Types whose numbers may stand for real ones, and their range."""
COMPUTED = {"float16": "float32", "int4": "int8"}
"""Types that are computed in another one."""
NO_ARRAYS = ("string", "complex64", "complex128", "resource", "variant")


def dtype_of(kind: str) -> np.dtype[Any]:
    """The type in which a tensor of this kind is computed. Raises ImportFailed."""
    if kind in NO_ARRAYS or kind not in KINDS.values():
        raise unsupported(f"A tensor of {kind}")
    return np.dtype(COMPUTED.get(kind, kind))


@dataclass(frozen=True)
class Quantisation:
    """real = scale * (number - zero), with one scale and zero for all, or one for each index of `axis`."""

    scale: Shaped[np.ndarray, " count"]
    zero: Shaped[np.ndarray, " count"]
    axis: int

    @property
    def is_single(self) -> bool:
        """Whether all numbers share one scale."""
        return self.scale.size == 1


@dataclass(frozen=True)
class Tensor:
    """What the file says of one tensor."""

    name: str
    kind: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    """The shape, with -1 for what is open."""
    data: memoryview | None
    quantised: Quantisation | None
    is_variable: bool

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest number of a quantised tensor."""
        return QUANTISED[self.kind]

    @cached_property
    def numbers(self) -> Shaped[np.ndarray, "..."]:
        """The numbers as they are stored; 16-bit floats become float32. Raises ImportFailed."""
        assert self.data is not None
        count, raw = prod(self.shape), np.frombuffer(self.data, np.uint8)
        if self.kind == "int4":
            if raw.size != (count + 1) // 2:
                raise self._wrong_size((count + 1) // 2)
            halves = np.stack([raw & 15, raw >> 4], 1).reshape(-1)[:count].astype(np.int8)
            return np.where(halves > 7, halves - 16, halves).astype(np.int8).reshape(self.shape)
        kind = np.dtype("u1" if self.kind == "bool" else self.kind)
        dtype_of(self.kind)
        if raw.size != count * kind.itemsize:
            raise self._wrong_size(count * kind.itemsize)
        array: Shaped[np.ndarray, "..."] = raw.view(kind.newbyteorder("<")).reshape(self.shape)
        if kind.kind == "f" and not np.isfinite(array).all():
            raise ImportFailed(f"{self.name[:200]} holds infinities or NaN. The file is damaged.")
        return array != 0 if self.kind == "bool" else array.astype(dtype_of(self.kind))

    def _wrong_size(self, expected: int) -> ImportFailed:
        held = len(self.data) if self.data is not None else 0
        meant = f"{self.name[:200]}, {self.kind} of shape {list(self.shape)},"
        return ImportFailed(f"{meant} needs {expected} bytes, its buffer has {held}. The file is damaged.")

    @cached_property
    def real(self) -> Shaped[np.ndarray, "..."]:
        """The numbers that are meant: what is quantised as float32. Raises ImportFailed."""
        if self.quantised is None:
            return self.numbers
        q = self.quantised
        if q.is_single:
            return self._meant(q.zero, q.scale)
        if not 0 <= q.axis < len(self.shape) or q.scale.size != self.shape[q.axis]:
            raise ImportFailed(f"{self.name[:200]} has {q.scale.size} scales for axis {q.axis} of {list(self.shape)}.")
        along = [1] * len(self.shape)
        along[q.axis] = -1
        return self._meant(q.zero.reshape(along), q.scale.reshape(along))

    def _meant(self, zero: Shaped[np.ndarray, "..."], scale: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        with np.errstate(over="ignore"):
            real: Shaped[np.ndarray, "..."] = (self.numbers.astype(np.float32) - zero.astype(np.float32)) * scale
        if not np.isfinite(real).all():
            raise ImportFailed(f"{self.name[:200]} holds numbers too large for 32 bits. The file is damaged.")
        return real


@dataclass(frozen=True)
class Operator:
    """One operator: tensors by their numbers, -1 where an input is left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: bytes = b""
    """The options of an operator that is not built in."""
    between: tuple[int, ...] = ()
    """Tensors inside it: only their quantisation matters."""


@dataclass(frozen=True)
class Subgraph:
    """One graph of the file."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Model:
    """The main graph, and what else the file says."""

    graph: Subgraph
    aliases: Mapping[int, str]
    """Names of inputs and outputs in the file's first signature, by the tensor's number."""
    metadata: Mapping[str, memoryview]
    graphs: int


def read_model(data: bytes, file: str) -> Model:
    """The records of a file's bytes. Raises ImportFailed."""
    view = memoryview(data)
    if data[4:8] != IDENTIFIER:
        raise ImportFailed(f"{file} begins with {data[:8]!r}, expected {IDENTIFIER!r} at byte 4: it is no TFLite file.")
    top = root(view, file)
    if (version := top.number(0, "<I")) != VERSION:
        raise ImportFailed(f"{file} is of version {version}, expected {VERSION}. Convert the network again.")
    buffers = [_content(buffer, view, file) for buffer in top.tables(4)]
    codes = [_kind(code) for code in top.tables(1)]
    subgraphs = top.tables(2)
    if not subgraphs:
        raise ImportFailed(f"{file} holds no graph. The file is damaged.")
    graph = _subgraph(subgraphs[0], buffers, codes, file)
    _check_sharing(graph, len(data), file)
    metadata = {}
    for entry in top.tables(6):
        number = entry.number(1, "<I")
        if number < len(buffers):
            metadata[entry.text(0)] = buffers[number]
    return Model(graph, _aliases(top), metadata, len(subgraphs))


def _content(buffer: Table, view: memoryview, file: str) -> memoryview:
    """A buffer's bytes: in its table, or, in files of more than 2 GB, after all tables."""
    inside = buffer.content(0)
    start, size = buffer.number(1, "<Q"), buffer.number(2, "<Q")
    if inside is not None or start <= 1:
        return inside if inside is not None else view[:0]
    if start + size > len(view):
        raise ImportFailed(f"{file}: a buffer ends at byte {start + size} of {len(view)}. The file is cut short.")
    return view[start : start + size]


def _kind(code: Table) -> str:
    """The operator's name: the larger of the two numbers counts, as the older one ends at 127."""
    number = max(code.number(0, "<b"), code.number(3, "<i"))
    if number == CUSTOM:
        return f"CUSTOM {code.text(1)[:100]}"
    return BUILTIN[number] if 0 <= number < len(BUILTIN) else f"operator {number}"


def _aliases(top: Table) -> dict[int, str]:
    for signature in top.tables(7):
        if signature.number(4, "<I") == 0:
            pairs = [*signature.tables(0), *signature.tables(1)]
            return {int(pair.number(1, "<I")): pair.text(0) for pair in pairs if pair.text(0)}
    return {}


def _subgraph(table: Table, buffers: Sequence[memoryview], codes: Sequence[str], file: str) -> Subgraph:
    tensors = tuple(_tensor(entry, buffers, file) for entry in table.tables(0))
    operators = tuple(_operator(entry, codes, len(tensors), file) for entry in table.tables(3))
    if len(tensors) > MAX_TENSORS or len(operators) > MAX_TENSORS:
        raise ImportFailed(f"{file} has {len(tensors)} tensors, {len(operators)} operators; at most {MAX_TENSORS} go.")
    ends = [_places(table, number, len(tensors), file) for number in (1, 2)]
    if min(ends[0] + ends[1], default=0) < 0 or not ends[1]:
        raise ImportFailed(f"{file} has the inputs {ends[0]} and the outputs {ends[1]}, expected tensors.")
    return Subgraph(tensors, ends[0], ends[1], operators)


def _places(table: Table, number: int, count: int, file: str) -> tuple[int, ...]:
    """Numbers of tensors, -1 for none."""
    found = table.numbers(number, "<i4")
    places = tuple(int(place) for place in found) if found is not None and found.size <= MAX_INPUTS else ()
    if found is not None and found.size > MAX_INPUTS:
        raise ImportFailed(f"{file}: {found.size} inputs or outputs, at most {MAX_INPUTS} are read.")
    if wrong := [place for place in places if not -1 <= place < count]:
        raise ImportFailed(f"{file} refers to the tensors {wrong[:10]} of {count}. The file is damaged.")
    return places


def _tensor(table: Table, buffers: Sequence[memoryview], file: str) -> Tensor:
    name = table.text(3)
    shape, signature = (_shape(table, number, name, file) for number in (0, 7))
    kind = KINDS.get(table.number(1, "<b"), "an unknown type")
    if table.table(6) is not None:
        raise ImportFailed(f"{file}: {name[:200]} is stored sparsely; convert the network without pruning's storage.")
    number = table.number(2, "<I")
    if number >= max(len(buffers), 1):
        raise ImportFailed(f"{file}: {name[:200]} lies in buffer {number} of {len(buffers)}. The file is damaged.")
    data = buffers[number] if number and len(buffers[number]) else None
    if number and data is None and 0 in shape:
        data = buffers[number]
    if len(signature) != len(shape):
        signature = shape
    quantisation = _quantisation(table.table(4), kind, name, file)
    return Tensor(name, kind, shape, signature, data, quantisation, table.flag(5))


def _shape(table: Table, number: int, name: str, file: str) -> tuple[int, ...]:
    found = table.numbers(number, "<i4")
    sizes = tuple(int(size) for size in found[: MAX_RANK + 1]) if found is not None else ()
    least = 0 if number == 0 else -1
    if len(sizes) > MAX_RANK or min(sizes, default=0) < least or prod(max(1, size) for size in sizes) > MAX_ELEMENTS:
        raise ImportFailed(f"{file}: {name[:200]} has the shape {list(sizes)}, which cannot be. The file is damaged.")
    return sizes


def _quantisation(table: Table | None, kind: str, name: str, file: str) -> Quantisation | None:
    """How real numbers are meant; None where numbers mean themselves, and for the sums that biases are."""
    if table is None or kind not in QUANTISED:
        return None
    scale, zero = table.numbers(2, "<f4"), table.numbers(3, "<i8")
    if scale is None or scale.size == 0:
        return None
    zero = np.zeros(scale.size, np.int64) if zero is None or zero.size == 0 else zero
    if zero.size == 1 and scale.size > 1:
        zero = np.repeat(zero, scale.size)
    least, most = QUANTISED[kind]
    if zero.size != scale.size or not np.isfinite(scale).all() or (zero < least).any() or (zero > most).any():
        raise ImportFailed(f"{file}: {name[:200]} has scales and zero points that cannot be. The file is damaged.")
    if (scale <= 0).any():
        # A channel whose weights are all zero: its scale does not matter, but ONNX wants one above zero.
        if (scale < 0).any() or scale.size == 1:
            return None
        scale = np.where(scale == 0, np.float32(1), scale)
    return Quantisation(scale.astype(np.float32), zero.astype(np.int64), int(table.number(6, "<i")))


def _operator(table: Table, codes: Sequence[str], tensors: int, file: str) -> Operator:
    number = table.number(0, "<I")
    if number >= len(codes):
        raise ImportFailed(f"{file}: an operator is of kind {number} of {len(codes)}. The file is damaged.")
    inputs, outputs, between = (_places(table, field, tensors, file) for field in (1, 2, 8))
    if min(outputs, default=0) < 0:
        raise ImportFailed(f"{file}: an operator's outputs are {list(outputs)}, expected tensors.")
    kind = codes[number]
    custom = table.content(5)
    return Operator(
        kind, inputs, outputs, _options(kind, table.table(4)), b"" if custom is None else bytes(custom), between
    )


def _options(kind: str, table: Table | None) -> dict[str, Any]:
    """The options of an operator by their names; defaults where the file has none."""
    found: dict[str, Any] = {}
    for number, entry in enumerate(FIELDS.get(kind, "").split()):
        name, _, described = entry.partition(":")
        layout, _, default = described.partition("=")
        if layout == "[i]":
            vector = table.numbers(number, "<i4") if table is not None else None
            found[name] = None if vector is None else [int(value) for value in vector[: MAX_RANK + 1]]
        else:
            value = float(default or 0) if layout == "f" else int(default or 0)
            found[name] = table.number(number, f"<{layout}", value) if table is not None else value
            if isinstance(found[name], float) and not np.isfinite(found[name]):
                raise ImportFailed(f"The option {name} of {kind} is {found[name]}. The file is damaged.")
    return found


def _check_sharing(graph: Subgraph, size: int, file: str) -> None:
    """Several tensors may share a buffer, but not so that the network is many times its file."""
    total = sum(len(tensor.data) for tensor in graph.tensors if tensor.data is not None)
    if total > 4 * size:
        raise ImportFailed(f"{file} of {size} bytes holds tensors of {total} bytes in all. The file is damaged.")


def flexbuffer(data: bytes, wanted: Sequence[str]) -> dict[str, float]:
    """Numbers and booleans of a FlexBuffer whose root is a map, by key. Raises ImportFailed.

    A map is values before a count; two more fields before it lead to its keys. The last byte is the width of the
    root, the one before it its type.
    Source: https://flatbuffers.dev/flexbuffers/
    """
    view, found = memoryview(data), dict[str, float]()

    def unsigned(at: int, width: int) -> int:
        if width not in (1, 2, 4, 8) or not 0 <= at <= len(view) - width:
            raise ImportFailed("The options of a custom operator do not fit together. The file is damaged.")
        return int.from_bytes(view[at : at + width], "little")

    if len(data) < 3:
        return found
    width = data[-1]
    place = len(data) - 2 - width
    kind, inner = data[-2] >> 2, 1 << (data[-2] & 3)
    if kind != 9:  # a map
        return found
    start = place - unsigned(place, width)
    count = unsigned(start - inner, inner)
    keys, key_width = start - 3 * inner - unsigned(start - 3 * inner, inner), unsigned(start - 2 * inner, inner)
    for index in range(min(count, 1000)):
        at = keys + index * key_width
        text = at - unsigned(at, key_width)
        end = data.find(b"\0", max(text, 0), max(text, 0) + 100)
        name = data[max(text, 0) : max(end, 0)].decode("utf-8", "replace")
        if name in wanted:
            packed = unsigned(start + count * inner + index, 1)
            found[name] = _flex_number(view, start + index * inner, packed >> 2, inner, 1 << (packed & 3), unsigned)
    return found


def _flex_number(view: memoryview, at: int, kind: int, width: int, inner: int, unsigned: Any) -> float:
    """A scalar in a map, or the one that it points to."""
    if kind in (6, 7, 8):  # stored elsewhere
        at, width, kind = at - unsigned(at, width), inner, kind - 5
    raw = unsigned(at, width)
    if kind == 3:
        if width < 2:
            raise ImportFailed("The options of a custom operator hold a float of one byte. The file is damaged.")
        return float(struct.unpack({2: "<e", 4: "<f", 8: "<d"}[width], view[at : at + width])[0])
    if kind == 1:
        return float(raw - (1 << 8 * width) if raw >> (8 * width - 1) else raw)
    if kind in (2, 26):
        return float(raw)
    raise ImportFailed(f"An option of a custom operator is of type {kind}, expected a number.")
