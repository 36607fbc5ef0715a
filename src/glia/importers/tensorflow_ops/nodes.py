"""A GraphDef in plain values: nodes with their attributes, from its bytes or from TF.js's JSON.

Source: https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework graph.proto, node_def.proto,
attr_value.proto, tensor.proto, tensor_shape.proto, types.proto, function.proto, op_def.proto.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.wire import Schema

MAX_NODES = 200_000
MAX_INPUTS = 20_000
MAX_RANK = 8

SCHEMA = Schema(
    "tensorflow",
    {
        "GraphDef": {"node": (1, "NodeDef*"), "versions": (4, "VersionDef"), "library": (2, "FunctionDefLibrary")},
        "VersionDef": {"producer": (1, "int32"), "min_consumer": (2, "int32")},
        "NodeDef": {
            "name": (1, "string"),
            "op": (2, "string"),
            "input": (3, "string*"),
            "device": (4, "string"),
            "attr": (5, "NodeAttr*"),
        },
        "NodeAttr": {"key": (1, "string"), "value": (2, "AttrValue")},
        "AttrValue": {
            "list": (1, "ListValue"),
            "s": (2, "bytes"),
            "i": (3, "int64"),
            "f": (4, "float"),
            "b": (5, "bool"),
            "type": (6, "int32"),
            "shape": (7, "TensorShapeProto"),
            "tensor": (8, "TensorProto"),
            "placeholder": (9, "string"),
            "func": (10, "NameAttrList"),
        },
        "ListValue": {
            "s": (2, "bytes*"),
            "i": (3, "int64+"),
            "f": (4, "float+"),
            "b": (5, "bool+"),
            "type": (6, "int32+"),
            "shape": (7, "TensorShapeProto*"),
            "func": (9, "NameAttrList*"),
        },
        "NameAttrList": {"name": (1, "string"), "attr": (2, "NodeAttr*")},
        "TensorShapeProto": {"dim": (2, "Dim*"), "unknown_rank": (3, "bool")},
        "Dim": {"size": (1, "int64"), "name": (2, "string")},
        "TensorProto": {
            "dtype": (1, "int32"),
            "tensor_shape": (2, "TensorShapeProto"),
            "version_number": (3, "int32"),
            "tensor_content": (4, "bytes"),
            "float_val": (5, "float+"),
            "double_val": (6, "double+"),
            "int_val": (7, "int32+"),
            "string_val": (8, "bytes*"),
            "int64_val": (10, "int64+"),
            "bool_val": (11, "bool+"),
            "half_val": (13, "int32+"),
            "uint32_val": (16, "uint32+"),
            "uint64_val": (17, "uint64+"),
        },
        "FunctionDefLibrary": {"function": (1, "FunctionDef*")},
        "FunctionDef": {"signature": (1, "OpDef"), "node_def": (3, "NodeDef*"), "ret": (4, "Ret*")},
        "Ret": {"key": (1, "string"), "value": (2, "string")},
        "OpDef": {"name": (1, "string"), "input_arg": (2, "ArgDef*"), "output_arg": (3, "ArgDef*")},
        "ArgDef": {"name": (1, "string"), "type": (3, "int32")},
    },
)

_NAMES = (
    "INVALID", "FLOAT", "DOUBLE", "INT32", "UINT8", "INT16", "INT8", "STRING", "COMPLEX64", "INT64", "BOOL", "QINT8",
    "QUINT8", "QINT32", "BFLOAT16", "QINT16", "QUINT16", "UINT16", "COMPLEX128", "HALF", "RESOURCE", "VARIANT",
    "UINT32", "UINT64",
)  # fmt: skip
DATA_TYPES = {name: number for number, name in enumerate(_NAMES)}
STRING, BOOL = DATA_TYPES["STRING"], DATA_TYPES["BOOL"]
_TYPE_NAMES = {number: name for name, number in DATA_TYPES.items()}

Source = tuple[str, int]
"""A tensor: the node that gives it, and which of its outputs it is."""


@dataclass(frozen=True)
class Node:
    """One operator. Attributes: int, float, bool, str; a type is an int, a shape a tuple (-1: open) or None (unknown
    rank), a list a list, a tensor what `numbers` decodes."""

    name: str
    op: str
    inputs: tuple[Source, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def renamed(self, op: str, inputs: Sequence[Source]) -> Node:
        """Another operator in its place."""
        return replace(self, op=op, inputs=tuple(inputs))


@dataclass(frozen=True)
class Shape:
    """A shape's sizes, -1 where open; None for an unknown rank. In a class, so that no list is taken for one."""

    sizes: tuple[int, ...] | None


def type_name(number: int) -> str:
    """DT_FLOAT's name, FLOAT, from its number; a reference's is that of what it refers to."""
    return _TYPE_NAMES.get(number - 100 if number > 100 else number, str(number))


def source(text: str) -> Source | None:
    """`name`, `name:1` to node and output; None for `^name`, which orders and carries nothing. Raises ImportFailed."""
    if text.startswith("^"):
        return None
    name, colon, number = text.rpartition(":")
    if not colon:
        return text, 0
    if not number.isdigit() or len(number) > 6 or not number.isascii():
        raise ImportFailed(f"Expected an input `name` or `name:output`, received {text[:200]!r}. The file is damaged.")
    return name, int(number)


def nodes_of(graph: Any, file: str) -> dict[str, Node]:
    """The nodes of a parsed GraphDef by name, in the file's order. Raises ImportFailed."""
    return _checked((_node(node) for node in graph.node), len(graph.node), file)


