"""Weights of networks for the browser: a manifest in JSON, and shards of raw numbers, quantised or not.

    [{"paths": [shard, ...], "weights": [{"name", "shape", "dtype", "quantization"?}, ...]}, ...]

The shards of a group, joined, hold its weights one after another, little-endian. Quantised ones are
`number * scale + min`, or half precision. TensorFlow.js, face-api and nsfwjs write this form.
Source: https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.importer import read_limited

MAX_JSON_BYTES = 64 << 20
MAX_BYTES = 2 << 30
MAX_ELEMENTS = 1 << 29
MAX_DIMENSIONS = 8
MAX_NUMBER = float(np.finfo(np.float32).max) / 2**17  # so that 16 bits times it, plus it, is finite
_DTYPES = {
    "float32": "<f4",
    "float16": "<f2",
    "int32": "<i4",
    "bool": "|u1",
    "uint8": "|u1",
    "int8": "|i1",
    "uint16": "<u2",
    "int16": "<i2",
}

Weights = dict[str, Shaped[np.ndarray, "..."]]


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """A JSON file. Raises ImportFailed for one that is too large, too deep, or none."""
    try:
        return json.loads(read_limited(path, max_bytes))
    except (ValueError, RecursionError) as error:
        raise ImportFailed(f"{path.name} is no JSON: {str(error)[:200]}. The file is damaged.") from None


def read_weights(manifest: object, files: Mapping[str, Path]) -> Weights:
    """Name to array; what was quantised becomes float32. `files`: the shards, by any key: their own names count.

    Raises ImportFailed for shards that are missing, too short or too long, and for shapes that cannot be.
    """
    by_name = {path.name: path for path in files.values()}
    found: Weights = {}
    for group in _list(manifest, "the manifest of weights"):
        paths, weights = (_list(_field(group, key), f"`{key}` of the manifest") for key in ("paths", "weights"))
        data = _joined([str(path) for path in paths], by_name)
        at = 0
        for spec in weights:
            name, array, at = _read(spec, data, at)
            if name in found:
                raise ImportFailed(f"The manifest names the weight {name[:200]!r} twice. The file is damaged.")
            found[name] = array
        if at != len(data):
            raise ImportFailed(f"{len(data) - at} bytes of {', '.join(map(str, paths))[:200]} belong to no weight.")
    return found


def _joined(paths: Sequence[str], by_name: Mapping[str, Path]) -> bytes:
    wanted = [PurePosixPath(path).name for path in paths]
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ImportFailed(f"The manifest names the files {missing[:20]}, which were not given. Give them all.")
    parts, left = [], MAX_BYTES
    for name in wanted:
        parts.append(read_limited(by_name[name], left))
        left -= len(parts[-1])
    return b"".join(parts)


def _read(spec: object, data: bytes, at: int) -> tuple[str, Shaped[np.ndarray, "..."], int]:
    """Name and array of the weight that begins at `at`, and where the next one begins."""
    name, shape = _field(spec, "name"), _shape(_field(spec, "shape"))
    if not isinstance(name, str):
        raise ImportFailed(f"Expected a name of each weight, received {str(name)[:100]}.")
    quantised = spec.get("quantization") if isinstance(spec, dict) else None
    kind = _field(quantised if quantised is not None else spec, "dtype")
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise ImportFailed(f"The weight {name[:200]!r} is of the type {str(kind)[:50]!r}; known are {sorted(_DTYPES)}.")
    dtype = np.dtype(_DTYPES[kind])
    end = at + prod(shape) * dtype.itemsize
    if end > len(data):
        raise ImportFailed(
            f"The weight {name[:200]!r} of shape {list(shape)} needs {end - at} bytes, {len(data) - at} are left. "
            "The file is damaged, or a shard is missing."
        )
    array = np.frombuffer(data, dtype, prod(shape), at).reshape(shape)
    if quantised is not None:
        array = array.astype(np.float32)
        if kind != "float16":
            scale, least = (_number(_field(quantised, key), key) for key in ("scale", "min"))
            array = np.asarray(array * np.float32(scale) + np.float32(least))  # of no axis: a number otherwise
    elif kind == "bool":
        array = array.astype(bool)
    return name, array, end


def _shape(value: object) -> tuple[int, ...]:
    sizes = _list(value, "a shape")
    right = all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in sizes)
    if not right or len(sizes) > MAX_DIMENSIONS or prod(max(1, size) for size in sizes) > MAX_ELEMENTS:
        raise ImportFailed(f"A weight has the shape {str(value)[:200]}, which cannot be. The file is damaged.")
    return tuple(sizes)


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        raise ImportFailed(f"Expected a number as `{what}` of a quantised weight, received {str(value)[:100]}.")
    return float(value)


def _field(value: object, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise ImportFailed(f"Expected an object with `{key}` in the manifest of weights, received {str(value)[:200]}.")
    return value[key]


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ImportFailed(f"Expected a list as {what}, received {str(value)[:200]}.")
    return value
