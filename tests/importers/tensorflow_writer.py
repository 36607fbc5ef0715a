"""A writer of frozen graphs, for networks that tests make themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glia.importers.tensorflow_ops.nodes import SCHEMA

FLOAT, DOUBLE, INT32, UINT8, STRING, INT64, BOOL, HALF = 1, 2, 3, 4, 7, 9, 10, 19
_TYPES = {"f4": FLOAT, "f8": DOUBLE, "i4": INT32, "u1": UINT8, "i8": INT64, "b1": BOOL, "f2": HALF}


class Type(int):
    """A number that is a type."""


class Function(str):
    """The name of a function, as an attribute."""


def type_of(value: np.ndarray) -> Type:
    """Its number in TensorFlow."""
    return Type(_TYPES[value.dtype.str[1:]])


class Frozen:
    """Collects nodes; arrays among the inputs become constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.functions: list[Any] = []

    def input(self, name: str, value: np.ndarray, shape: Sequence[int] | None = None, op: str = "Placeholder") -> str:
        """A placeholder, and what it is fed with; `shape`: where it is declared as another, -1 for an open size."""
        value = np.asarray(value)
        self.inputs[name] = value
        declared = tuple(shape if shape is not None else value.shape)
        return self.node(name, op, dtype=type_of(value), shape=declared)

    def constant(self, name: str, value: np.ndarray) -> str:
        """A constant with all its bytes."""
        value = np.asarray(value)
        return self.node(name, "Const", dtype=type_of(value), value=tensor(value))

    def node(self, name: str, op: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        """An operator; an attribute's type follows from its value's."""
        names = []
        for index, one in enumerate(inputs):
            names.append(one if isinstance(one, str) else self.constant(f"{name}/{index}", one))
        attr = [SCHEMA.new("NodeAttr", key=key, value=attribute(value)) for key, value in sorted(attributes.items())]
        self.nodes.append(SCHEMA.new("NodeDef", name=name, op=op, input=names, attr=attr))
        return name

    def bytes(self, producer: int = 175) -> bytes:
        """The file."""
        versions = SCHEMA.new("VersionDef", producer=producer)
        library = SCHEMA.new("FunctionDefLibrary", function=self.functions)
        whole = SCHEMA.new("GraphDef", node=self.nodes, versions=versions, library=library)
        return bytes(whole.SerializeToString(deterministic=True))

    def function(
        self, name: str, arguments: Sequence[tuple[str, Type]], results: Sequence[tuple[str, Type]], body: Frozen
    ) -> None:
        """A function; `results`: what it gives, as `node:output:index`, and its type."""
        takes = [SCHEMA.new("ArgDef", name=argument, type=kind) for argument, kind in arguments]
        gives = [SCHEMA.new("ArgDef", name=f"r{index}", type=kind) for index, (_, kind) in enumerate(results)]
        ret = [SCHEMA.new("Ret", key=f"r{index}", value=source) for index, (source, _) in enumerate(results)]
        signature = SCHEMA.new("OpDef", name=name, input_arg=takes, output_arg=gives)
        self.functions.append(SCHEMA.new("FunctionDef", signature=signature, node_def=body.nodes, ret=ret))


def tensor(value: np.ndarray) -> Any:
    """A TensorProto."""
    kind = type_of(value)
    shape = SCHEMA.new("TensorShapeProto", dim=[SCHEMA.new("Dim", size=size) for size in value.shape])
    content = {"bool_val": value.ravel().tolist()} if kind == BOOL else {"tensor_content": value.tobytes()}
    return SCHEMA.new("TensorProto", dtype=kind, tensor_shape=shape, **content)


def attribute(value: Any) -> Any:
    """An AttrValue: tuples are shapes, lists lists."""
    if isinstance(value, bool):
        return SCHEMA.new("AttrValue", b=value)
    if isinstance(value, Type):
        return SCHEMA.new("AttrValue", type=value)
    if isinstance(value, int):
        return SCHEMA.new("AttrValue", i=value)
    if isinstance(value, float):
        return SCHEMA.new("AttrValue", f=value)
    if isinstance(value, Function):
        return SCHEMA.new("AttrValue", func=SCHEMA.new("NameAttrList", name=value))
    if isinstance(value, str):
        return SCHEMA.new("AttrValue", s=value.encode())
    if isinstance(value, tuple):
        dims = [SCHEMA.new("Dim", size=size) for size in value]
        return SCHEMA.new("AttrValue", shape=SCHEMA.new("TensorShapeProto", dim=dims))
    if isinstance(value, list):
        first = value[0] if value else 0
        kind = "s" if isinstance(first, str) else "type" if isinstance(first, Type) else "i"
        listed = [one.encode() if isinstance(one, str) else one for one in value]
        return SCHEMA.new("AttrValue", list=SCHEMA.new("ListValue", **{kind: listed}))
    return SCHEMA.new("AttrValue", tensor=value)
