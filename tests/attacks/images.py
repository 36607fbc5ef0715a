"""Pictures made to hurt: bombs, lies, cuts, disguises. All drawn in code, so that each says what it is."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image as Pillow


def chunk(kind: bytes, content: bytes) -> bytes:
    """One PNG chunk with its right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG of raw filtered `rows`, which need not fit the size; `extra` chunks come before the pixels."""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return start + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def tiff(
    tags: dict[int, tuple[int, int, int]], rest: bytes = b"", following: int = 0, count: int | None = None
) -> bytes:
    """A little-endian TIFF of one directory at byte 8: `tags`, then `rest`."""
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    number = len(tags) if count is None else count
    return b"II*\x00" + struct.pack("<IH", 8, number) + entries + struct.pack("<I", following) + rest


def plain_tiff(width: int, height: int, **changes: tuple[int, int, int]) -> Tags:
    """The tags of an uncompressed 8-bit grey TIFF; `changes` as t322=(type, count, value)."""
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, min(width * height, 2**32 - 1))}
    return tags | {int(key[1:]): entry for key, entry in changes.items()}


def saved(format: str, mode: str = "RGB", size: tuple[int, int] = (48, 40), **options: object) -> bytes:
    """A small noisy, valid picture."""
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    noise = np.random.default_rng(7).integers(0, 256, shape, np.uint8)
    out = io.BytesIO()
    Pillow.fromarray(noise, mode if mode != "P" else "L").convert(mode).save(out, format, **options)
    return out.getvalue()


def valid_images() -> dict[str, bytes]:
    """One small valid picture of each format, and of the kinds that take another path in a decoder."""
    return {
        "jpeg": saved("JPEG"),
        "jpeg progressive": saved("JPEG", progressive=True),
        "jpeg grey": saved("JPEG", "L"),
        "jpeg cmyk": saved("JPEG", "CMYK"),
        "png": saved("PNG"),
        "png palette": saved("PNG", "P"),
        "png alpha": saved("PNG", "RGBA"),
        "webp": saved("WEBP"),
        "webp lossless": saved("WEBP", "RGBA", lossless=True),
        "gif": saved("GIF", "P"),
        "bmp": saved("BMP"),
        "tiff": saved("TIFF"),
        "tiff lzw": saved("TIFF", compression="tiff_lzw"),
        "tiff deflate": saved("TIFF", compression="tiff_adobe_deflate"),
        "avif": saved("AVIF", speed=10),
    }


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """`data` with the bytes at `at` replaced."""
    return data[:at] + new + data[at + len(new) :]


def _bombs() -> dict[str, bytes]:
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + (b"\xff\xff\xff" * 2)
    comments = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 32_000 + b"\0"
    return {
        "bomb: PNG of 30,000 x 30,000 zeros": png(30_000, 30_000, bytes(900_000)),
        "bomb: PNG of 1 bit, 8,000 x 8,000, honest": png(8_000, 8_000, bytes(1_001 * 8_000), depth=1),
        "bomb: GIF canvas of 65,535 x 65,535": patched(saved("GIF", "P"), 6, b"\xff\xff\xff\xff"),
        "bomb: GIF frame larger than its canvas": _gif_frame(65_000, 65_000),
        "bomb: GIF frame far outside its canvas": _gif_frame(8, 8, left=65_000, top=65_000),
        "bomb: TIFF of 60,000 x 60,000": tiff(plain_tiff(60_000, 60_000)),
        "bomb: TIFF of one pixel in a tile of 60,000 x 60,000": tiff(
            plain_tiff(1, 1, t322=(4, 1, 60_000), t323=(4, 1, 60_000), t324=(4, 1, 8), t325=(4, 1, 1), t259=(3, 1, 5))
        ),
        "bomb: TIFF of 4,000 samples a pixel": tiff(plain_tiff(4_000, 4_000, t277=(3, 1, 4_000))),
        "bomb: BMP of 50,000 x 50,000": patched(saved("BMP"), 18, struct.pack("<ii", 50_000, 50_000)),
        "bomb: BMP of -2,147,483,648 rows": patched(saved("BMP"), 18, struct.pack("<ii", 40, -(2**31))),
        "bomb: WebP canvas of 16,777,216 x 16,777,216": b"RIFF" + struct.pack("<I", 22) + b"WEBP" + vp8x,
        "bomb: PNG text chunk that inflates to 200 MB": png(
            1, 1, b"\0\0", chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
        ),
        "bomb: PNG colour profile that inflates to 200 MB": png(
            1, 1, b"\0\0", chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(200_000_000), 9))
        ),
        "bomb: PNG of 100,000 text chunks": png(1, 1, b"\0\0", chunk(b"tEXt", b"a\0b") * 100_000),
        "bomb: GIF with 8 MB of comments": _gif_frame(1, 1, before=comments),
        "bomb: JPEG of 65,500 x 65,500": _jpeg_of_size(65_500, 65_500),
        "bomb: JPEG of 5,000 scans": _jpeg_of_scans(5_000),
        "bomb: JPEG of 200,000 empty segments": b"\xff\xd8" + b"\xff\xe5\x00\x02" * 200_000 + saved("JPEG")[2:],
    }


def _gif_frame(width: int, height: int, left: int = 0, top: int = 0, before: bytes = b"") -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02\x02\x44\x01\x00"
    return screen + before + frame + b"\x3b"


def _jpeg_of_size(width: int, height: int) -> bytes:
    whole = saved("JPEG")
    return patched(whole, whole.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def _jpeg_of_scans(number: int) -> bytes:
    """A progressive JPEG of 2,000 x 2,000 whose last scan is repeated."""
    out = io.BytesIO()
    Pillow.new("L", (2_000, 2_000), 90).save(out, "JPEG", progressive=True)
    whole = out.getvalue()[:-2]
    return whole + whole[whole.rindex(b"\xff\xda") :] * number + b"\xff\xd9"


def _lies() -> dict[str, bytes]:
    rgb = saved("PNG")
    avif = saved("AVIF", speed=10)
    size_at = avif.index(b"ispe") + 8
    webp = saved("WEBP")
    lossless = saved("WEBP", lossless=True)
    return {
        "lie: PNG header of 200,000 x 200,000": png(200_000, 200_000, b"\0\0"),
        "lie: PNG header of 200,000 x 200,000, wrong checksum": patched(rgb, 16, struct.pack(">II", 200_000, 200_000)),
        "lie: PNG with too few rows": png(500, 500, bytes(501 * 3)),
        "lie: PNG with too many rows": png(5, 5, bytes(6 * 50_000)),
        "lie: PNG palette without colours": png(4, 4, b"\0\xff\xff\xff\xff" * 4, colour=3),
        "lie: PNG palette index out of range": png(4, 4, b"\0\xff\xff\xff\xff" * 4, chunk(b"PLTE", b"abc"), colour=3),
        "lie: PNG of depth 77": png(4, 4, b"\0" * 20, depth=77),
        "lie: PNG with a corrupt checksum in IHDR": patched(rgb, 29, b"\0\0\0\0"),
        "lie: PNG with a corrupt checksum in IDAT": patched(rgb, len(rgb) - 16, b"\0\0\0\0"),
        "lie: PNG with pixels overwritten": patched(rgb, len(rgb) // 2, b"\0" * 40),
        "lie: PNG chunk of 4 GB": patched(rgb, 33, b"\xff\xff\xff\xff"),
        "lie: PNG of zero width": png(0, 10, b"\0" * 10),
        "lie: JPEG of zero height": _jpeg_of_size(40, 0),
        "lie: GIF of zero size": _gif_frame(0, 0),
        "lie: BMP of zero size": patched(saved("BMP"), 18, bytes(8)),
        "lie: TIFF of zero size": tiff(plain_tiff(0, 0)),
        "lie: JPEG larger than its pixels": _jpeg_of_size(4_000, 4_000),
        "lie: JPEG with overwritten tables": patched(saved("JPEG"), 30, b"\xff" * 100),
        "lie: JPEG with a second, larger header": _jpeg_of_size(40, 40)[:-2] + _jpeg_of_size(30_000, 30_000)[2:],
        "lie: AVIF of 200,000 x 200,000": patched(avif, size_at, struct.pack(">II", 200_000, 200_000)),
        "lie: AVIF of 7,000 x 7,000": patched(avif, size_at, struct.pack(">II", 7_000, 7_000)),
        "lie: AVIF of 1 x 1 with more inside": patched(
            saved("AVIF", "L", (3_000, 2_000), speed=10), size_at, struct.pack(">II", 1, 1)
        ),
        "lie: WebP of 16,383 x 16,383": patched(webp, 26, b"\xff\x3f\xff\x3f"),
        "lie: WebP of 8,000 x 7,000": patched(webp, 26, struct.pack("<HH", 8_000, 7_000)),
        "lie: lossless WebP of 16,384 x 16,384": patched(lossless, 21, b"\xff\xff\xff\x0f"),
        "lie: TIFF directory that follows itself": tiff(plain_tiff(4, 4), bytes(100), following=8),
        "lie: TIFF directory outside the file": b"II*\x00\xff\xff\xff\x7f" + bytes(64),
        "lie: TIFF of 65,535 tags": tiff(plain_tiff(4, 4), bytes(64), count=65_535),
        "lie: TIFF tag of 4,294,967,295 values": tiff(plain_tiff(4, 4, t258=(3, 2**32 - 1, 8), t273=(4, 2**32 - 1, 8))),
        "lie: TIFF strips outside the file": tiff(plain_tiff(400, 400, t273=(4, 1, 2**31))),
        "lie: TIFF of unknown compression": tiff(plain_tiff(4, 4, t259=(3, 1, 9_999)), bytes(64)),
        "lie: TIFF EXIF directory that is the file's own": tiff(plain_tiff(4, 4, t34665=(4, 1, 8)), bytes(64)),
        "lie: TIFF orientation 99": tiff(plain_tiff(4, 4, t274=(3, 1, 99)), bytes(64)),
    }


def _sizes() -> dict[str, bytes]:
    return {
        "size: PNG of 1 x 100,000": png(1, 100_000, b"\0\x80" * 100_000),
        "size: PNG of 100,000 x 1": png(100_000, 1, b"\0" + b"\x80" * 100_000),
        "size: PNG of 1 x 30,000": png(1, 30_000, b"\0\x80" * 30_000),
        "size: JPEG of 6,000 x 1": saved("JPEG", "L", (6_000, 1)),
        "size: 0 bytes": b"",
        "size: 1 byte": b"\xff",
        "size: 3 bytes of JPEG": b"\xff\xd8\xff",
        "size: 8 bytes of PNG": b"\x89PNG\r\n\x1a\n",
        "size: 12 bytes of WebP": b"RIFF\x04\0\0\0WEBP",
        "size: 16 bytes of AVIF": b"\0\0\0\x10ftypavif\0\0\0\0",
    }


def _disguises() -> dict[str, bytes]:
    jpeg = saved("JPEG")
    php = b"<?php system($_GET['c']); ?>"
    comment = b"\xff\xfe" + struct.pack(">H", len(php) + 2) + php
    html = b"<script>alert(1)</script>"
    script = b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)//"
    return {
        "other: text": b"This is no picture, it is a sentence.\n",
        "other: text that begins like a bitmap": b"BM is short for bitmap, and this is a text about it.",
        "other: SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "other: SVG with a billion laughs": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaa">]><svg>&a;</svg>',
        "other: HTML": b"<!DOCTYPE html><html><body>Not found</body></html>",
        "other: PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "other: ZIP": b"PK\x03\x04" + bytes(60),
        "other: EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "other: icon": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + bytes(60),
        "other: HEIF": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60),
        "other: noise": np.random.default_rng(3).integers(0, 256, 5_000, np.uint8).tobytes(),
        "disguise: JPEG and ZIP": jpeg + b"PK\x03\x04" + bytes(500),
        "disguise: GIF and JavaScript": script,
        "disguise: PNG with HTML in a text chunk": png(1, 1, b"\0\0", chunk(b"tEXt", b"Title\0" + html)),
        "disguise: JPEG with PHP in a comment": jpeg[:2]
        + b"\xff\xfe"
        + struct.pack(">H", len(comment) + 2)
        + comment
        + jpeg[2:],
        "disguise: PNG in a JPEG's skin": b"\xff\xd8\xff" + saved("PNG"),
        "disguise: MPO header without a second picture": jpeg[:2] + b"\xff\xe2\x00\x0cMPF\0II*\0\x08\x00" + jpeg[2:],
    }


def _cuts() -> dict[str, bytes]:
    return {
        f"cut: {name} at {share} %": data[: len(data) * share // 100]
        for name, data in valid_images().items()
        for share in (10, 50, 90, 99)
    }


def hostile_images() -> dict[str, bytes]:
    """What it is -> the bytes. Those named "cut" must be refused; others may be answered with a picture or refused."""
    return _bombs() | _lies() | _sizes() | _disguises() | _cuts()
