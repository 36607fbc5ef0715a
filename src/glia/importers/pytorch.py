"""PyTorch state dicts without PyTorch: the stream of versions before 1.6, and the zip form since.

Both hold a pickle whose tensors are calls of `_rebuild_tensor_v2(storage, offset, size, stride, ...)`, where the
storage is a persistent id `('storage', type, key, device, count, view)`. The numbers lie beside the pickle, by key:

    old    pickle(magic) pickle(1001) pickle(system) pickle(object) pickle(keys), then per key int64 count + numbers
    zip    <root>/data.pkl, <root>/byteorder, <root>/data/<key>; nothing is compressed

Source: torch/serialization.py and torch/_utils.py of PyTorch 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.architectures import architecture, architecture_of
from glia.importers.importer import ImportedGraph, only_file, read_limited
from glia.importers.pickle_stream import PickleStream, Symbol
from glia.importers.zip_members import content, members

MAX_FILE_BYTES = 2 << 30
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 1 << 29
MAX_SHARING = 4
MAX_COUNT = 1 << 40  # so that counts times sizes stay within 64 bits
OLD_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
OLD_PROTOCOL = 1001
ZIP_MAGIC = b"PK\x03\x04"
NESTED_KEYS = ("state_dict", "model", "model_state_dict")
Raw = bytes | memoryview
BFLOAT16 = "torch.BFloat16Storage"
STORAGES: dict[str, np.dtype[Any]] = {  # bfloat16 is unknown to numpy: it is the upper half of a float32
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    BFLOAT16: np.dtype("<u2"),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}


@dataclass(frozen=True)
class Storage:
    """A run of `count` numbers of one type, beginning at number `start` of those stored under `key`."""

    key: str
    kind: str
    count: int
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _count(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        shown = value if isinstance(value, int) else type(value).__name__
        raise ImportFailed(
            f"Expected {what} to be a number from 0 to {MAX_COUNT}, received {shown}. The file is damaged."
        )
    return value


def _counts(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS:
        raise ImportFailed(f"Expected {what} of at most {MAX_DIMENSIONS} dimensions. The file is damaged.")
    return tuple(_count(entry, what) for entry in value)


def rebuild_tensor(arguments: tuple[object, ...]) -> Tensor:
    """The arguments of `_rebuild_tensor_v2` as a view that lies inside its storage."""
    if len(arguments) not in (6, 7) or not isinstance(arguments[0], Storage):
        raise ImportFailed(f"Expected a tensor made of a storage and 5 or 6 values, received {len(arguments)} values.")
    storage, offset = arguments[0], _count(arguments[1], "a tensor's offset")
    shape, strides = _counts(arguments[2], "a tensor's size"), _counts(arguments[3], "a tensor's strides")
    if len(shape) != len(strides):
        raise ImportFailed(f"A tensor has {len(shape)} sizes but {len(strides)} strides. The file is damaged.")
    if prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise ImportFailed(f"A tensor has the shape {list(shape)}, expected at most {MAX_ELEMENTS} elements.")
    if prod(shape) > storage.count:
        raise ImportFailed(
            f"A tensor of shape {list(shape)} has more elements than the {storage.count} it is stored in. "
            "Expanded tensors are not read: call .contiguous() before saving."
        )
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if prod(shape) and last >= storage.count:
        raise ImportFailed(
            f"A tensor of shape {list(shape)} reaches element {last} of a storage of {storage.count}. "
            "The file is damaged."
        )
    return Tensor(storage, offset, shape, strides)


def rebuild_parameter(arguments: tuple[object, ...]) -> Tensor:
    """A parameter is its tensor."""
    if len(arguments) != 3 or not isinstance(arguments[0], Tensor):
        raise ImportFailed("Expected a parameter made of a tensor and two values. The file is damaged.")
    return arguments[0]


def rebuild_dict(arguments: tuple[object, ...]) -> dict[object, object]:
    """An OrderedDict, empty as Python 3 writes it; its items follow."""
    if arguments:
        raise ImportFailed("Expected an OrderedDict without arguments; it was saved by Python 2. Save it again with 3.")
    return {}


SYMBOLS = {name: Symbol(name) for name in STORAGES} | {
    symbol.name: symbol
    for symbol in (
        Symbol("collections.OrderedDict", rebuild_dict),
        Symbol("torch._utils._rebuild_tensor_v2", rebuild_tensor),
        Symbol("torch._utils._rebuild_parameter", rebuild_parameter),
    )
}


class Storages:
    """The storages that a pickle refers to: every key has one type and one size."""

    def __init__(self) -> None:
        self.roots: dict[str, Storage] = {}

    def resolve(self, reference: object) -> Storage:
        """A persistent id to the storage or the part of one that it names."""
        if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
            raise ImportFailed("Expected a reference to a storage, received another one. Save the state dict alone.")
        kind, key = reference[1], reference[2]
        if not isinstance(kind, Symbol) or kind.name not in STORAGES or not isinstance(key, str):
            raise ImportFailed("Expected a storage's type and key, received something else. The file is damaged.")
        root = Storage(key, kind.name, _count(reference[4], "a storage's size"))
        if self.roots.setdefault(key, root) != root:
            raise ImportFailed(f"Storage {key[:100]!r} is met with two types or sizes. The file is damaged.")
        view = reference[5] if len(reference) == 6 else None
        if view is None:
            return root
        if not isinstance(view, tuple) or len(view) != 3:
            raise ImportFailed("Expected a storage's view to be key, offset and size. The file is damaged.")
        start, count = _count(view[1], "a view's offset"), _count(view[2], "a view's size")
        if start + count > root.count:
            raise ImportFailed(f"A view of storage {key[:100]!r} ends at {start + count} of {root.count}.")
        return Storage(key, root.kind, count, start)


def _array(tensor: Tensor, raw: Raw) -> Shaped[np.ndarray, "..."]:
    """The tensor's numbers, copied: aligned, contiguous, in the machine's order of bytes."""
    kind = STORAGES[tensor.storage.kind]
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, np.float32 if tensor.storage.kind == BFLOAT16 else kind.newbyteorder("="))
    plain = np.dtype("u1") if kind.kind == "b" else kind
    strides = [stride * kind.itemsize for stride in tensor.strides]
    offset = (tensor.storage.start + tensor.offset) * kind.itemsize
    # numpy checks here once more that the view lies inside the buffer.
    view: Shaped[np.ndarray, "..."] = np.ndarray(tensor.shape, plain, raw, offset, strides)
    if tensor.storage.kind == BFLOAT16:
        return (np.array(view, np.uint32, order="C") << 16).view(np.float32)
    if kind.kind == "b":
        return np.array(view != 0, order="C")
    return np.array(view, kind.newbyteorder("="), order="C")


def _read_old(data: bytes) -> tuple[object, Callable[[Storage], Raw]]:
    """The object of the old stream, and what gives the bytes of a storage."""
    storages = Storages()
    stream = PickleStream(data, SYMBOLS, storages.resolve, len(OLD_MAGIC))
    if stream.read() != OLD_PROTOCOL:
        raise ImportFailed(f"Expected the old stream's protocol to be {OLD_PROTOCOL}, received another one.")
    system = stream.read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ImportFailed(
            "Expected numbers in little-endian order, received big-endian ones. Save on another machine."
        )
    value, keys = stream.read(), stream.read()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ImportFailed("Expected a list of the storages' keys after the state dict. The file is damaged.")
    places: dict[str, memoryview] = {}
    for key in keys:
        root = storages.roots.get(key)
        if root is None or key in places:
            raise ImportFailed(f"Storage {key[:100]!r} is listed but not used, or listed twice. The file is damaged.")
        if (count := stream.number("<q")) != root.count:
            raise ImportFailed(f"Storage {key[:100]!r} has {count} elements where {root.count} were announced.")
        size = count * STORAGES[root.kind].itemsize
        start = stream.position
        if start + size > len(data):
            raise ImportFailed(f"The file is cut short: storage {key[:100]!r} needs {size} bytes at byte {start}.")
        places[key], stream.position = memoryview(data)[start : start + size], start + size
    if stream.position != len(data):
        raise ImportFailed(f"{len(data) - stream.position} bytes follow the last storage, expected none.")

    def raw(storage: Storage) -> Raw:
        if storage.key not in places:
            raise ImportFailed(f"Storage {storage.key[:100]!r} is used but not listed. The file is damaged.")
        return places[storage.key]

    return value, raw


def _read_zip(data: bytes) -> tuple[object, Callable[[Storage], Raw]]:
    """The object of the zip form, and what gives the bytes of a storage."""
    found = members(data)
    roots = [name.removesuffix("/data.pkl") for name in found if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise ImportFailed(f"Expected one <name>/data.pkl in the zip, found {len(roots)}. It is no file of torch.save.")
    root = roots[0]
    if f"{root}/constants.pkl" in found:
        raise ImportFailed("This is a TorchScript program, expected a state dict: save torch.jit.load(f).state_dict().")
    order = found.get(f"{root}/byteorder")
    if order is not None and content(data, order) != b"little":
        raise ImportFailed("Expected numbers in little-endian order, received others. Save on another machine.")
    storages = Storages()
    stream = PickleStream(content(data, found[f"{root}/data.pkl"]), SYMBOLS, storages.resolve)
    value = stream.read()
    if stream.position != len(stream.data):
        raise ImportFailed(f"{len(stream.data) - stream.position} bytes follow the pickle, expected none.")
    cache: dict[str, bytes] = {}

    def raw(storage: Storage) -> Raw:
        whole = storages.roots[storage.key]
        if storage.key not in cache:
            member = found.get(f"{root}/data/{storage.key}")
            size = whole.count * STORAGES[whole.kind].itemsize
            if member is None or member.size != size:
                held = "nothing" if member is None else f"{member.size} bytes"
                raise ImportFailed(f"Storage {storage.key[:100]!r}: expected {size} bytes in the zip, found {held}.")
            cache[storage.key] = content(data, member)
        return cache[storage.key]

    return value, raw


def _tensors(value: object) -> dict[str, Tensor]:
    """The tensors of a state dict, which may lie one level deep in a checkpoint."""
    if isinstance(value, dict):
        for level in (value, *(value.get(key) for key in NESTED_KEYS)):
            if isinstance(level, dict) and any(isinstance(entry, Tensor) for entry in level.values()):
                others = [
                    key for key, entry in level.items() if not isinstance(entry, Tensor) or not isinstance(key, str)
                ]
                if others:
                    raise ImportFailed(f"Expected names with tensors only, received others: {str(others)[:500]}.")
                return level
    raise ImportFailed(
        f"Expected a dict of tensors, or one under {', '.join(NESTED_KEYS)}; received a {type(value).__name__} "
        "without. Save model.state_dict()."
    )


def read_state_dict(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Name to array, contiguous and writable; bfloat16 becomes float32, other types stay. Raises ImportFailed."""
    return parse_state_dict(read_limited(path, MAX_FILE_BYTES))


