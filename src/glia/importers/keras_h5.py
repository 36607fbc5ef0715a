"""Keras 1, 2 and 3 in HDF5: whole models; weights beside a model's JSON; weights of a network that is named.

    model.h5                     attributes `model_config`, `keras_version`, `backend`; group `model_weights`
    model.json + weights.h5      `model.to_json()` and `model.save_weights()`
    weights.h5                   with the option `architecture`

Source: keras/models.py and keras/engine/topology.py of Keras 1.2.2 and 2.3.1; keras/src/legacy/saving of Keras 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.architectures import architecture
from glia.importers.importer import ImportedGraph, read_limited, refuse_unknown
from glia.importers.keras_layers.configs import read_network
from glia.importers.keras_layers.hdf5 import MAGIC, Group, read_hdf5
from glia.importers.keras_layers.network import build
from glia.importers.keras_layers.options import SHARED_OPTIONS
from glia.importers.keras_layers.origin import origin
from glia.importers.keras_layers.stored import Stored, deal, from_hdf5, from_vars
from glia.importers.labels import labels_of
from glia.importers.web_weights import MAX_JSON_BYTES, read_json

OPTIONS = SHARED_OPTIONS | {"backend", "architecture"}


class KerasH5:
    """Options: `input_size` (sizes without the batch, where the file leaves them open), `outputs` (layers to end at),
    `backend` (what trained it, where the file does not tell: `theano` turns kernels), `architecture` (for weights
    without a network).
    """

    format = "keras-h5"

    def sniff(self, head: bytes, size: int) -> bool:
        """HDF5's magic number: no other format of this room lies in HDF5."""
        return head.startswith(MAGIC)

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        stores, others = _sorted(files)
        if len(stores) != 1:
            raise ImportFailed(f"Expected one HDF5 file, received {len(stores)}: {[path.name for path in stores]}.")
        root = read_hdf5(stores[0], stores[0].name, skipped=("optimizer_weights",))
        config, rest = _config(root, others)
        if config is None:
            chosen = architecture(options.get("architecture"))
            arrays = {name: array for pairs in from_hdf5(root).groups.values() for name, array in pairs}
            return {"model": chosen.build(arrays, {key: options[key] for key in options if key != "architecture"})}
        refuse_unknown(options, OPTIONS)
        if "architecture" in options:
            raise ImportFailed("The file holds a network of its own: leave out the option `architecture`.")
        network = read_network(config)
        stored: Stored | None = None
        if "layers" in root.groups and "layer_names" not in root.attributes and "model_weights" not in root.groups:
            weights = from_vars(network, root)
            config = {"keras_version": "3.0"} | config
        else:
            stored = from_hdf5(root)
            weights = deal(network, stored)
        version = config.get("keras_version") or root.attributes.get("keras_version")
        where = origin(version, config.get("backend") or root.attributes.get("backend"), stored, options)
        graph = build(network, weights, where.scope, stores[0].name, options)
        notes = (*graph.notes, *(stored.notes if stored else ()))
        labels = labels_of(rest, classes_of(graph))
        return {"model": replace(graph, notes=notes, known={"labels": labels} if labels else {})}


def classes_of(graph: ImportedGraph) -> int | None:
    """The last size of the only output."""
    outputs = graph.model.graph.output
    if len(outputs) != 1 or not outputs[0].type.tensor_type.shape.dim:
        return None
    return outputs[0].type.tensor_type.shape.dim[-1].dim_value or None


def _sorted(files: Mapping[str, Path]) -> tuple[list[Path], list[Path]]:
    """HDF5 files, and the others."""
    stores: list[Path] = []
    others: list[Path] = []
    for path in files.values():
        try:
            with path.open("rb") as file:
                (stores if file.read(len(MAGIC)) == MAGIC else others).append(path)
        except OSError as error:
            raise ImportFailed(
                f"{path.name} cannot be read: {error.strerror}. Check the path and its rights."
            ) from None
    return stores, others


def _config(root: Group, others: list[Path]) -> tuple[dict[str, Any] | None, list[Path]]:
    """The JSON of the network, from the HDF5 file or a file beside it; and the files that are something else."""
    text = root.attributes.get("model_config")
    if isinstance(text, str):
        return _model(_parsed(text, "model_config")), others
    found, rest = None, []
    for path in others:
        value = None
        if read_limited(path, MAX_JSON_BYTES).lstrip()[:1] in (b"{", b'"'):
            value = _model(read_json(path))
        if value is None:
            rest.append(path)
        elif found is not None:
            raise ImportFailed("Two files describe a network. Give one.")
        else:
            found = value
    return found, rest


def _model(value: object) -> dict[str, Any] | None:
    """The description of a model in a JSON value, which may hold it as text; None where there is none."""
    if isinstance(value, str):
        value = _parsed(value, "the network's JSON")
    if isinstance(value, dict) and isinstance(value.get("keras_model"), str):
        value = _parsed(value["keras_model"], "keras_model")
    if not isinstance(value, dict) or not ("class_name" in value or "layers" in value):
        return None
    return value


def _parsed(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImportFailed(f"{what} is no JSON: {str(error)[:200]}. The file is damaged.") from None


IMPORTER = KerasH5()
