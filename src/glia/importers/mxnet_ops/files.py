"""MXNet's two files: a graph in JSON, and a list of arrays with their names.

    params   uint64 0x112, 0, count; the arrays; uint64 count of names, each uint64 length and characters
    array    uint32 magic; from version 2 on int32 kind of storage; uint32 rank, int64 sizes (uint32 before version 1);
             int32 device, number of the device, type; the numbers. Version 3 has int32 rank, -1 for none.

Names are `arg:<name>` and `aux:<name>`, or bare ones.
Source: src/ndarray/ndarray.cc of https://github.com/apache/mxnet
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed

LIST_MAGIC = struct.pack("<2Q", 0x112, 0)
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
MAX_ARRAYS = 100_000
MAX_RANK = 16
MAX_NAME_BYTES = 4096
MAX_NODES = 100_000
LARGEST = float(np.finfo(np.float32).max)
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "|u1", 4: "<i4", 5: "|i1", 6: "<i8", 7: "|u1"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)")
_OPERATOR = re.compile(rb'"op"\s*:\s*"null"')

Arrays = dict[str, Shaped[np.ndarray, "..."]]


@dataclass
class Node:
    """A node of the graph: a variable where `op` is "null", else an operator."""

    op: str
    name: str
    inputs: list[tuple[int, int]]
    """Node and which of its outputs."""
    options: dict[str, str] = field(default_factory=dict)

    def text(self, key: str, default: str = "") -> str:
        """An option as it stands."""
        return self.options.get(key, default).strip()

    def flag(self, key: str, default: bool = False) -> bool:
        """An option as a yes or no."""
        return self.text(key, str(default)).lower() in ("true", "1")

    def numbers(self, key: str, default: Sequence[int | float] = ()) -> list[float]:
        """All numbers in an option: of "(2, 2)", "[2,2]" or "2"; the default where it is absent or None."""
        words = self.text(key, "None")
        return (
            [float(word) for word in _NUMBER.findall(words)[:64]]
            if words != "None"
            else [float(value) for value in default]
        )

    def number(self, key: str, default: int | float) -> float:
        """An option as a finite number. Raises ImportFailed."""
        found = self.numbers(key, [default])
        if len(found) != 1 or not abs(found[0]) <= LARGEST:
            raise ImportFailed(f"its option {key} is {self.text(key)[:50]!r}, expected a number")
        return found[0]

    def integers(self, key: str, default: Sequence[int] = ()) -> list[int]:
        """All whole numbers in an option, below 2^40. Raises ImportFailed."""
        found = self.numbers(key, default)
        if any(value != int(value) if abs(value) < 1 << 40 else True for value in found):
            raise ImportFailed(f"its option {key} is {self.text(key)[:50]!r}, expected whole numbers")
        return [int(value) for value in found]

    def integer(self, key: str, default: int) -> int:
        """An option as a whole number. Raises ImportFailed."""
        found = self.integers(key, [default])
        if len(found) != 1:
            raise ImportFailed(f"its option {key} is {self.text(key)[:50]!r}, expected a number")
        return found[0]

    def has(self, key: str) -> bool:
        """Whether an option is there, and is not None."""
        return self.text(key, "None") != "None"


def is_symbol(head: bytes) -> bool:
    """Whether a file begins as the graph in JSON does."""
    return head.lstrip()[:1] == b"{" and b'"nodes"' in head and bool(_OPERATOR.search(head)) and b"tvm_op" not in head


def is_params(head: bytes) -> bool:
    """Whether a file begins as a list of arrays does."""
    return head.startswith(LIST_MAGIC)


def read_symbol(data: bytes, file: str) -> tuple[list[Node], list[tuple[int, int]]]:
    """Nodes in the order of execution, and the outputs. Raises ImportFailed."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImportFailed(f"{file} is no JSON: {str(error)[:200]}. The file is damaged.") from None
    rows = value.get("nodes") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_NODES:
        raise ImportFailed(f"{file}: expected a list `nodes` of 1 to {MAX_NODES}. It is no graph of MXNet.")
    nodes = [_node(row, at, file) for at, row in enumerate(rows)]
    heads = _links(value.get("heads"), len(nodes), f"{file}: `heads`")
    if not heads:
        raise ImportFailed(f"{file}: the graph names no output in `heads`.")
    return nodes, heads