def parse_state_dict(data: bytes) -> dict[str, Shaped[np.ndarray, "..."]]:
    """As `read_state_dict`, of a file's bytes."""
    if data.startswith(OLD_MAGIC):
        value, raw = _read_old(data)
    elif data.startswith(ZIP_MAGIC):
        value, raw = _read_zip(data)
    else:
        raise ImportFailed(f"Expected a file of torch.save, received one that begins with {data[:16]!r}.")
    tensors = _tensors(value)
    total = sum(prod(tensor.shape) for tensor in tensors.values())
    stored = sum({tensor.storage.key: tensor.storage.count for tensor in tensors.values()}.values())
    if total > MAX_ELEMENTS or total > MAX_SHARING * stored:
        raise ImportFailed(
            f"The tensors have {total} elements, stored as {stored}; expected at most {MAX_ELEMENTS} and {MAX_SHARING} "
            "times what is stored."
        )
    return {name: _array(tensor, raw(tensor.storage)) for name, tensor in tensors.items()}


class PyTorch:
    """State dicts; the network itself comes from the option `architecture`, whose own options lie beside it, or from
    the names of the weights where they are those of a known one."""

    format = "pytorch"

    def sniff(self, head: bytes, size: int) -> bool:
        """The old stream's magic number, or a zip whose first member is one that torch.save writes."""
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return head.startswith(OLD_MAGIC) or (
            head.startswith(ZIP_MAGIC)
            and name.endswith((b"/data.pkl", b"/version", b"/byteorder", b"/.format_version"))
        )

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        if (name := options.get("architecture")) is not None:
            architecture(name)  # a wrong name is told before a large file is read
        weights = read_state_dict(only_file(files, self.format))
        chosen = architecture_of(name, weights)
        return {"model": chosen.build(weights, {key: options[key] for key in options if key != "architecture"})}


IMPORTER = PyTorch()
