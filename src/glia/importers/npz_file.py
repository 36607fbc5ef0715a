"""`.npz`: a zip of arrays, each a `.npy` with a short head.

    \\x93NUMPY, version, length of the head, then the head: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }

The head is a Python literal; here it is matched, never evaluated.
Source: numpy.lib.format, the NPY format's specification.
"""

from __future__ import annotations

import re
import struct
from math import prod

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.zip_members import content, members

Array = Shaped[np.ndarray, "..."]
MAGIC = b"\x93NUMPY"
MAX_HEAD_BYTES = 1 << 16
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 1 << 29
_HEAD = re.compile(
    r"\{'descr':\s*'([<>|=])([fiub]\d)',\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(([0-9, L]*)\),?\s*\}\s*"
)


def read_npz(data: bytes) -> dict[str, Array]:
    """Name to array, in the order of the zip. Raises ImportFailed."""
    found = {}
    for name, member in members(data).items():
        found[name.removesuffix(".npy")] = read_npy(content(data, member), name)
    return found


def read_npy(data: bytes, name: str) -> Array:
    """One array. Raises ImportFailed."""
    if not data.startswith(MAGIC) or len(data) < 12 or data[6] not in (1, 2, 3):
        raise ImportFailed(f"{name[:200]!r} is no array of numpy. The file is damaged, or holds something else.")
    layout, begin = ("<H", 10) if data[6] == 1 else ("<I", 12)
    (size,) = struct.unpack_from(layout, data, 8)
    match = _HEAD.fullmatch(data[begin : begin + size].decode("latin-1")) if size <= MAX_HEAD_BYTES else None
    if match is None:
        raise ImportFailed(f"{name[:200]!r} is an array of something else than numbers, which is not read.")
    sizes = [part.strip().removesuffix("L") for part in match[4].split(",") if part.strip()]
    if len(sizes) > MAX_DIMENSIONS or any(not part.isdigit() or len(part) > 12 for part in sizes):
        raise ImportFailed(f"{name[:200]!r} has the shape ({match[4][:100]}), which cannot be.")
    shape = tuple(map(int, sizes))
    try:
        dtype = np.dtype(f"{match[1]}{match[2]}")
    except TypeError:
        raise ImportFailed(f"{name[:200]!r} is of the type {match[2]!r}, which is not read.") from None
    raw = data[begin + size :]
    if prod(max(one, 1) for one in shape) > MAX_ELEMENTS or len(raw) != prod(shape) * dtype.itemsize:
        raise ImportFailed(f"{name[:200]!r} of shape {list(shape)} has {len(raw)} bytes. The file is damaged.")
    array: Array = np.frombuffer(raw, "u1" if dtype.kind == "b" else dtype)
    array = array.reshape(shape, order="F" if match[3] == "True" else "C")
    array = array != 0 if dtype.kind == "b" else array.astype(dtype.newbyteorder("="))
    return np.ascontiguousarray(array).reshape(shape)
