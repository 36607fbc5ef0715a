"""TensorFlow's frozen graphs: a GraphDef whose variables became constants, one `.pb` file.

    graph = node*                      node = name, operator, inputs `name:output`, attributes
    constant = shape, type, numbers    all little-endian

The graph may be of any year: the vocabulary of Inception 2015 (`Concat` with its axis first,
`BatchNormWithGlobalNormalization`, `DecodeJpeg` at its beginning) reads as well as that of TensorFlow 2.
Source: https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph, read_limited, refuse_unknown
from glia.importers.tensorflow_ops.functions import functions_of
from glia.importers.tensorflow_ops.labels import MAX_LABEL_BYTES, head_of, labels_of, with_labels
from glia.importers.tensorflow_ops.network import OPTIONS, import_network
from glia.importers.tensorflow_ops.nodes import SCHEMA, nodes_of
from glia.importers.tensorflow_ops.walk import Network

MAX_FILE_BYTES = 2 << 30
MAX_NAME = 4096


class TensorFlowGraph:
    """Frozen graphs; a text file with the labels, a line each, may come along."""

    format = "tf-graphdef"

    def sniff(self, head: bytes, size: int) -> bool:
        """The first field is a node that begins with a name and an operator that looks like one."""
        return _operator(head, size) is not None

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, OPTIONS)
        graphs, labels = [], []
        for path in files.values():
            head, size = head_of(path), path.stat().st_size
            if self.sniff(head, size):
                graphs.append(path)
            elif size <= MAX_LABEL_BYTES and (lines := labels_of(read_limited(path, MAX_LABEL_BYTES))):
                labels.append(lines)
            else:
                raise ImportFailed(f"{path.name} is neither a frozen graph nor a list of labels. Leave it out.")
        if len(graphs) != 1 or len(labels) > 1:
            raise ImportFailed(f"Expected one frozen graph and at most one list of labels, received {sorted(files)}.")
        path, data = graphs[0], read_limited(graphs[0], MAX_FILE_BYTES)
        parsed = SCHEMA.parse("GraphDef", data, path.name)
        functions = functions_of(parsed.library, path.name)
        found = import_network(Network(nodes_of(parsed, path.name), path.name, functions=functions), options)
        return {"model": with_labels(found, labels[0]) if labels else found}


def _operator(head: bytes, size: int) -> str | None:
    """The operator of the first node; None where the bytes are no GraphDef.

    ONNX begins with a number, a SavedModel too; Caffe2's first field is a text, as its name, and its operators hold no
    name before the kind.
    """
    if head[:1] != b"\x0a":
        return None
    length, at = _varint(head, 1)
    if not 0 < length <= size - at:
        return None
    end = at + length
    texts: dict[int, bytes] = {}
    for field in (1, 2):
        if head[at : at + 1] != bytes([field << 3 | 2]):
            return None
        count, at = _varint(head, at + 1)
        if not 0 < count <= min(MAX_NAME, end - at) or at + count > len(head):
            return None
        texts[field], at = head[at : at + count], at + count
    try:
        name, operator = texts[1].decode("ascii"), texts[2].decode("ascii")
    except UnicodeDecodeError:
        return None
    following = head[at : at + 1]
    fits = at >= end or not following or following in (b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a")
    plain = operator.replace("_", "a").replace(">", "a").isalnum() and (operator[0].isupper() or operator[0] == "_")
    return operator if name.isprintable() and plain and fits else None


def _varint(head: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; -1 where the bytes end first."""
    value = 0
    for place in range(10):
        if at + place >= len(head):
            return -1, len(head)
        byte = head[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    return -1, len(head)


IMPORTER = TensorFlowGraph()
