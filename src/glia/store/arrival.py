"""Bytes that arrive from outside: counted, hashed on the way, and never more than the catalog promised."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from glia.store.catalog import EntryFile
from glia.store.disk import CHUNK, sync_file

Progress = Callable[[int, int | None, str], None]
"""Told how many bytes have come, of how many (None: not known), and of what."""


class NotThere(Exception):
    """Why a source did not give the file: half a sentence, without credentials. Never leaves the store's sources."""


class WrongBytes(NotThere):
    """The source gave something else."""


def masked(text: str) -> str:
    """The text with the credentials of its URLs replaced by stars."""
    return re.sub(r"(?<=://)[^/\s@]+@", "***@", text)


def receive(chunks: Iterable[bytes], part: Path, file: EntryFile, told: Callable[[int], None], start: int = 0) -> None:
    """Write a file from its chunks, after the `start` bytes that `part` has already, and check its size and sha256.

    A stream that ends early leaves what came, so that it can go on later; wrong bytes leave nothing.
    Raises NotThere for the first, WrongBytes for the second.
    """
    digest, done = hashlib.sha256(), start
    with part.open("r+b" if start else "wb") as out:
        while (missing := start - out.tell()) > 0:
            digest.update(out.read(min(CHUNK, missing)))
        out.truncate(start)
        for chunk in chunks:
            done += len(chunk)
            if done > file.bytes:
                break
            digest.update(chunk)
            out.write(chunk)
            told(done)
        sync_file(out)
    if done < file.bytes:
        raise NotThere(f"ended after {done:,} of {file.bytes:,} bytes")
    if done > file.bytes or digest.hexdigest() != file.sha256:
        part.unlink()
        what = "more bytes" if done > file.bytes else f"sha256 {digest.hexdigest()}"
        raise WrongBytes(f"other bytes: expected {file.bytes:,} with sha256 {file.sha256}, received {what}")
