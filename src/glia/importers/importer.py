"""The seam of the room: what an importer is, and what it gives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import onnx

from glia.core.errors import ImportFailed

OPSET = 17  # shape inference follows Shape from 15 on, quantisation per channel needs 13
IR_VERSION = 8


@dataclass(frozen=True)
class Layer:
    """A row of the table that explains an import: a layer of the foreign network, and what became of it."""

    name: str
    kind: str
    """What its framework calls it."""
    nodes: tuple[str, ...]
    """ONNX operators, in their order; none where it was folded into another or into a constant."""
    shape: tuple[int | str | None, ...]
    """Of its last node's output: numbers, names of open dimensions, None where unknown."""
    parameters: int
    """Numbers that were learned."""


@dataclass(frozen=True)
class ImportedGraph:
    """A network as ONNX. `inputs` and `outputs` map the names that tasks use to the graph's; `notes` are for people."""

    model: onnx.ModelProto
    inputs: dict[str, str]
    outputs: dict[str, str]
    notes: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    known: Mapping[str, Any] = field(default_factory=dict)
    """What the files say for the card: labels, mean, std, colour, size; absent where they say nothing."""


@runtime_checkable
class Importer(Protocol):
    """Reads one foreign format. A module of this package declares its importer as `IMPORTER`."""

    format: str

    def sniff(self, head: bytes, size: int) -> bool:
        """Whether a file of `size` bytes that begins with `head` is of this format; never raises."""
        ...

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """Role to graph; where there is one network its role is `model`. Raises ImportFailed."""
        ...


def only_file(files: Mapping[str, Path], format: str) -> Path:
    """The one file of a format that comes in one file."""
    if len(files) != 1:
        raise ImportFailed(f"A network in the format {format} is one file, received {len(files)}: {sorted(files)}.")
    return next(iter(files.values()))


def read_limited(path: Path, max_bytes: int) -> bytes:
    """All bytes of a file that is no larger than `max_bytes`."""
    try:
        with path.open("rb") as file:
            # Not `read(max_bytes)`: Python makes a buffer of that size first, however short the file is.
            data = file.read(min(max_bytes, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise ImportFailed(f"{path.name} cannot be read: {error.strerror}. Check the path and its rights.") from None
    if len(data) > max_bytes:
        raise ImportFailed(f"{path.name} is larger than {max_bytes} bytes, the most that is read.")
    return data


def refuse_unknown(options: Mapping[str, Any], known: set[str]) -> None:
    """Raise ImportFailed where `options` has a key that nobody reads."""
    if surplus := sorted(set(options) - known):
        raise ImportFailed(f"Unknown options {surplus}, expected some of {sorted(known)}.")
