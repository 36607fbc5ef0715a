"""Hand-written pickles and zips for the tests: hostile ones are made here, never by pickle."""

from __future__ import annotations

import struct
import zlib

OLD_HEAD = (
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # magic
    b"\x80\x02M\xe9\x03."  # protocol 1001
    b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."  # system
)


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(
    shape: tuple[int, ...] = (2,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    count: int = 2,
    kind: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    """A call of _rebuild_tensor_v2."""
    storage = (
        b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + integer(count) + b"NtQ"
    )
    made = storage + integer(offset) + integers(shape) + integers(strides) + b"\x89" + b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + made + b"tR"


def state(*items: tuple[str, bytes]) -> bytes:
    """A pickled dict."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in items) + b"u."


def old(value: bytes, storages: dict[str, bytes], itemsize: int = 4) -> bytes:
    """The old form of torch.save: a pickle, then the storages."""
    keys = b"\x80\x02](" + b"".join(map(text, storages)) + b"e."
    return OLD_HEAD + value + keys + b"".join(struct.pack("<q", len(r) // itemsize) + r for r in storages.values())


def archive(members: list[tuple[str, bytes]], method: int = 0, claimed: int | None = None) -> bytes:
    """A zip; `claimed` is a size that its directory tells instead of the true one."""
    body, directory = b"", b""
    for name, raw in members:
        packed = raw if method == 0 else zlib.compress(raw)[2:-4]
        size = len(raw) if claimed is None else claimed
        stored = size if method == 0 else len(packed)
        fields = struct.pack("<3H", 0, method, 0) + struct.pack(
            "<H3I2H", 0, zlib.crc32(raw), stored, size, len(name), 0
        )
        directory += (
            b"PK\x01\x02"
            + struct.pack("<2H", 20, 20)
            + fields
            + struct.pack("<3HII", 0, 0, 0, 0, len(body))
            + name.encode()
        )
        body += b"PK\x03\x04" + struct.pack("<H", 20) + fields + name.encode() + packed
    end = struct.pack("<4H2IH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end
