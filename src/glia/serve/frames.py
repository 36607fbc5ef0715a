"""Frames: what passes between front and replica on a socketpair.

    uint32 little-endian   length of the header [bytes]
    header                 JSON: {"id", "kind", ..., "sizes": [bytes of each buffer]}
    buffers                one after another, uncopied

Kinds to the replica: load, predict, infer, cancel. From it: ready, item, end, error, with the id of what they answer.
Both ends are ours and of one version: no negotiation, and limits only against a peer that has gone mad.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from glia.core.parts import Buffer

SOCKET_BUFFER = 1 << 20
HEADER_LIMIT = 64 << 20
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Frame:
    """One message: its header's fields, and the buffers that its `$part`s name."""

    id: int
    kind: str
    body: dict[str, Any] = field(default_factory=dict)
    buffers: Sequence[Buffer] = ()

    def head(self) -> bytes:
        """Length and header, ready to send before the buffers."""
        header = {"id": self.id, "kind": self.kind, "sizes": [len(buffer) for buffer in self.buffers], **self.body}
        text = json.dumps(header, separators=(",", ":")).encode()
        return _LENGTH.pack(len(text)) + text


def _parse(header: bytes) -> tuple[dict[str, Any], list[int]]:
    body = json.loads(header)
    return body, body.pop("sizes")


def _frame(body: dict[str, Any], buffers: Sequence[Buffer]) -> Frame:
    return Frame(body.pop("id"), body.pop("kind"), body, buffers)


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame. Raises asyncio.IncompleteReadError at the end of the stream."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    assert length <= HEADER_LIMIT, f"frame header of {length} bytes"
    body, sizes = _parse(await reader.readexactly(length))
    return _frame(body, [await reader.readexactly(size) for size in sizes])


def write_frame(writer: asyncio.StreamWriter, frame: Frame) -> None:
    """Queue a frame; the buffers are not joined."""
    writer.write(frame.head())
    for buffer in frame.buffers:
        writer.write(buffer)


def _receive(sock: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view = memoryview(buffer)
    got = 0
    while got < size:
        count = sock.recv_into(view[got:])
        if count == 0:
            raise EOFError
        got += count
    return buffer


def receive_frame(sock: socket.socket) -> Frame:
    """The next frame, blocking. Raises EOFError when the front is gone."""
    (length,) = _LENGTH.unpack(_receive(sock, _LENGTH.size))
    body, sizes = _parse(bytes(_receive(sock, length)))
    return _frame(body, [_receive(sock, size) for size in sizes])


def send_frame(sock: socket.socket, frame: Frame) -> None:
    """Send a frame, blocking. Callers hold a lock: frames of several lanes must not mix."""
    sock.sendall(frame.head())
    for buffer in frame.buffers:
        sock.sendall(buffer)