def nodes_of_json(topology: object, file: str) -> dict[str, Node]:
    """As `nodes_of`, of a GraphDef as JSON."""
    listed = topology.get("node") if isinstance(topology, dict) else None
    if not isinstance(listed, list):
        raise ImportFailed(
            f"{file}: expected a GraphDef with a list of nodes in `modelTopology`. It is no graph model."
        )
    return _checked((_json_node(node, file) for node in listed), len(listed), file)


def _checked(nodes: Any, count: int, file: str) -> dict[str, Node]:
    if not 0 < count <= MAX_NODES:
        raise ImportFailed(f"{file}: expected 1 to {MAX_NODES} nodes, received {count}.")
    found: dict[str, Node] = {}
    for node in nodes:
        if not node.name or not node.op or len(node.inputs) > MAX_INPUTS:
            raise ImportFailed(f"{file}: a node has no name, no operator or too many inputs. The file is damaged.")
        if node.name in found:
            raise ImportFailed(f"{file}: two nodes are called {node.name[:200]!r}. The file is damaged.")
        found[node.name] = node
    return found


def _node(node: Any) -> Node:
    inputs = tuple(one for one in map(source, map(plain_text, node.input)) if one is not None)
    return Node(plain_text(node.name), plain_text(node.op), inputs, plain_attributes(node.attr))


def plain_attributes(attr: Any) -> dict[str, Any]:
    """The attributes of a node, or of a function's, in plain values."""
    return {plain_text(entry.key): _attribute(entry.value) for entry in attr}


def plain_text(text: str | bytes) -> str:
    """A text of a message; bytes that are none come as bytes."""
    if isinstance(text, bytes):
        raise ImportFailed(f"A name of the graph is {text[:50]!r}, which is no text. The file is damaged.")
    return text


def _attribute(value: Any) -> Any:
    """An AttrValue in plain values; None for an empty one."""
    if value.HasField("s"):
        return value.s.decode("utf-8", "replace")
    for plain in ("i", "f", "b", "type", "tensor"):
        if value.HasField(plain):
            return getattr(value, plain)
    if value.HasField("shape"):
        return _shape(value.shape)
    if value.HasField("func"):
        return plain_text(value.func.name)
    if not value.HasField("list"):
        return None
    listed = value.list
    if listed.s:
        return [text.decode("utf-8", "replace") for text in listed.s]
    if listed.shape:
        return [_shape(shape) for shape in listed.shape]
    return next((list(getattr(listed, kind)) for kind in ("i", "f", "b", "type") if getattr(listed, kind)), [])


def _shape(shape: Any) -> Shape:
    if shape.unknown_rank:
        return Shape(None)
    return checked_shape([int(dim.size) for dim in shape.dim])


def checked_shape(sizes: Sequence[int]) -> Shape:
    """A shape that may be, -1 where open. Raises ImportFailed."""
    if len(sizes) > MAX_RANK or any(not -1 <= size < 1 << 31 for size in sizes):
        raise ImportFailed(f"A shape is {list(sizes)[:20]}, which cannot be. The file is damaged.")
    return Shape(tuple(sizes))


def _json_node(node: object, file: str) -> Node:
    if not isinstance(node, dict):
        raise ImportFailed(f"{file}: expected a node, received {str(node)[:100]}. The file is damaged.")
    name, op, inputs, attributes = (node.get(key) for key in ("name", "op", "input", "attr"))
    inputs, attributes = inputs or [], attributes or {}
    texts = isinstance(inputs, list) and all(isinstance(one, str) for one in inputs)
    if not isinstance(name, str) or not isinstance(op, str) or not texts or not isinstance(attributes, dict):
        raise ImportFailed(f"{file}: a node is {str(node)[:200]}, which cannot be. The file is damaged.")
    sources = tuple(one for one in map(source, inputs) if one is not None)
    return Node(name, op, sources, json_attributes(attributes, file))


def json_attributes(attributes: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The attributes of a node, or of a function's, in plain values. Raises ImportFailed."""
    try:
        return {key: _json_attribute(value) for key, value in attributes.items()}
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, OverflowError):
        raise ImportFailed(f"{file}: an attribute in {str(attributes)[:200]} cannot be read. It is damaged.") from None


def _json_attribute(value: Mapping[str, Any]) -> Any:
    """An AttrValue as proto3's JSON has it: base64 texts, integers as texts, types by name."""
    if not value:
        return None
    ((kind, held),) = value.items()
    if kind == "list":
        if not held:
            return []
        ((kind, entries),) = held.items()
        return [_json_plain(kind, entry) for entry in entries]
    return _json_plain(kind, held)


def _json_plain(kind: str, held: Any) -> Any:
    match kind:
        case "s":
            return _text(held)
        case "i":
            return int(held)
        case "f":
            return float(held)
        case "b":
            return bool(held)
        case "type":
            return _type(held)
        case "shape":
            return _json_shape(held)
        case "tensor":
            return dict(held)
        case "func":
            return str(held["name"])
    return None


def _text(held: object) -> str:
    """base64; old converters wrote the bytes as a list of numbers."""
    if isinstance(held, list):
        return bytes(held).decode("utf-8", "replace")
    if not isinstance(held, str):
        raise TypeError
    return base64.b64decode(held, validate=True).decode("utf-8", "replace")


def _type(held: object) -> int:
    return int(held) if isinstance(held, int) else DATA_TYPES[str(held).removeprefix("DT_").removesuffix("_REF")]


def _json_shape(held: Mapping[str, Any]) -> Shape:
    if held.get("unknownRank"):
        return Shape(None)
    return checked_shape([int(dim.get("size", 0)) for dim in held.get("dim", [])])


def json_tensor_type(held: Mapping[str, Any]) -> int:
    """The type of a tensor in JSON."""
    return _type(held.get("dtype", 0))
