"""What comes along with a network: a list of labels, a text of one a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph

HEAD_BYTES = 1 << 16
MAX_LABEL_BYTES = 4 << 20


def head_of(path: Path) -> bytes:
    """The first bytes of a file, to tell what it is. Raises ImportFailed."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise ImportFailed(f"{path.name} cannot be read: {error.strerror}. Check the path and its rights.") from None


def labels_of(data: bytes) -> list[str]:
    """The lines of a text; empty where it is none."""
    try:
        lines = [line.strip() for line in data.decode("utf-8").splitlines()]
    except UnicodeDecodeError:
        return []
    return [line for line in lines if line] if all(line.isprintable() for line in lines) else []


def with_labels(graph: ImportedGraph, labels: list[str]) -> ImportedGraph:
    """The graph with its labels, where an output has a number for each. Raises ImportFailed where none has."""
    dims = [output.type.tensor_type.shape.dim for output in graph.model.graph.output]
    counts = [dim[-1].dim_value if dim else 0 for dim in dims]
    # What comes after the network's own selection has no number for each label: nothing to compare with.
    if len(labels) not in counts and not any(
        count == 0 or len(dim) > 2 for count, dim in zip(counts, dims, strict=True)
    ):
        raise ImportFailed(f"The list has {len(labels)} labels, the outputs have {counts} numbers. Give the right one.")
    return replace(graph, known={**graph.known, "labels": labels})
