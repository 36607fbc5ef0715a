"""Compressed bodies: gzip and deflate, both ways, no larger than they may be.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1 (deflate is zlib's format; many send it bare)
"""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import Request as HttpRequest

from glia.api.http.body import read_body, too_large
from glia.core.errors import InputError, UnsupportedMedia

WORTH_BYTES = 1024
"""An answer below this is sent as it is: compressing costs more than it saves."""

_GZIP_OR_ZLIB, _BARE, _GZIP = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS, zlib.MAX_WBITS | 16


async def read_inflated(http: HttpRequest, limit_bytes: int) -> bytes:
    """The whole body, decompressed as its Content-Encoding says.

    Raises BodyTooLarge before it holds more than the limit, UnsupportedMedia, InputError.
    """
    body = await read_body(http, limit_bytes)
    coding = http.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedMedia(f"Expected gzip or deflate as Content-Encoding, received {coding[:40]!r}.")
    return await asyncio.to_thread(inflate, body, limit_bytes)


def inflate(body: bytes, limit_bytes: int) -> bytes:
    """A gzip, zlib or bare deflate stream. Raises BodyTooLarge, having made no more than the limit; InputError."""
    # The low four bits of zlib's first byte name its method, and the first two bytes are divisible by 31.
    headed = body[:2] == b"\x1f\x8b" or (body[0:1] and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0)
    stream = zlib.decompressobj(_GZIP_OR_ZLIB if headed else _BARE)
    try:
        data = stream.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise InputError(f"Expected a gzip or deflate body, received one that breaks: {error}.") from error
    if len(data) > limit_bytes:
        raise too_large(len(data), limit_bytes)
    if not stream.eof or stream.unused_data:
        raise InputError("Expected one whole gzip or deflate stream as the body, received part of one, or more.")
    return data


async def deflated(body: bytes, accept: str) -> tuple[bytes, str | None]:
    """An answer as the client's Accept-Encoding prefers it, and its Content-Encoding; small ones as they are."""
    coding = _accepted(accept) if len(body) >= WORTH_BYTES else None
    if coding is None:
        return body, None
    return await asyncio.to_thread(_compress, body, coding), coding


def _compress(body: bytes, coding: str) -> bytes:
    # Level 1: tensors of floats hardly shrink further, however long one tries.
    stream = zlib.compressobj(1, zlib.DEFLATED, _GZIP if coding == "gzip" else zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


def _accepted(accept: str) -> str | None:
    refused = ("0", "0.0", "0.00", "0.000")
    given = [part.partition(";") for part in accept.lower().split(",")]
    named = {name.strip() for name, _, rest in given if rest.strip().removeprefix("q=") not in refused}
    return next((coding for coding in ("gzip", "deflate") if coding in named), None)
