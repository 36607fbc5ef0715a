"""Weights alone, with a manifest in JSON beside them: those of TensorFlow.js and face-api, and those of deeplearn.js.

    TensorFlow.js   [{"paths": [shard, ...], "weights": [{"name", "shape", "dtype", "quantization"?}, ...]}, ...]
    deeplearn.js    {name: {"filename": file of float32, "shape": [...]}, ...}

The network comes from the option `architecture`, or from the names of the weights where they are those of a known one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.architectures import architecture_of
from glia.importers.importer import ImportedGraph, read_limited
from glia.importers.web_weights import MAX_BYTES, MAX_ELEMENTS, Weights, read_json, read_weights

MAX_WEIGHTS = 100_000
_SHARDS = re.compile(rb'\s*\[\s*\{\s*"(?:paths|weights)"\s*:\s*\[')
_FILES = re.compile(rb'\s*\{\s*"[^"\\]{1,200}"\s*:\s*\{\s*"(?:filename|shape)"\s*:')


class WeightsManifest:
    """Manifests; options: `architecture`, and those of the architecture."""

    format = "weights-manifest"

    def sniff(self, head: bytes, size: int) -> bool:
        """The beginning of either manifest."""
        return bool(_SHARDS.match(head) or _FILES.match(head))

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        path, form = self._manifest(files)
        manifest = read_json(path)
        others = {key: other for key, other in files.items() if other != path}
        weights = read_weights(manifest, others) if form is _SHARDS else read_files(manifest, others)
        chosen = architecture_of(options.get("architecture"), weights)
        return {"model": chosen.build(weights, {key: options[key] for key in options if key != "architecture"})}

    def _manifest(self, files: Mapping[str, Path]) -> tuple[Path, re.Pattern[bytes]]:
        """The one file that is a manifest, and of which form."""
        found = []
        for path in files.values():
            try:
                with path.open("rb") as file:
                    head = file.read(1 << 12)
            except OSError as error:
                raise ImportFailed(f"{path.name} cannot be read: {error.strerror}. Check the path.") from None
            found += [(path, form) for form in (_SHARDS, _FILES) if form.match(head)]
        if len(found) != 1:
            raise ImportFailed(f"Expected one manifest of weights, received {len(found)} in {sorted(files)[:20]}.")
        return found[0]


def read_files(manifest: object, files: Mapping[str, Path]) -> Weights:
    """Name to array, of a manifest that names a file of float32 for each. Raises ImportFailed."""
    if not isinstance(manifest, dict) or len(manifest) > MAX_WEIGHTS:
        raise ImportFailed(f"Expected a manifest of at most {MAX_WEIGHTS} weights by name.")
    by_name, found, left = {path.name: path for path in files.values()}, Weights(), MAX_BYTES
    for name, entry in manifest.items():
        shape, file = (entry.get(key) if isinstance(entry, dict) else None for key in ("shape", "filename"))
        sizes: list[Any] = shape if isinstance(shape, list) else [None]
        if not isinstance(file, str) or not all(type(size) is int and 0 <= size <= MAX_ELEMENTS for size in sizes):
            raise ImportFailed(f"The manifest says of {name[:200]!r}: {str(entry)[:200]}; expected a file and a shape.")
        if prod(sizes) > MAX_ELEMENTS or len(sizes) > 8:
            raise ImportFailed(f"The weight {name[:200]!r} has the shape {sizes}, which cannot be.")
        path = by_name.get(PurePosixPath(file).name)
        if path is None:
            raise ImportFailed(f"The manifest names the file {file[:200]!r}, which was not given. Give them all.")
        data = read_limited(path, left)
        left -= len(data)
        if len(data) != 4 * prod(sizes):
            raise ImportFailed(f"{path.name} has {len(data)} bytes where {4 * prod(sizes)} make the shape {sizes}.")
        found[name] = np.frombuffer(data, "<f4").reshape(sizes)
    return found


IMPORTER = WeightsManifest()