def _node(row: object, at: int, file: str) -> Node:
    where = f"{file}: node {at}"
    if not isinstance(row, dict) or not isinstance(row.get("op"), str) or not isinstance(row.get("name"), str):
        raise ImportFailed(f"{where}: expected an object with `op` and `name`.")
    options: dict[str, str] = {}
    for key in ("attr", "attrs", "param"):  # older files have the operator's own ones in `param`
        entries = row.get(key)
        if isinstance(entries, dict):
            options |= {str(name): str(text)[:10_000] for name, text in entries.items()}
    if row.get("subgraphs"):
        raise ImportFailed(f"{where} ({row['name'][:100]}): loops and branches are not supported.")
    return Node(row["op"], row["name"], _links(row.get("inputs", []), at, where), options)


def _links(value: object, below: int, where: str) -> list[tuple[int, int]]:
    """Pairs of a node that comes before, and its output."""
    found = []
    for link in value if isinstance(value, list) else [None]:
        parts = link[:2] if isinstance(link, list) else [link, 0]
        node, *outputs = [part for part in parts if isinstance(part, int) and not isinstance(part, bool)] or [-1]
        if len(outputs) != 1 or not 0 <= node < below or not 0 <= outputs[0] < MAX_NODES:
            raise ImportFailed(f"{where}: expected [node, output] of a node before it, received {str(link)[:50]}.")
        found.append((node, outputs[0]))
    return found


class _Stream:
    def __init__(self, data: bytes, file: str) -> None:
        self.data, self.file, self.at = data, file, len(LIST_MAGIC)

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            raise ImportFailed(
                f"{self.file}: {count} bytes are announced at byte {self.at}, {len(self.data) - self.at} are left. "
                "The file is cut short or damaged."
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))


def read_params(data: bytes, file: str) -> Arrays:
    """Name to array, without `arg:` and `aux:`; floats become float32. Raises ImportFailed."""
    if not is_params(data):
        raise ImportFailed(f"{file}: expected MXNet's list of arrays, received bytes {data[:16].hex(' ')}.")
    stream = _Stream(data, file)
    (count,) = stream.unpack("<Q")
    if count > MAX_ARRAYS:
        raise ImportFailed(f"{file} announces {count} arrays, expected at most {MAX_ARRAYS}.")
    arrays = [_array(stream) for _ in range(count)]
    (named,) = stream.unpack("<Q")
    if named != count:
        raise ImportFailed(f"{file} has {count} arrays and {named} names. Save it with names.")
    found: Arrays = {}
    for array in arrays:
        (length,) = stream.unpack("<Q")
        if length > MAX_NAME_BYTES:
            raise ImportFailed(f"{file}: a name of {length} bytes is announced. The file is damaged.")
        name = stream.take(length).decode("utf-8", "replace").removeprefix("arg:").removeprefix("aux:")
        if name in found:
            raise ImportFailed(f"{file} names the array {name[:100]!r} twice. The file is damaged.")
        found[name] = array
    if stream.at != len(data):
        raise ImportFailed(f"{file}: {len(data) - stream.at} bytes follow the names, expected none.")
    return found


def _array(stream: _Stream) -> Shaped[np.ndarray, "..."]:
    (magic,) = stream.unpack("<I")
    rank, layout = magic, "I"
    if magic in (V2, V3):
        (storage,) = stream.unpack("<i")
        if storage not in (-1, 0):
            raise ImportFailed(f"{stream.file}: an array is stored sparse (kind {storage}), expected dense ones.")
    if magic in (V1, V2, V3):
        (rank,) = stream.unpack("<i")
        layout = "q"
    if not 0 <= rank <= MAX_RANK:
        raise ImportFailed(f"{stream.file}: an array has {rank} axes, expected 0 to {MAX_RANK}. The file is damaged.")
    shape = stream.unpack(f"<{rank}{layout}")
    if rank == 0 and magic != V3:
        return np.zeros(0, np.float32)  # nothing follows
    _, _, kind = stream.unpack("<3i")
    if kind not in DTYPES or any(size < 0 for size in shape):
        raise ImportFailed(f"{stream.file}: an array of type {kind} and shape {list(shape)} cannot be.")
    dtype = np.dtype(DTYPES[kind])
    values: Shaped[np.ndarray, "..."] = np.frombuffer(stream.take(prod(shape) * dtype.itemsize), dtype).reshape(shape)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise ImportFailed(f"{stream.file}: its weights hold NaN or infinity. The file is damaged.")
    return values
