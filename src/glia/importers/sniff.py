"""Which importer reads a file: decided by its bytes, never by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import glia.importers as room
from glia.core.errors import ImportFailed
from glia.importers.importer import Importer

HEAD_BYTES = 1 << 16


def importers() -> dict[str, Importer]:
    """Every importer by its format: those of the room's modules that declare `IMPORTER`."""
    modules = [
        importlib.import_module(f"{room.__name__}.{entry.name}") for entry in pkgutil.iter_modules(room.__path__)
    ]
    found: dict[str, Importer] = {}
    for module in modules:
        if hasattr(module, "IMPORTER"):
            assert module.IMPORTER.format not in found, f"two importers read {module.IMPORTER.format}"
            found[module.IMPORTER.format] = module.IMPORTER
    return found


def _heads(files: Mapping[str, Path]) -> dict[str, tuple[bytes, int]]:
    """First bytes and size of every file."""
    if not files:
        raise ImportFailed("Expected a file to import, received none.")
    heads: dict[str, tuple[bytes, int]] = {}
    for role, path in files.items():
        try:
            with path.open("rb") as file:
                heads[role] = file.read(HEAD_BYTES), path.stat().st_size
        except OSError as error:
            raise ImportFailed(
                f"{path.name} cannot be read: {error.strerror}. Check the path and its rights."
            ) from None
    return heads


def importer_for(files: Mapping[str, Path], format: str | None = None) -> Importer:
    """The importer whose format one of the files has; `format` is what a catalog or a user says it must be.

    Raises ImportFailed where no importer or more than one knows the bytes, or where `format` is another.
    """
    known, heads = importers(), _heads(files)
    if format is not None and format not in known:
        raise ImportFailed(f"Expected a format out of {sorted(known)}, received {format!r}.")
    met = [name for name, reader in known.items() if any(reader.sniff(head, size) for head, size in heads.values())]
    shown = ", ".join(
        f"{files[role].name} ({size} bytes) begins {head[:16].hex(' ')}" for role, (head, size) in heads.items()
    )
    if not met:
        raise ImportFailed(f"Expected one of the formats {sorted(known)}, received something else: {shown}.")
    if format is not None and format not in met:
        raise ImportFailed(f"Expected the format {format!r}, but the bytes are of {met}: {shown}.")
    if format is None and len(met) > 1:
        raise ImportFailed(f"The files are of several formats, {met}: {shown}. Name the one to import.")
    return known[format or met[0]]
