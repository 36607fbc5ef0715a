"""What a picture's first bytes say: its format, its size, which way is up. Nothing is decoded, Pillow is not loaded.

Everything here reads untrusted bytes at positions that are checked, loops a bounded number of times and allocates
nothing that the file asks for. The limits are applied to what the header promises, before any decoder sees the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from glia.core.errors import DamagedMedia, MediaTooLarge, UnsupportedMedia
from glia.data.limits import limits

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WebP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
}
"""Media type to the name that people use, of each format that is read."""

MAX_PARTS = 20_000
"""Segments, chunks or blocks that are looked at before the picture itself; real files have fewer than a hundred."""

MAX_SCANS = 100
"""Passes of a progressive JPEG; encoders write about ten, and each makes the decoder visit every pixel again."""


@dataclass(frozen=True)
class Header:
    """A picture's header: media type, size as stored [px], and EXIF `orientation` 1..8 (5..8 lie on their side)."""

    media_type: str
    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) [px] once turned upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def media_type(data: bytes) -> str | None:
    """The media type of a picture that is read, by its magic number; None for everything else."""
    for magic, found in (
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"II*\x00", "image/tiff"),
        (b"MM\x00*", "image/tiff"),
    ):
        if data.startswith(magic):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    # Two letters are too few to tell a bitmap from a text: the size of its second header is one of seven.
    if data[:2] == b"BM" and len(data) >= 18 and data[14:18] in _BMP_HEADERS:
        return "image/bmp"
    if data[4:8] == b"ftyp" and b"avi" in {brand[:3] for brand in _brands(data)}:
        return "image/avif"
    return None


_BMP_HEADERS = {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}


def _brands(data: bytes) -> list[bytes]:
    """Major and compatible brands of an ISO media file (ISO/IEC 14496-12, section 4.3)."""
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]


def refuse(data: bytes) -> NoReturn:
    """Raise what fits bytes that are no picture: DamagedMedia if there are none, else UnsupportedMedia."""
    expected = f"Expected a picture ({', '.join(FORMATS.values())})"
    if not data:
        raise DamagedMedia(f"{expected}, received 0 bytes: the file is empty. Check that the upload is complete.")
    raise UnsupportedMedia(f"{expected}, received {in_words(data)}. Convert it to one of these formats.")


_FOREIGN = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive (or an office document)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"%!PS", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x01\x00", "an icon (ICO)"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"II+\x00", "a BigTIFF"),
    (b"MM\x00+", "a BigTIFF"),
    (b"ID3", "an MP3 sound"),
    (b"fLaC", "a FLAC sound"),
    (b"OggS", "an Ogg file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a program (Windows)"),
    (b"SQLite format 3\x00", "an SQLite database"),
)

_ISO_BRANDS = {
    b"heic": "a HEIF photo",
    b"heix": "a HEIF photo",
    b"heim": "a HEIF photo",
    b"heis": "a HEIF photo",
    b"hevc": "a HEIF photo",
    b"mif1": "a HEIF photo",
    b"msf1": "a HEIF photo",
    b"qt  ": "a QuickTime video",
    b"M4A ": "an M4A sound",
    b"crx ": "a raw photo (CR3)",
}


