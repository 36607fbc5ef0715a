"""What an ONNX file says for the card: colours, size, names of classes; and who made it, on which terms.

The keys are those of Windows ML (`Image.BitmapPixelFormat`) and of exports that keep their classes (`names`, `imgsz`).
"""

from __future__ import annotations

import re
from typing import Any

import onnx

COLOURS = {"Bgr8": "bgr", "Rgb8": "rgb", "Gray8": "grey"}
TOLD = ("author", "license", "licence", "description")
MAX_TOLD = 300
MAX_NAMES_BYTES = 1 << 20
_NAME = re.compile(r"""\s*(\d{1,6})\s*:\s*(?:'([^'\\]{0,200})'|"([^"\\]{0,200})")\s*""")
_SIZE = re.compile(r"\[\s*(\d{1,5})\s*,\s*(\d{1,5})\s*\]")


def _names(text: str) -> tuple[str, ...] | None:
    """The values of `{0: 'cat', 1: 'dog'}`; None where the text is no such list, or leaves numbers out."""
    if len(text) > MAX_NAMES_BYTES or not (text.startswith("{") and text.endswith("}")):
        return None
    found, at, inner = list[str](), 0, text[1:-1]
    while at < len(inner):
        match = _NAME.match(inner, at)
        if match is None or int(match[1]) != len(found):
            return None
        found.append(match[2] if match[2] is not None else match[3])
        at = match.end()
        if at < len(inner) and inner[at] != ",":
            return None
        at += 1
    return tuple(found) or None


def known_of(model: onnx.ModelProto) -> dict[str, Any]:
    """Colour, size and labels, as far as the file tells."""
    told = {entry.key: entry.value for entry in model.metadata_props}
    found: dict[str, Any] = {}
    if colour := COLOURS.get(told.get("Image.BitmapPixelFormat", "")):
        found["colour"] = colour
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) == 1:
        dims = inputs[0].type.tensor_type.shape.dim
        if len(dims) == 4 and dims[1].dim_value in (1, 3) and dims[2].dim_value > 0 and dims[3].dim_value > 0:
            found["size"] = (int(dims[2].dim_value), int(dims[3].dim_value))
    if "size" not in found and (match := _SIZE.fullmatch(told.get("imgsz", ""))):
        found["size"] = (int(match[1]), int(match[2]))
    if labels := _names(told.get("names", "")):
        found["labels"] = labels
    return found


def told_by(model: onnx.ModelProto) -> list[str]:
    """Notes for people: author, terms, description."""
    told = {entry.key.lower(): entry.value for entry in model.metadata_props}
    return [f"{key}: {told[key][:MAX_TOLD]}" for key in TOLD if told.get(key, "").isprintable() and told.get(key)]
