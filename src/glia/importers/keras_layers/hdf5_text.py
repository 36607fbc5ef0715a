"""How long the texts in an HDF5 file's attributes say that they are.

HDF5's library clears as much memory as a text of variable length claims, up to 4 GiB, before it looks whether the text
is there. So the claims are read here first, out of the header of the object that holds the attributes.

Source: HDF5 File Format Specification 3.0, sections II (superblock), IV.A.1 (headers), IV.A.2.m (attributes).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

ATTRIBUTE, CONTINUATION = 0x0C, 0x10
VARIABLE_LENGTH = 9
REFERENCE_BYTES = 16
MAX_BLOCKS, MAX_MESSAGES = 10_000, 200_000


def base_is_zero(data: bytes) -> bool:
    """Whether addresses count from the file's first byte, and have 8 bytes."""
    version = data[8] if len(data) > 48 else -1
    if version in (0, 1):
        return data[13] == 8 and not any(data[24 + 4 * version : 32 + 4 * version])
    return version in (2, 3) and data[9] == 8 and not any(data[12:20])


def text_lengths(data: bytes, address: int) -> dict[str, int]:
    """Attribute to the bytes that all texts in it claim, of the object whose header begins at `address`.

    What is not found here is damaged, or stored in a way that no Keras uses.
    """
    found: dict[str, int] = {}
    try:
        for kind, start, size in _messages(data, address):
            if kind == ATTRIBUTE:
                _attribute(data, start, size, found)
    except (struct.error, IndexError):
        pass
    return found


def _messages(data: bytes, address: int) -> Iterator[tuple[int, int, int]]:
    """Kind, start and size of each message of a header of version 1 or 2."""
    is_new = data[address : address + 4] == b"OHDR"
    head = 8
    if is_new:
        flags = data[address + 5]
        at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        blocks = [(at + width, int.from_bytes(data[at : at + width], "little"))]
        head = 6 if flags & 4 else 4
    else:
        blocks = [(address + 16, struct.unpack_from("<I", data, address + 8)[0])]
    met = 0
    for number in range(MAX_BLOCKS):
        if number >= len(blocks):
            return
        at, end = blocks[number][0], sum(blocks[number])
        while at + head <= end <= len(data):
            if is_new:
                kind, size = struct.unpack_from("<BH", data, at)
            else:
                kind, size = struct.unpack_from("<HH", data, at)
            at += head
            met += 1
            if met > MAX_MESSAGES:
                return
            if kind == CONTINUATION:
                start, length = struct.unpack_from("<QQ", data, at)
                blocks.append((start + 4, length - 8) if is_new else (start, length))
            yield kind, at, size
            at += size


def _attribute(data: bytes, start: int, size: int, found: dict[str, int]) -> None:
    """The lengths in one attribute, where it holds texts of variable length."""
    version = data[start]
    name_bytes, kind_bytes, space_bytes = struct.unpack_from("<3H", data, start + 2)
    at = start + (9 if version == 3 else 8)
    name = data[at : at + name_bytes].split(b"\0")[0].decode("utf-8", "replace")
    if version == 1:
        name_bytes, kind_bytes, space_bytes = (-(-count // 8) * 8 for count in (name_bytes, kind_bytes, space_bytes))
    kind = data[at + name_bytes] & 0x0F
    if kind != VARIABLE_LENGTH or (version > 1 and data[start + 1] & 1):
        return
    values = data[at + name_bytes + kind_bytes + space_bytes : start + size]
    lengths = (struct.unpack_from("<I", values, place)[0] for place in range(0, len(values) - 15, REFERENCE_BYTES))
    found[name] = sum(lengths)
