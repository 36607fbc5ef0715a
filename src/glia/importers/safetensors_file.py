"""Safetensors: a header in JSON, then the numbers of all tensors without a gap.

    u64 length of the header, {"name": {"dtype", "shape", "data_offsets": [from, to]}, ..., "__metadata__"?}, bytes

There is no network in it: that comes from the option `architecture`, or from the names of the weights.

Source: https://github.com/huggingface/safetensors, its README.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.architectures import architecture_of
from glia.importers.importer import ImportedGraph, only_file, read_limited

MAX_FILE_BYTES = 4 << 30
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_TENSORS = 100_000
MAX_RANK = 16
METADATA = "__metadata__"
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "u1",
}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are met once: readers would differ on which of two counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is met twice")
    return found


def read_safetensors(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Name to array; bfloat16 becomes float32, other types stay. Raises ImportFailed."""
    data = read_limited(path, MAX_FILE_BYTES)
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ImportFailed(f"{path.name}: its header would have {length} bytes of {len(data)}. The file is cut short.")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ImportFailed(f"{path.name}: its header is no JSON: {str(error)[:200]}. The file is damaged.") from None
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise ImportFailed(f"{path.name}: expected a header of at most {MAX_TENSORS} tensors. The file is damaged.")
    numbers, found, places = memoryview(data)[8 + length :], {}, []
    for name, entry in header.items():
        if name != METADATA:
            found[name], start, end = _tensor(path.name, name, entry, numbers)
            places.append((start, end))
    at = 0
    for start, end in sorted(places):
        if start != at:
            raise ImportFailed(
                f"{path.name}: a tensor begins at byte {start} where {at} was expected: gaps or overlaps."
            )
        at = end
    if at != len(numbers):
        raise ImportFailed(f"{path.name}: {len(numbers) - at} bytes belong to no tensor. The file is damaged.")
    return found


def _tensor(file: str, name: str, entry: object, numbers: memoryview) -> tuple[Shaped[np.ndarray, "..."], int, int]:
    """The array, and where it begins and ends."""
    fields = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    known = isinstance(kind, str) and kind in DTYPES
    right = _counts(shape) and _counts(offsets) and len(offsets or ()) == 2 and len(shape or ()) <= MAX_RANK
    if not known or not right:
        raise ImportFailed(f"{file}: it says of {name[:200]!r} {str(entry)[:200]}, which cannot be read.")
    assert isinstance(kind, str)
    (start, end), dtype = offsets or (0, 0), np.dtype(DTYPES[kind])
    if not 0 <= start <= end <= len(numbers) or end - start != prod(shape or ()) * dtype.itemsize:
        raise ImportFailed(
            f"{file}: {name[:200]!r}, {kind} of shape {shape}, lies at bytes {start} to {end} of {len(numbers)}."
        )
    array = np.frombuffer(numbers[start:end], dtype).reshape(shape or ())
    if kind == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return (array != 0 if kind == "BOOL" else array), start, end


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 48 for size in value)


class Safetensors:
    """Safetensors; options: `architecture`, and those of the architecture."""

    format = "safetensors"

    def sniff(self, head: bytes, size: int) -> bool:
        """A header that lies in the file and begins as an object."""
        length = int.from_bytes(head[:8], "little")
        return 2 <= length <= min(MAX_HEADER_BYTES, size - 8) and head[8:10] in (b'{"', b"{}")

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        weights = read_safetensors(only_file(files, self.format))
        chosen = architecture_of(options.get("architecture"), weights)
        return {"model": chosen.build(weights, {key: options[key] for key in options if key != "architecture"})}


IMPORTER = Safetensors()
