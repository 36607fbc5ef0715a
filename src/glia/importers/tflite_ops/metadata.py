"""What a TFLite file says for the card: names of classes, how pictures are normalised.

Its metadata is a FlatBuffer in one of the buffers; the files that it names are a zip after the network's last byte.

Source: metadata_schema.fbs of TensorFlow Lite Support, version 1.1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.flatbuffer import Table, root
from glia.importers.tflite_ops.model import Model, Tensor
from glia.importers.zip_members import content, members

KEY, IDENTIFIER = "TFLITE_METADATA", b"M001"
NORMALISATION, IMAGE = 1, 2
COLOURS = {1: "rgb", 2: "grey"}
LABELS = (2, 3)
MAX_LABELS_BYTES = 1 << 22


def labels_of(text: bytes) -> tuple[str, ...] | None:
    """A name of a class in each line; None where the bytes are no such list."""
    if not 0 < len(text) <= MAX_LABELS_BYTES or b"\0" in text:
        return None
    try:
        lines = text.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(line.strip() for line in lines)


def described(model: Model, data: bytes) -> dict[str, Any]:
    """What the metadata says: labels, mean, std, colour; nothing where it is damaged or absent."""
    buffer = model.metadata.get(KEY)
    if buffer is None or bytes(buffer[4:8]) != IDENTIFIER:
        return {}
    try:
        graphs = root(buffer, "its metadata").tables(3)
        if not graphs:
            return {}
        inputs, outputs = graphs[0].tables(2), graphs[0].tables(3)
        found = _picture(inputs[0]) if len(inputs) == 1 else {}
        names = [file.text(0) for output in outputs for file in output.tables(6) if file.number(2, "<b") in LABELS]
        labels = _packed(data, names[0]) if names else None
        return found | ({"labels": labels} if labels else {})
    except ImportFailed:
        return {}


def _picture(table: Table) -> dict[str, Any]:
    """Mean and standard deviation of 0..255, and the order of colours."""
    found: dict[str, Any] = {}
    shown = table.table(3)
    if shown is not None and shown.number(0, "<B") == IMAGE and (image := shown.table(1)) is not None:
        colour = COLOURS.get(image.number(0, "<b"))
        found |= {"colour": colour} if colour else {}
    for unit in table.tables(4):
        options = unit.table(1)
        if unit.number(0, "<B") != NORMALISATION or options is None:
            continue
        for key, field in (("mean", 0), ("std", 1)):
            values = options.numbers(field, "<f4")
            if values is not None and values.size in (1, 3) and np.isfinite(values).all():
                found[key] = tuple(float(value) for value in np.broadcast_to(values, 3))
    return found


def _packed(data: bytes, name: str) -> tuple[str, ...] | None:
    """The labels in the zip at the file's end."""
    member = members(data).get(name)
    return labels_of(content(data, member)) if member is not None and member.size <= MAX_LABELS_BYTES else None


def picture(tensors: Sequence[Tensor]) -> dict[str, Any]:
    """What the one input itself says, where it is a picture: its size; of raw pixels also how they are meant."""
    if len(tensors) != 1 or len(tensors[0].shape) != 4 or tensors[0].shape[3] not in (1, 3):
        return {}
    tensor = tensors[0]
    found: dict[str, Any] = {}
    if min(tensor.signature[1:3]) > 0:
        found["size"] = tensor.shape[1:3]
    if tensor.kind == "uint8" and tensor.quantised is not None and tensor.shape[3] == 3:
        found["mean"] = (float(tensor.quantised.zero[0]),) * 3
        found["std"] = (float(1 / tensor.quantised.scale[0]),) * 3
    return found
