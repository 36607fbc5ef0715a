"""Frames: what passes between front and replica on a socketpair.

    uint32 little-endian   length of the header [bytes]
    header                 JSON: {"id", "kind", ..., "sizes": [bytes of each buffer]}
    buffers                one after another, uncopied

Kinds to the replica: load, predict, infer, cancel. From it: ready, item, end, error, with the id of what they answer.
Both ends are ours and of one version: no negotiation, and limits only against a peer that has gone mad.
`predict` names its media by `$part`; `infer` its arrays by name, dtype and shape (tensors.py).
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from glia.core.errors import BodyTooLarge
from glia.core.parts import Buffer

SOCKET_BUFFER = 1 << 20
HEADER_LIMIT = 256 << 20
BUFFER_LIMIT = 4 << 30
_LENGTH = struct.Struct("<I")


class BadFrame(ValueError):
    """Bytes that are no frame: the peer has gone mad, and nothing after them can be read."""


@dataclass(frozen=True)
class Frame:
    """One message: its header's fields, and the buffers that its `$part`s name."""

    id: int
    kind: str
    body: dict[str, Any] = field(default_factory=dict)
    buffers: Sequence[Buffer] = ()

    def head(self) -> bytes:
        """Length and header, ready to send before the buffers. Raises BodyTooLarge."""
        header = {"id": self.id, "kind": self.kind, "sizes": [len(buffer) for buffer in self.buffers], **self.body}
        text = json.dumps(header, separators=(",", ":")).encode()
        if len(text) > HEADER_LIMIT:
            raise BodyTooLarge(f"Expected at most {HEADER_LIMIT:,} bytes of plain data, received {len(text):,}.")
        return _LENGTH.pack(len(text)) + text


def _length(prefix: bytes | bytearray) -> int:
    (length,) = _LENGTH.unpack(prefix)
    if length > HEADER_LIMIT:
        raise BadFrame(f"a header of {length} bytes")
    return int(length)


def _parse(header: bytes | bytearray) -> tuple[dict[str, Any], list[int]]:
    try:
        body = json.loads(header)
        sizes = body.pop("sizes")
        if not (isinstance(body["id"], int) and isinstance(body["kind"], str)):
            raise BadFrame("an id or a kind of another type")
        if not all(isinstance(size, int) and 0 <= size <= BUFFER_LIMIT for size in sizes):
            raise BadFrame("sizes that cannot be")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFrame(f"no header: {type(error).__name__}: {error}") from error
    return body, sizes


def _frame(body: dict[str, Any], buffers: Sequence[Buffer]) -> Frame:
    return Frame(body.pop("id"), body.pop("kind"), body, buffers)


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame. Raises asyncio.IncompleteReadError at the end of the stream, BadFrame."""
    length = _length(await reader.readexactly(_LENGTH.size))
    body, sizes = _parse(await reader.readexactly(length))
    return _frame(body, [await reader.readexactly(size) for size in sizes])


def write_frame(writer: asyncio.StreamWriter, frame: Frame) -> None:
    """Queue a frame, whole: several tasks may write. The caller drains afterwards. Raises before the first byte."""
    writer.write(frame.head())
    for buffer in frame.buffers:
        writer.write(buffer)


def _receive(sock: socket.socket, size: int) -> bytes:
    """So many bytes, which the kernel writes where they stay. Raises EOFError."""
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    if len(data) == size:
        return data
    rest = bytearray(data)  # a signal came in between, or the end
    while len(rest) < size:
        more = sock.recv(size - len(rest))
        if not more:
            raise EOFError
        rest += more
    return bytes(rest)


def receive_frame(sock: socket.socket) -> Frame:
    """The next frame, blocking. Raises EOFError when the front is gone, BadFrame."""
    length = _length(_receive(sock, _LENGTH.size))
    body, sizes = _parse(_receive(sock, length))
    return _frame(body, [_receive(sock, size) for size in sizes])


def send_frame(sock: socket.socket, frame: Frame) -> None:
    """Send a frame, blocking. Callers hold a lock: frames of several lanes must not mix."""
    sock.sendall(frame.head())
    for buffer in frame.buffers:
        sock.sendall(buffer)
