"""Class names that lie beside a network as plain text: a line for each class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.importer import read_limited

MAX_LABEL_BYTES = 1 << 20
MAX_LABELS = 100_000
_WITH_ID = re.compile(r"(n\d{8})\s+(\S.*)")

MAX_LABEL = 500


def read_labels(data: bytes) -> dict[str, Any]:
    """`labels`, and `label_ids` where each line begins with a WordNet id; empty for what is no list of labels."""
    if len(data) > MAX_LABEL_BYTES:
        return {}
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return {}
    while lines and not lines[-1].strip():
        lines.pop()
    lines = [line.strip() for line in lines]
    if not 0 < len(lines) <= MAX_LABELS or not all(line.isprintable() for line in lines):
        return {}
    found = [_WITH_ID.fullmatch(line) for line in lines]
    if all(found):
        return {"labels": [match[2] for match in found if match], "label_ids": [match[1] for match in found if match]}
    return {"labels": lines}


def labels_of(paths: Iterable[Path], classes: int | None) -> list[str] | None:
    """The names of `classes` classes in order, out of the first file that holds as many; None where none does.

    A file with more lines than classes gives its first ones: lists of ImageNet go on with what is no class.
    """
    if not classes or classes < 2:
        return None
    for path in paths:
        lines = _lines(path)
        if lines is None or len(lines) < classes:
            continue
        numbered = [re.fullmatch(r"(.+?)[ \t,]+(\d{1,7})", line) for line in lines]
        if all(numbered):
            pairs = sorted((int(match[2]), match[1]) for match in numbered if match)
            if [number for number, _ in pairs] != list(range(len(pairs))):
                continue
            lines = [name for _, name in pairs]
        return lines[:classes]
    return None


def _lines(path: Path) -> list[str] | None:
    """The lines of a text file that are not empty; None where it is no text."""
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            return None
        text = read_limited(path, MAX_LABEL_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError, ImportFailed):
        return None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if any(len(line) > MAX_LABEL or not line.isprintable() for line in lines) or text.lstrip()[:1] in ("{", "["):
        return None
    return lines


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names that occur twice get their place behind them."""
    seen: set[str] = set()
    found = []
    for place, name in enumerate(names):
        found.append(f"{name} ({place})" if name in seen else name)
        seen.add(name)
    return tuple(found)
