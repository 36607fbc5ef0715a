"""TensorFlow.js layers models: a `model.json` with Keras' description of the network, and shards of weights.

    {"format": "layers-model", "modelTopology": {"model_config": {...}} or {"class_name", "config"},
     "weightsManifest": [{"paths", "weights"}]}

TensorFlow.js computes as Keras 2 does: hard_sigmoid is clip(0.2 x + 0.5), bilinear enlargements keep the corner.

Source: https://github.com/tensorflow/tfjs/blob/master/tfjs-layers/src/models.ts
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph, refuse_unknown
from glia.importers.keras_layers.configs import read_network
from glia.importers.keras_layers.network import build
from glia.importers.keras_layers.options import SHARED_OPTIONS
from glia.importers.keras_layers.origin import Origin
from glia.importers.keras_layers.stored import from_names
from glia.importers.labels import labels_of
from glia.importers.web_weights import read_json, read_weights

_MODEL = re.compile(rb'"model_config"|"class_name"|"format"\s*:\s*"layers-model"')


class TfjsLayers:
    """Options: `input_size` (sizes without the batch, where they are open), `outputs` (layers to end at)."""

    format = "tfjs-layers"

    def sniff(self, head: bytes, size: int) -> bool:
        """JSON with a topology in Keras' words."""
        begin = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
        if not begin.startswith(b"{") or re.search(rb'"format"\s*:\s*"graph-model"', head):
            return False
        if re.search(rb'"format"\s*:\s*"layers-model"', head):
            return True
        topology = re.search(rb'"modelTopology"\s*:\s*\{', head)
        return topology is not None and _MODEL.search(head, topology.end(), topology.end() + 4096) is not None

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, SHARED_OPTIONS)
        path, rest = self._model_file(files)
        whole = read_json(path)
        topology = whole.get("modelTopology") if isinstance(whole, dict) else None
        if not isinstance(topology, dict) or "weightsManifest" not in whole:
            raise ImportFailed(f"Expected `modelTopology` and `weightsManifest` in {path.name}. It is no layers model.")
        network = read_network(topology.get("model_config", topology))
        weights = from_names(network, read_weights(whole["weightsManifest"], files))
        where = Origin(str(topology.get("keras_version") or ""), "tensorflow", is_tfjs=True)
        graph = build(network, weights, where.scope, path.name, options)
        shape = graph.model.graph.output[0].type.tensor_type.shape.dim
        classes = shape[-1].dim_value if len(graph.model.graph.output) == 1 and shape else 0
        labels = labels_of(rest, classes)
        return {"model": replace(graph, known={"labels": labels} if labels else {})}

    def _model_file(self, files: Mapping[str, Path]) -> tuple[Path, list[Path]]:
        """The JSON, and all others."""
        found = []
        for path in files.values():
            try:
                with path.open("rb") as file:
                    if self.sniff(file.read(1 << 16), path.stat().st_size):
                        found.append(path)
            except OSError as error:
                raise ImportFailed(
                    f"{path.name} cannot be read: {error.strerror}. Check the path and its rights."
                ) from None
        if len(found) != 1:
            raise ImportFailed(f"Expected one model.json of a layers model, received {len(found)}.")
        return found[0], [path for path in files.values() if path != found[0]]


IMPORTER = TfjsLayers()
