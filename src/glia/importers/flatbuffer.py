"""FlatBuffers without generated code: tables are read by the numbers of their fields, every offset is checked.

A table begins with the distance back to its vtable; the vtable holds, for each field, the distance from the table's
start to the field, or 0 where the field has its default. Strings, vectors and other tables lie elsewhere: the field
holds the distance to them.

Source: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed

MAX_ITEMS = 1 << 20
"""Tables in one vector: each costs an object."""
MAX_TEXT_BYTES = 1 << 16


class Table:
    """One table. Every read raises ImportFailed where it would leave the file."""

    def __init__(self, data: memoryview, at: int, file: str) -> None:
        self._data, self._at, self._file = data, at, file
        vtable = at - self._unpack("<i", at)
        size = self._unpack("<H", vtable)
        if size < 4 or size % 2:
            raise self._fault(f"a vtable of {size} bytes", vtable)
        self._check(vtable, size)
        self._fields: tuple[int, ...] = struct.unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)

    def number(self, field: int, layout: str = "<i", default: Any = 0) -> Any:
        """A scalar, in the notation of `struct`."""
        at = self._place(field)
        return default if at is None else self._unpack(layout, at)

    def flag(self, field: int, default: bool = False) -> bool:
        """A boolean."""
        return bool(self.number(field, "<B", default))

    def text(self, field: int) -> str:
        """A string; empty where there is none."""
        found = self._vector(field, 1)
        if found is None:
            return ""
        start, count = found
        if count > MAX_TEXT_BYTES:
            raise self._fault(f"a string of {count} bytes, at most {MAX_TEXT_BYTES} are read", start)
        return bytes(self._data[start : start + count]).decode("utf-8", "replace")

    def table(self, field: int) -> Table | None:
        """Another table."""
        at = self._place(field)
        return None if at is None else self._follow(at)

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        found = self._vector(field, 4)
        if found is None:
            return []
        start, count = found
        if count > MAX_ITEMS:
            raise self._fault(f"{count} tables in a vector, at most {MAX_ITEMS} are read", start)
        return [self._follow(start + 4 * index) for index in range(count)]

    def numbers(self, field: int, dtype: str) -> Shaped[np.ndarray, " count"] | None:
        """A vector of scalars, as a view of the file; None where there is none."""
        kind = np.dtype(dtype)
        found = self._vector(field, kind.itemsize)
        return None if found is None else np.frombuffer(self._data, kind, found[1], found[0])

    def content(self, field: int) -> memoryview | None:
        """A vector of bytes, as a view of the file; None where there is none."""
        found = self._vector(field, 1)
        return None if found is None else self._data[found[0] : found[0] + found[1]]

    def _place(self, field: int) -> int | None:
        distance = self._fields[field] if field < len(self._fields) else 0
        return self._at + distance if distance else None

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int] | None:
        """Where a vector's items begin, and how many there are."""
        at = self._place(field)
        if at is None:
            return None
        at += self._unpack("<I", at)
        count = self._unpack("<I", at)
        self._check(at + 4, count * item_bytes)
        return at + 4, count

    def _follow(self, at: int) -> Table:
        return Table(self._data, at + self._unpack("<I", at), self._file)

    def _unpack(self, layout: str, at: int) -> Any:
        self._check(at, struct.calcsize(layout))
        return struct.unpack_from(layout, self._data, at)[0]

    def _check(self, at: int, count: int) -> None:
        if at < 0 or at + count > len(self._data):
            raise self._fault(f"{count} bytes that would end at {at + count} of {len(self._data)}", at)

    def _fault(self, what: str, at: int) -> ImportFailed:
        return ImportFailed(f"{self._file}: its tables do not fit together at byte {at}: {what}. The file is damaged.")


def root(data: memoryview, file: str) -> Table:
    """The table that a buffer's first four bytes point to. Raises ImportFailed."""
    if len(data) < 8:
        raise ImportFailed(f"{file} has {len(data)} bytes, expected at least 8. The file is damaged.")
    return Table(data, struct.unpack_from("<I", data)[0], file)