def in_words(data: bytes) -> str:
    """What these bytes seem to be, for a message: "a PDF", "a web page (HTML)", "text", "12 bytes of no known ..."."""
    for magic, words in _FOREIGN:
        if data.startswith(magic):
            return words
    if data[4:8] == b"ftyp":
        return _ISO_BRANDS.get(data[8:12], "an MP4 video")
    if data[:4] == b"RIFF":
        return {b"WAVE": "a WAV sound", b"AVI ": "an AVI video"}.get(data[8:12], "a RIFF file that is no WebP")
    if re.match(rb"P[1-7]\s", data):
        return "a PBM, PGM or PPM picture"
    if re.match(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", data):
        return "an MP3 sound"
    return _text_in_words(data) or f"{len(data):,} {'byte' if len(data) == 1 else 'bytes'} of no format known here"


def _text_in_words(data: bytes) -> str | None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text (UTF-16)"
    text = data[:1024].decode("utf-8", "ignore").lstrip("\ufeff \t\r\n").lower()
    start = data[:1024].translate(None, b"\t\n\r\f")
    if any(byte < 32 or byte == 127 for byte in start) or len(text) < 0.6 * len(start.lstrip()):
        return None
    if "<svg" in text and text.startswith("<"):
        return "an SVG drawing"
    if re.match(r"(<!--.*?-->\s*)?<(!doctype html|html|head|body|script|title)", text, re.DOTALL):
        return "a web page (HTML)"
    if text.startswith("<?xml"):
        return "an XML document"
    return "JSON text" if text.startswith(("{", "[")) else "text"


def read_header(data: bytes) -> Header:
    """Format, size and orientation of a picture within the limits.

    Raises UnsupportedMedia (no picture), DamagedMedia (no size in it, or none of it) and MediaTooLarge.
    """
    found = media_type(data)
    if found is None:
        refuse(data)
    if len(data) > limits().bytes:
        raise MediaTooLarge(
            f"Expected at most {limits().bytes:,} bytes, received a picture ({FORMATS[found]}) of {len(data):,}. "
            "Compress it more."
        )
    try:
        header = _READERS[found](data)
    except (struct.error, IndexError, StopIteration) as error:
        raise damaged(found, "its header is cut off or not one") from error
    check_size(found, header.width, header.height)
    return header


def check_size(found: str, width: int, height: int) -> None:
    """Raise DamagedMedia for a picture without pixels and MediaTooLarge for one above the limits [px]."""
    if width < 1 or height < 1:
        raise damaged(found, f"its header says {width} x {height} pixels")
    if width * height > limits().pixels or max(width, height) > limits().side:
        raise MediaTooLarge(
            f"Expected at most {limits().pixels / 1e6:g} megapixels and {limits().side:,} pixels a side, received "
            f"a picture ({FORMATS[found]}) of {width:,} x {height:,} pixels ({width * height / 1e6:,.1f} megapixels). "
            "Scale it down."
        )


def damaged(found: str, why: str) -> DamagedMedia:
    """The error for a file that begins as media type `found` and cannot be read to its end."""
    name = FORMATS[found]
    return DamagedMedia(f"Expected a whole {name}, received a truncated or corrupt one: {why}. Send the file again.")


def _tiff_tags(data: bytes) -> dict[int, int]:
    """Whole-number tags of the first directory of a TIFF file or an EXIF block (TIFF 6.0, section 2)."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, int] = {}
    for at in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if kind in (1, 3, 4):
            (tags[tag],) = struct.unpack_from(order + {1: "B", 3: "H", 4: "I"}[kind], data, at + 8)
    return tags


def _orientation(exif: bytes) -> int:
    """EXIF orientation 1..8; 1 where the block is damaged or says something else, as browsers do."""
    exif = exif.removeprefix(b"Exif\x00\x00")
    if exif[:4] not in (b"II*\x00", b"MM\x00*"):
        return 1
    try:
        found = _tiff_tags(exif).get(274, 1)
    except struct.error:
        return 1
    return found if 1 <= found <= 8 else 1


def _jpeg_segments(data: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """(marker, start of its content, end of it) from `start` on; skips entropy-coded bytes (ITU-T T.81, annex B)."""
    at = start
    for _ in range(MAX_PARTS):
        match = _MARKER.search(data, at)
        if match is None:
            return
        marker, at = data[match.end() - 1], match.end()
        if marker == 0xD9:
            return
        if marker in (0x01, 0xD8):
            continue
        end = at + int.from_bytes(data[at : at + 2], "big")
        yield marker, at + 2, end
        at = max(end, at + 2)
    raise damaged("image/jpeg", f"it has more than {MAX_PARTS:,} segments")


_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)


def _jpeg(data: bytes) -> Header:
    orientation, found, parts = 1, None, 0
    for marker, start, end in _jpeg_segments(data, 2):
        if marker == 0xE1 and orientation == 1 and data[start : start + 6] == b"Exif\x00\x00":
            orientation = _orientation(data[start:end])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, start + 1)
            found = Header("image/jpeg", width, height, orientation)
            # Sequential, one scan of all components: the decoder reads no second one.
            parts = data[start + 5] if marker in (0xC0, 0xC1) else 0
        elif marker == 0xDA:
            if found is not None and data[start] != parts:
                _check_scans(data, start)
            break
    if found is None:
        raise damaged("image/jpeg", "it ends before its size is told")
    return found


def _check_scans(data: bytes, start: int) -> None:
    """Refuse a progressive file of too many scans, each of which costs a pass over the whole picture."""
    # A byte count is quick and never too low; only where it is high are the scans counted one by one.
    if data.count(b"\xff\xda", start) < MAX_SCANS:
        return
    if sum(marker == 0xDA for marker, _, _ in _jpeg_segments(data, start)) >= MAX_SCANS:
        raise MediaTooLarge(
            f"Expected a JPEG of at most {MAX_SCANS} scans, received one of more. Save it again as a baseline JPEG."
        )


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise damaged("image/png", "its first chunk is not IHDR")
    width, height = struct.unpack_from(">II", data, 16)
    orientation = 1
    if b"eXIf" in data:
        at = 8
        for _ in range(MAX_PARTS):
            length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
            if kind == b"eXIf":
                orientation = _orientation(data[at + 8 : at + 8 + length])
            if kind in (b"eXIf", b"IEND", b""):
                break
            at += 12 + length
    return Header("image/png", width, height, orientation)


def _gif(data: bytes) -> Header:
    """The canvas, or what it takes to hold the first frame where that is larger (GIF89a, sections 18 and 20)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    for _ in range(MAX_PARTS):
        if data[at] == 0x2C:
            left, top, wide, high = struct.unpack_from("<HHHH", data, at + 1)
            return Header("image/gif", max(width, left + wide), max(height, top + high))
        if data[at] == 0x3B:
            break
        if data[at] != 0x21:
            at += 1
            continue
        at += 2
        for _ in range(MAX_PARTS):
            length = data[at]
            at += length + 1
            if not length:
                break
        else:
            raise damaged("image/gif", f"it has more than {MAX_PARTS:,} blocks before its first frame")
    raise damaged("image/gif", "it has no frame")


def _webp(data: bytes) -> Header:
    """RIFF container, RFC 9649 sections 2.4 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L" and data[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise damaged("image/webp", "it begins with none of VP8, VP8L, VP8X")
    orientation, at = 1, 12
    for _ in range(MAX_PARTS if kind == b"VP8X" and b"EXIF" in data else 0):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            orientation = _orientation(data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return Header("image/webp", width, height, orientation)


def _bmp(data: bytes) -> Header:
    if data[14:18] == b"\x0c\x00\x00\x00":
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("image/bmp", width, abs(height))


def _tiff(data: bytes) -> Header:
    tags = _tiff_tags(data)
    if 256 not in tags or 257 not in tags:
        raise damaged("image/tiff", "its first directory has no width and height")
    # A decoder makes room for one whole tile, however small the picture is.
    if tags.get(322, 0) * tags.get(323, 0):
        check_size("image/tiff", tags[322], tags[323])
    orientation = tags.get(274, 1)
    return Header("image/tiff", tags[256], tags[257], orientation if 1 <= orientation <= 8 else 1)


def _avif(data: bytes) -> Header:
    """The largest `ispe` property (ISO/IEC 23008-12, 6.5.3): grids and previews have one each. Not turned."""
    sizes = [
        struct.unpack_from(">II", data, match.end())
        for match, _ in zip(re.finditer(rb"\x00\x00\x00\x14ispe\x00{4}", data[: 2**20]), range(MAX_PARTS), strict=False)
    ]
    if not sizes:
        raise damaged("image/avif", "it does not tell its size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Header("image/avif", width, height)


_READERS: dict[str, Callable[[bytes], Header]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
    "image/gif": _gif,
    "image/bmp": _bmp,
    "image/tiff": _tiff,
    "image/avif": _avif,
}
