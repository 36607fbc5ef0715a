"""Frames cross a socketpair whole, from either side, however large."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading

import numpy as np
import pytest

from glia.core.errors import BodyTooLarge, InputError
from glia.serve import frames
from glia.serve.arrays import pack, unpack
from glia.serve.frames import BadFrame, Frame, read_frame, receive_frame, send_frame, write_frame
from glia.serve.tensors import Packed, describe, described, join_elements

LARGE = bytes(range(256)) * (20 << 10)  # 5 MiB: several times what the socket holds

FRAMES = [
    Frame(1, "predict", {"fields": {"text": "é\u0000中", "n": 1.5, "none": None}}),
    Frame(2, "item", {"value": []}, [b""]),
    Frame(2**40, "end", {"value": {"$part": 1}}, [bytearray(b"abc"), memoryview(LARGE), b"", b"z"]),
]


def plain(frame: Frame) -> tuple[int, str, dict[str, object], list[bytes]]:
    return frame.id, frame.kind, frame.body, [bytes(buffer) for buffer in frame.buffers]


def test_frames_sent_from_a_thread_arrive_as_they_were() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sending = threading.Thread(target=lambda: [send_frame(ours, frame) for frame in FRAMES])
        sending.start()
        assert [plain(receive_frame(theirs)) for _ in FRAMES] == [plain(frame) for frame in FRAMES]
        sending.join()
        ours.close()
        with pytest.raises(EOFError):
            receive_frame(theirs)


def test_frames_between_an_event_loop_and_a_thread_arrive_as_they_were() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def echo() -> None:
        for _ in FRAMES:
            send_frame(theirs, receive_frame(theirs))

    async def run() -> list[Frame]:
        reader, writer = await asyncio.open_connection(sock=ours)
        for frame in FRAMES:
            write_frame(writer, frame)
        back = [await read_frame(reader) for _ in FRAMES]
        theirs.close()
        with pytest.raises(asyncio.IncompleteReadError):
            await read_frame(reader)
        writer.close()
        await writer.wait_closed()
        return back

    thread = threading.Thread(target=echo)
    thread.start()
    with ours, theirs:
        assert [plain(frame) for frame in asyncio.run(run())] == [plain(frame) for frame in FRAMES]
    thread.join()


def test_the_end_of_the_stream_inside_a_frame_is_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(Frame(1, "end", {}, [b"abc"]).head() + b"ab")
        ours.close()
        with pytest.raises(EOFError):
            receive_frame(theirs)


HEADERS = [
    b"no json",
    b"[1]",
    b"{}",
    b'{"id": 1, "kind": "end"}',
    b'{"id": "1", "kind": "end", "sizes": []}',
    b'{"id": 1, "kind": "end", "sizes": [-1]}',
    b'{"id": 1, "kind": "end", "sizes": [1e3]}',
    b'{"id": 1, "kind": "end", "sizes": 3}',
    b"[" * 100_000,
    json.dumps({"id": 1, "kind": "end", "sizes": [1 << 50]}).encode(),
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_bytes_that_are_no_frame_are_told_from_the_end_of_the_stream(header: bytes) -> None:
    async def read(data: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        await read_frame(reader)

    with pytest.raises(BadFrame):
        asyncio.run(read(struct.pack("<I", len(header)) + header))
    with pytest.raises(BadFrame, match="a header of 4294967295 bytes"):
        asyncio.run(read(b"\xff\xff\xff\xff"))


def test_plain_data_above_the_limit_is_refused_before_a_byte_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "HEADER_LIMIT", 1000)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(BodyTooLarge, match="at most 1,000 bytes"):
            send_frame(ours, Frame(1, "predict", {"fields": "x" * 1000}, [b"abc"]))
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12, dtype=np.float32).reshape(2, 3, 2),
        np.arange(12, dtype=">i8").reshape(3, 4)[:, ::2],
        np.array(True),
        np.empty((0, 3), np.float16),
        np.arange(3, dtype=np.uint8),
    ],
    ids=lambda value: f"{value.dtype} {value.shape}",
)
def test_tensors_survive_being_packed(value: np.ndarray) -> None:
    specs, buffers = describe(pack({"x": value, "y": value}))
    back = unpack(described(json.loads(json.dumps(specs)), [bytearray(buffer) for buffer in buffers]))
    for name in ("x", "y"):
        assert (back[name].dtype.name, back[name].shape) == (value.dtype.name, value.shape)
        np.testing.assert_array_equal(back[name], value)


def test_an_array_is_packed_uncopied() -> None:
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    (packed,) = pack({"x": value})
    assert np.shares_memory(np.frombuffer(packed.data, np.uint8), value)


def test_tensors_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="received object"):
        pack({"x": np.array([object()])})
    with pytest.raises(InputError, match="takes 8 bytes, received 4"):
        unpack([Packed("x", "float32", (2,), bytes(4))])
    shapes = [(-1, -2), (1 << 41,), (1 << 30, 1 << 30, 0), (1,) * 33, (True,), (1.0,), ("1",), ([1],)]
    for dtype, shape in [("object", (1,)), *(("float32", shape) for shape in shapes)]:
        with pytest.raises(InputError, match="expected a dtype and a shape"):
            unpack([Packed("x", dtype, shape, bytes(8))])


def test_texts_have_their_lengths_before_them() -> None:
    texts = np.array([["a", "", "é"]], object)
    (packed,) = pack({"x": texts})
    assert bytes(packed.data) == b"\1\0\0\0a" + b"\0\0\0\0" + b"\2\0\0\0\xc3\xa9"
    np.testing.assert_array_equal(unpack([packed])["x"], texts)
    for data in (b"\1\0\0", b"\2\0\0\0a", b"\xff\xff\xff\xffa"):
        with pytest.raises(InputError, match="element"):
            unpack([Packed("x", "bytes", (1,), data)])
    with pytest.raises(InputError, match="takes 2 elements, received 1"):
        unpack([Packed("x", "bytes", (2,), join_elements([b"a"]))])
    with pytest.raises(InputError, match="UTF-8"):
        unpack([Packed("x", "bytes", (1,), join_elements([b"\xff"]))])
