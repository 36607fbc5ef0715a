"""The members of a zip file that only stores: directory, limits, checksums.

PyTorch never compresses what it zips, so a compressed member is refused and no member can be larger than the file:
a zip bomb has nowhere to hide. The directory's size is bounded before it is read, since each entry costs memory.

Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from glia.core.errors import ImportFailed

MAX_MEMBERS = 100_000
END, END64, LOCATOR64, ENTRY, LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"
END_BYTES, LOCATOR64_BYTES, END64_BYTES, ENTRY_BYTES, LOCAL_BYTES = 22, 20, 56, 46, 30
MAX_COMMENT_BYTES = 65_535
OPEN_32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """One stored file: `size` bytes; `header` is where its local header begins."""

    name: str
    header: int
    size: int
    crc: int


def _fault(received: str, expected: str) -> ImportFailed:
    return ImportFailed(f"The zip: expected {expected}, received {received}. The file is cut short or damaged.")


def _unpack(layout: str, data: bytes, at: int, what: str) -> tuple[int, ...]:
    if not 0 <= at <= len(data) - struct.calcsize(layout):
        raise _fault(f"an end of file at byte {len(data)}", f"{what} at byte {at}")
    return struct.unpack_from(layout, data, at)


def _directory(data: bytes) -> tuple[int, int, int]:
    """Entries, bytes and offset of the central directory."""
    end = data.rfind(END, max(0, len(data) - END_BYTES - MAX_COMMENT_BYTES))
    if end < 0:
        raise _fault("none", "an end of directory")
    disk, first, here, count, size, offset, _ = _unpack("<4H2IH", data, end + 4, "the end of directory")
    if (at := end - LOCATOR64_BYTES) >= 0 and data[at : at + 4] == LOCATOR64:
        (end64,) = _unpack("<Q", data, at + 8, "the zip64 locator")
        if data[end64 : end64 + 4] != END64:
            raise _fault("none", f"a zip64 end of directory at byte {end64}")
        disk, first, here, count, size, offset = _unpack("<2I4Q", data, end64 + 16, "the zip64 end of directory")
    if disk or first or here != count:
        raise _fault("several", "one volume")
    if count > MAX_MEMBERS or size > len(data) or count * ENTRY_BYTES > size or offset + size > len(data):
        raise _fault(
            f"{count} members in a directory of {size} bytes at {offset}", f"at most {MAX_MEMBERS}, in the file"
        )
    return count, size, offset


def _large(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Sizes and offset with those that do not fit 32 bits taken from the zip64 field of the entry."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            wide = [value for (value,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
            values = [wide.pop(0) if value == OPEN_32 and wide else value for value in (size, packed, header)]
            return values[0], values[1], values[2]
        at += 4 + length
    return size, packed, header


def members(data: bytes) -> dict[str, Member]:
    """The members by name. Raises ImportFailed for the compressed, encrypted, doubled, and those outside the file."""
    count, size, at = _directory(data)
    end, found, total = at + size, dict[str, Member](), 0
    for _ in range(count):
        if data[at : at + 4] != ENTRY:
            raise _fault("none", f"a directory entry at byte {at}")
        entry = _unpack("<6H3I5H2I", data, at + 4, "a directory entry")
        _, _, flags, method, _, _, crc, packed, plain, name_bytes, extra_bytes, comment_bytes, *_, header = entry
        start = at + ENTRY_BYTES
        at = start + name_bytes + extra_bytes + comment_bytes
        if at > end:
            raise _fault("a longer one", f"a directory of {size} bytes")
        name = data[start : start + name_bytes].decode("utf-8", "replace")
        extra = data[start + name_bytes : start + name_bytes + extra_bytes]
        plain, packed, header = _large(extra, plain, packed, header)
        if method != 0 or flags & 1 or packed != plain:
            raise _fault(
                f"{name[:200]!r} compressed or encrypted", "members stored as they are, as torch.save writes them"
            )
        if name in found:
            raise _fault(f"{name[:200]!r} twice", "every name once")
        total += plain + LOCAL_BYTES + name_bytes
        if total > len(data):
            raise _fault(f"members of {total} bytes or more in a file of {len(data)}", "members that do not overlap")
        found[name] = Member(name, header, plain, crc)
    return found


def content(data: bytes, member: Member) -> bytes:
    """The bytes of a member; its checksum is compared."""
    if data[member.header : member.header + 4] != LOCAL:
        raise _fault("none", f"the header of {member.name[:200]!r} at byte {member.header}")
    name_bytes, extra_bytes = _unpack("<2H", data, member.header + 26, "a member's header")
    start = member.header + LOCAL_BYTES + name_bytes + extra_bytes
    if start + member.size > len(data):
        raise _fault(f"{len(data) - start} bytes", f"{member.size} bytes of {member.name[:200]!r}")
    raw = data[start : start + member.size]
    if zlib.crc32(raw) != member.crc:
        raise _fault("another one", f"the checksum {member.crc:08x} for {member.name[:200]!r}")
    return raw
