"""A list of labels that comes along with a network: a text, one a line."""

from __future__ import annotations

from dataclasses import replace

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph

MAX_LABEL_BYTES = 4 << 20


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
