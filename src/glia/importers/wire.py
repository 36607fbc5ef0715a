"""Protocol buffers whose schemas we declare ourselves: a message is a line of Python for each field that is read.

The classes live in a pool of their own, under a package of our own, so that a process which also imports the real
schemas (TensorFlow's, Caffe's) meets no clash. Unknown fields are skipped by the parser.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from glia.core.errors import ImportFailed

Fields = Mapping[str, tuple[int, str]]
"""Field to number and type: a scalar type of protobuf, a message's or an enum's name; `*` after it: repeated, `+`:
repeated and packed."""

_SCALARS = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "bool", "string", "bytes")
}


class Schema:
    """Messages of one format by name."""

    def __init__(
        self, package: str, messages: Mapping[str, Fields], enums: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        """`enums`: name to the numbers of its values."""
        file = descriptor_pb2.FileDescriptorProto(name=f"glia/{package}.proto", package=f"glia.{package}")
        for name, values in (enums or {}).items():
            # Each in a message of its own: the names of values are unique in what surrounds their enum.
            enum = file.message_type.add(name=f"{name}Values").enum_type.add(name=name)
            for value, number in values.items():
                enum.value.add(name=value, number=number)
        for name, fields in messages.items():
            message = file.message_type.add(name=name)
            for field, (number, kind) in fields.items():
                _declare(message, field, number, kind, package, enums or {})
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self._classes = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"glia.{package}.{name}"))
            for name in messages
        }

    def parse(self, message: str, data: bytes, file: str) -> Any:
        """A message from its bytes. Raises ImportFailed."""
        try:
            return self._classes[message].FromString(data)
        except (DecodeError, ValueError) as error:
            raise ImportFailed(f"{file}: its bytes are no {message} ({error}). The file is damaged.") from None

    def parse_text(self, message: str, text: str, file: str) -> Any:
        """A message from protobuf's text format; fields that are not declared are skipped. Raises ImportFailed."""
        try:
            return text_format.Parse(text, self._classes[message](), allow_unknown_field=True)
        except (text_format.ParseError, ValueError, RecursionError) as error:
            raise ImportFailed(f"{file}: its text is no {message} ({error}).") from None

    def new(self, message: str, **fields: Any) -> Any:
        """An empty message, or one with these fields: for tests that write files."""
        return self._classes[message](**fields)


def _declare(
    message: Any, field: str, number: int, kind: str, package: str, enums: Mapping[str, Mapping[str, int]]
) -> None:
    added = message.field.add(name=field, number=number)
    added.label = added.LABEL_REPEATED if kind[-1] in "*+" else added.LABEL_OPTIONAL
    if kind.endswith("+"):
        added.options.packed = True
    kind = kind.rstrip("*+")
    if kind in _SCALARS:
        added.type = _SCALARS[kind]
        return
    added.type = added.TYPE_ENUM if kind in enums else added.TYPE_MESSAGE
    added.type_name = f".glia.{package}.{kind}Values.{kind}" if kind in enums else f".glia.{package}.{kind}"
