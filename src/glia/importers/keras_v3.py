"""`.keras`: the zip of Keras 3 (and of tf.keras from 2.12 on).

    metadata.json       {"keras_version": ...}
    config.json         the model as JSON
    model.weights.h5    its arrays, in groups that nest as the layers do

Source: keras/src/saving/saving_lib.py of Keras 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph, only_file, read_limited, refuse_unknown
from glia.importers.keras_layers.configs import read_network
from glia.importers.keras_layers.hdf5 import read_hdf5
from glia.importers.keras_layers.network import build
from glia.importers.keras_layers.options import SHARED_OPTIONS
from glia.importers.keras_layers.origin import origin
from glia.importers.keras_layers.stored import from_vars
from glia.importers.zip_members import Member, content, members

MAX_FILE_BYTES = 2 << 30
MAX_JSON_BYTES = 64 << 20
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", ("model.weights.h5", "variables.h5")
ZIP_MAGIC = b"PK\x03\x04"


class KerasV3:
    """Options: `input_size` (sizes without the batch, where they are open), `outputs` (layers to end at)."""

    format = "keras-v3"

    def sniff(self, head: bytes, size: int) -> bool:
        """A zip that begins with one of the members, of which Keras' own words lie near."""
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        if not head.startswith(ZIP_MAGIC):
            return False
        told = b"keras_version" in head or b'"class_name"' in head
        return (name in (METADATA.encode(), CONFIG.encode()) and told) or name in [part.encode() for part in WEIGHTS]

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, SHARED_OPTIONS)
        path = only_file(files, self.format)
        data = read_limited(path, MAX_FILE_BYTES)
        found = members(data)
        network = read_network(_json(data, found, CONFIG))
        metadata = _json(data, found, METADATA) if METADATA in found else {}
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        name = next((part for part in WEIGHTS if part in found), None)
        if name is None:
            raise ImportFailed(f"Expected {WEIGHTS[0]} in {path.name}, found {sorted(found)[:20]}.")
        weights = from_vars(network, read_hdf5(content(data, found[name]), name, skipped=("optimizer",)))
        where = origin(version or "3.0", None, None, {})
        return {"model": build(network, weights, where.scope, path.name, options)}


def _json(data: bytes, found: Mapping[str, Member], name: str) -> object:
    if name not in found:
        raise ImportFailed(f"Expected {name} in the zip, found {sorted(found)[:20]}. It is no file of model.save().")
    if found[name].size > MAX_JSON_BYTES:
        raise ImportFailed(f"{name} has {found[name].size} bytes, expected at most {MAX_JSON_BYTES}.")
    try:
        return json.loads(content(data, found[name]))
    except (ValueError, RecursionError) as error:
        raise ImportFailed(f"{name} is no JSON: {str(error)[:200]}. The file is damaged.") from None


IMPORTER = KerasV3()
