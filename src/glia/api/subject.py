"""What a person hands over in Python or in the shell (paths, bytes, text), as fields of a contract."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glia.core.errors import InputError
from glia.core.fields import Media
from glia.core.task import Contract

Given = Any
"""A path, bytes, text, a medium, or a sequence of them."""


def medium(value: Given, kind: type[Media]) -> Media:
    """One medium from a path, bytes, base64 or a data: URL. Raises InputError."""
    if isinstance(value, Media):
        return kind(value.data, name=value.name)
    if isinstance(value, bytes | bytearray | memoryview):
        return kind(bytes(value))
    if isinstance(value, str) and (value[:5].lower() == "data:" or len(value) > 4096 or value[:4].lower() == "http"):
        return kind.from_text(value)
    if isinstance(value, str | Path):
        return kind(read_file(Path(value)), name=Path(value).name)
    raise InputError(f"Expected a path or bytes of a {kind.kind}, received {type(value).__name__}.")


def read_file(path: Path) -> bytes:
    """A file's bytes. Raises InputError in words."""
    try:
        return path.expanduser().read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except IsADirectoryError as error:
        raise InputError(f"Expected a file, but {path} is a folder.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def fields(contract: Contract, subject: Given, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Subject and parameters as fields, media read from where they lie."""
    given = {contract.subject: subject, **parameters}
    for name, kind in contract.media_fields.items():
        if name not in given or given[name] is None:
            continue
        value = given[name]
        if contract.is_many(name):
            several = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
            given[name] = [medium(item, kind) for item in several]
        else:
            given[name] = medium(value, kind)
    return given


def files_in(places: Sequence[str]) -> Iterator[Path]:
    """Files as named, folders as the media below them. Raises InputError.

    Of a folder, what is hidden, and what by its name is text, a document or an archive, is left out.
    """
    for place in places:
        path = Path(place).expanduser()
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
                and not _is_document(file)
            )
        elif path.exists():
            yield path
        else:
            raise InputError(f"There is no file or folder {place}.")


def _is_document(file: Path) -> bool:
    kind = mimetypes.guess_type(file.name)[0] or ""
    return kind.startswith(("text/", "application/")) and kind not in ("application/ogg", "application/octet-stream")
