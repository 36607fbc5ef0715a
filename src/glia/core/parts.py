"""Requests and answers as plain JSON plus a row of byte buffers, so that media cross process borders uncopied.

`split` takes the media out of a value and leaves `{"$part": i, "type": ...}` in their place; `join` puts them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from glia.core.fields import Media

MARKS = {"$part", "$plain"}
"""Keys with a meaning here; data that has them itself is wrapped in `$plain`, so that nobody's JSON names a buffer."""

Buffer = bytes | bytearray | memoryview


def split(value: Any) -> tuple[Any, list[Buffer]]:
    """A value made of models, lists, dicts, scalars and media, as JSON and its buffers."""
    buffers: list[Buffer] = []

    def walk(item: Any) -> Any:
        if isinstance(item, Media):
            buffers.append(item.data)
            return {"$part": len(buffers) - 1, "type": item.content_type, "name": item.name}
        if isinstance(item, BaseModel):
            return {name: walk(getattr(item, name)) for name in type(item).model_fields}
        if isinstance(item, dict):
            plain = {key: walk(inner) for key, inner in item.items()}
            return {"$plain": plain} if MARKS & plain.keys() else plain
        if isinstance(item, list | tuple):
            return [walk(inner) for inner in item]
        return item

    return walk(value), buffers


def join(value: Any, buffers: Sequence[Buffer], media: type[Media] = Media) -> Any:
    """The inverse: places become media again (of class `media`, which fields of a narrower type convert)."""
    if isinstance(value, dict):
        if "$plain" in value:
            return {key: join(inner, buffers, media) for key, inner in value["$plain"].items()}
        if "$part" in value:
            data = buffers[value["$part"]]
            return media(data if isinstance(data, bytes) else bytes(data), value.get("type"), value.get("name"))
        return {key: join(inner, buffers, media) for key, inner in value.items()}
    if isinstance(value, list):
        return [join(inner, buffers, media) for inner in value]
    return value
