"""Writes that survive a kill: locks between processes, staging folders, files replaced whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

CHUNK = 1 << 20


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against every other process and thread; it is made if absent, and never removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sync_folder(folder: Path) -> None:
    """Put the folder's list of names on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(file: IO[bytes]) -> None:
    """Put what was written to an open file on the disk."""
    file.flush()
    os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Give a file new content: whoever reads it, at any moment, finds the old or the new bytes, never a mixture.

    Call it under a lock: the half-written file has one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        sync_file(file)
    os.replace(fresh, path)
    sync_folder(path.parent)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_hashed(target: Path, source: Path | bytes) -> tuple[str, int]:
    """Write a file from bytes or from another file, synced; its sha256 and its size [bytes]."""
    if isinstance(source, bytes):
        with target.open("wb") as file:
            file.write(source)
            sync_file(file)
        return hashlib.sha256(source).hexdigest(), len(source)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as origin, target.open("wb") as file:
        while chunk := origin.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        sync_file(file)
    return digest.hexdigest(), size


@contextmanager
def staging_folder(staging: Path) -> Iterator[Path]:
    """A fresh folder to prepare files in, on the same disk as their destination; gone afterwards.

    Its owner holds a lock beside it, so that the folders of processes that were killed are told from those in use;
    they are swept whenever a new one is made.
    """
    staging.mkdir(parents=True, exist_ok=True)
    name = f"{os.getpid()}-{secrets.token_hex(6)}"
    folder, lock = staging / name, staging / f"{name}.lock"
    with locked(staging / "lock"):
        _sweep(staging)
        held = lock.open("ab")
        fcntl.flock(held, fcntl.LOCK_EX)
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        held.close()


def _sweep(staging: Path) -> None:
    """Remove the staging folders whose owners are dead; the caller holds the lock of `staging`."""
    for lock in staging.glob("*.lock"):
        with suppress(BlockingIOError, FileNotFoundError), lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
