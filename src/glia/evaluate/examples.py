"""Labelled examples for evaluation: an npz of encoded files, a folder per class, or a manifest."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from glia.core.errors import InputError

TARGETS = ("label", "target", "class", "name", "y")
"""Columns that are taken as the target when none is named, in this order."""

FILES = ("file", "path", "image", "audio", "filename")


@dataclass(frozen=True)
class LabelledFile:
    """One example: its encoded bytes (read when asked for) and what it should be called."""

    source: Path | bytes
    target: Any

    def read(self) -> bytes:
        """The encoded file."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


def read_examples(data: Path, target: str | None = None) -> list[LabelledFile]:
    """The examples of `data`. `target`: the column that says what is right. Raises InputError."""
    if not data.exists():
        raise InputError(f"Expected data to evaluate on, but there is nothing at {data}.")
    if data.is_dir():
        found = list(_from_folders(data))
    elif data.suffix == ".npz":
        found = list(_from_npz(data, target))
    elif data.suffix in (".csv", ".tsv", ".json", ".jsonl"):
        found = list(_from_manifest(data, target))
    else:
        raise InputError(
            f"Expected an npz, a folder per class, or a manifest (csv, tsv, json, jsonl); received {data.name}."
        )
    if not found:
        raise InputError(f"Expected labelled examples in {data}, found none.")
    return found


def read_encoded(data: Path) -> list[bytes]:
    """The files of a folder (at any depth, in order of their names) or an npz, unlabelled. Raises InputError."""
    if data.suffix == ".npz" and data.is_file():
        files, offsets = (_arrays(data)[name] for name in ("data", "offsets"))
        return [files[start:end].tobytes() for start, end in pairwise(offsets)]
    if not data.is_dir():
        raise InputError(f"Expected a folder of files, or an npz, received {data}.")
    paths = sorted(path for path in data.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [path.read_bytes() for path in paths]


def _pick(columns: list[str], target: str | None, where: Path) -> str:
    wanted = [target] if target else [name for name in TARGETS if name in columns]
    if not wanted or wanted[0] not in columns:
        raise InputError(
            f"Expected the target column {target or ' or '.join(TARGETS)} in {where.name}; "
            f"it has {', '.join(columns)}. Name it with --target."
        )
    return wanted[0]


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays of an npz of encoded files: data, offsets, and columns. Raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise InputError(f"Expected an npz of arrays, received {path.name}: {error}") from error
    if not {"data", "offsets"} <= set(columns):
        raise InputError(f"Expected arrays data and offsets in {path.name}, found {', '.join(columns)}.")
    if columns["offsets"][-1] > len(columns["data"]) or (np.diff(columns["offsets"]) < 0).any():
        raise InputError(f"{path.name}: the offsets do not fit the data.")
    return columns


def _from_npz(path: Path, target: str | None) -> Iterator[LabelledFile]:
    columns = _arrays(path)
    data, offsets = columns.pop("data"), columns.pop("offsets")
    labels = columns[_pick(list(columns), target, path)]
    if len(labels) != len(offsets) - 1:
        raise InputError(f"{path.name}: expected {len(offsets) - 1} targets, found {len(labels)}.")
    for start, end, label in zip(offsets[:-1], offsets[1:], labels, strict=True):
        yield LabelledFile(data[start:end].tobytes(), label.item())


def _from_folders(folder: Path) -> Iterator[LabelledFile]:
    for kind in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for file in sorted(path for path in kind.rglob("*") if path.is_file() and not path.name.startswith(".")):
            yield LabelledFile(file, kind.name)


def _rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        if path.suffix == ".json":
            rows = json.loads(text)
            return rows if isinstance(rows, list) else rows["examples"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"Expected a list of objects in {path.name}: {error}") from error
    return list(csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ","))


def _from_manifest(path: Path, target: str | None) -> Iterator[LabelledFile]:
    rows = _rows(path)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"Expected rows with named columns in {path.name}.")
    columns = list(rows[0])
    file = next((name for name in FILES if name in columns), None)
    if file is None:
        raise InputError(f"Expected a column {' or '.join(FILES)} in {path.name}; it has {', '.join(columns)}.")
    column = _pick(columns, target, path)
    for row in rows:
        place = path.parent / str(row.get(file))
        if not place.is_file():
            raise InputError(f"{path.name} names {row.get(file)!r}, but there is no such file beside it.")
        yield LabelledFile(place, row.get(column))
