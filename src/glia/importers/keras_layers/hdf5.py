"""A hostile HDF5 file as plain arrays: groups, numbers and text, all of it bounded before it is read.

HDF5 can point out of itself (external files, links, virtual datasets) and claim arrays that it does not hold; both are
refused. Everything is copied, so nothing of the file is touched once `read_hdf5` has returned.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.importer import read_limited
from glia.importers.keras_layers.hdf5_text import base_is_zero, text_lengths

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_FILE_BYTES = 2 << 30
MAX_OBJECTS = 200_000
MAX_DEPTH = 40
MAX_ATTRIBUTES = 20_000
MAX_ATTRIBUTE_BYTES = 256 << 20
MAX_SHARING = 4
"""Texts of an attribute may be so many times larger than the file: some may be one text."""
MAX_DIMENSIONS = 16
HEAPS = (b"GCOL\x01\0\0\0", b"HEAP\0\0\0\0")
"""Marks of heaps, with version and what is reserved; the size follows in 8 bytes."""
SLACK_HEAP_BYTES = 1 << 16
RATIO, SLACK_BYTES = 200, 64 << 20
"""Arrays may be so many times larger than the file (compression), and so many bytes beyond."""
FAULTS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    IndexError,
    AttributeError,
    MemoryError,
    NotImplementedError,
)
"""What h5py raises for files that break the format."""

Array = Shaped[np.ndarray, "..."]


@dataclass(frozen=True)
class Group:
    """A group of an HDF5 file: attributes (text, numbers, lists of text), groups and arrays by name."""

    attributes: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    def at(self, path: str) -> Array | None:
        """The array under a path `group/.../name`."""
        group = self
        *above, name = [part for part in path.split("/") if part]
        for part in above:
            if part not in group.groups:
                return None
            group = group.groups[part]
        return group.arrays.get(name)


def read_hdf5(source: Path | bytes, name: str, skipped: Collection[str] = ()) -> Group:
    """The root of a file, or of a file's bytes; `skipped` are groups of the root that are left out.

    Raises ImportFailed.
    """
    data = read_limited(source, MAX_FILE_BYTES) if isinstance(source, Path) else source
    _check_heaps(data, name)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            if not base_is_zero(data):
                raise ImportFailed(f"{name}: its addresses count from elsewhere. Write it again with h5py's defaults.")
            return _Reader(name, data).group(file, 0, set(skipped))
    except ImportFailed:
        raise
    except FAULTS as error:
        words = str(error).strip("'\"")[:200]
        raise ImportFailed(f"{name} is damaged: HDF5 says {words or type(error).__name__}. Fetch it again.") from None


def _check_heaps(data: bytes, name: str) -> None:
    """Refuse heaps (of names, of text) that claim more than the file holds: HDF5's library allocates what they say."""
    for mark in HEAPS:
        at = data.find(mark)
        while at >= 0:
            size = int.from_bytes(data[at + len(mark) : at + len(mark) + 8], "little")
            if size > len(data) - at + SLACK_HEAP_BYTES:
                raise ImportFailed(
                    f"{name}: a heap at byte {at} claims {size} bytes. The file is cut short or damaged."
                )
            at = data.find(mark, at + 1)


class _Reader:
    """Copies what it meets, and counts."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.data = data
        self.size = len(data)
        self.objects = 0
        self.left = RATIO * len(data) + SLACK_BYTES
        self.left_attributes = MAX_ATTRIBUTE_BYTES

    def fault(self, words: str) -> ImportFailed:
        return ImportFailed(f"{self.name}: {words}. The file is damaged, or made to do harm.")

    def group(self, source: Any, depth: int, skipped: set[str]) -> Group:
        """A group with all that it holds."""
        if depth > MAX_DEPTH:
            raise self.fault(f"groups lie more than {MAX_DEPTH} deep")
        found = Group(self.attributes(source))
        for name in source:
            self.objects += 1
            if self.objects > MAX_OBJECTS:
                raise self.fault(f"it holds more than {MAX_OBJECTS} objects")
            if name in skipped:
                continue
            if not isinstance(source.get(name, getlink=True), h5py.HardLink):
                raise self.fault(f"{name[:200]!r} is a link to elsewhere, which is not followed")
            entry = source[name]
            if isinstance(entry, h5py.Group):
                found.groups[name] = self.group(entry, depth + 1, set())
            elif isinstance(entry, h5py.Dataset):
                array = self.array(name, entry)
                if array is not None:
                    found.arrays[name] = array
        return found

    def array(self, name: str, source: Any) -> Array | None:
        """A dataset of numbers; None for text and the like."""
        kind = source.dtype
        if kind.kind not in "fiub" or source.shape is None:
            return None
        if source.external is not None or source.is_virtual:
            raise self.fault(f"the numbers of {name[:200]!r} lie in other files, which are not read")
        size = prod(source.shape) * kind.itemsize
        if len(source.shape) > MAX_DIMENSIONS or size > self.left:
            raise self.fault(f"{name[:200]!r} claims the shape {list(source.shape)} in a file of {self.size} bytes")
        self.left -= size
        value: Array = np.asarray(source[()])
        return value.astype(kind.newbyteorder("="), copy=False)

    def attributes(self, source: Any) -> dict[str, Any]:
        """Text as str, lists of text as lists of str, numbers as arrays."""
        names = list(source.attrs)
        if len(names) > MAX_ATTRIBUTES:
            raise self.fault(f"a group has {len(names)} attributes")
        lengths = text_lengths(self.data, h5py.h5o.get_info(source.id).addr) if names else {}
        return {name: self.attribute(name, source, lengths.get(name)) for name in names}

    def attribute(self, name: str, source: Any, length: int | None) -> Any:
        """One attribute, if it is small; `length` is what a text of variable length claims."""
        entry = source.attrs.get_id(name)
        count = prod(entry.shape) if entry.shape is not None else 0
        kind = h5py.check_string_dtype(entry.dtype)
        if kind is None and entry.dtype.kind not in "fiubS":
            return None
        size = count * entry.dtype.itemsize
        if kind is not None and kind.length is None:
            if length is None or length > MAX_SHARING * self.size:
                raise self.fault(f"the text of the attribute {name[:200]!r} claims {length} bytes")
            size = length
        if size > self.left_attributes:
            raise self.fault(f"the attribute {name[:200]!r} claims {size} bytes")
        value = source.attrs[name]
        self.left_attributes -= size
        return _text(value)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSU":
        return [_text(entry) for entry in value.ravel()]
    return value
