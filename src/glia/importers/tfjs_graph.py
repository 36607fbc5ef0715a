"""TensorFlow.js's graph models: a GraphDef as JSON, its constants in shards of raw numbers beside it.

    model.json    {"format": "graph-model", "signature", "modelTopology": GraphDef, "weightsManifest": [...]}
    shards        the constants one after another, quantised or not

The converter fuses convolutions with what follows them; else it is what a frozen graph holds.
Source: https://github.com/tensorflow/tfjs/blob/master/tfjs-converter/README.md and
tfjs-core/src/io/types.ts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph, read_limited, refuse_unknown
from glia.importers.tensorflow_ops.functions import functions_of_json
from glia.importers.tensorflow_ops.labels import MAX_LABEL_BYTES, head_of, labels_of, with_labels
from glia.importers.tensorflow_ops.network import OPTIONS, import_network
from glia.importers.tensorflow_ops.nodes import nodes_of_json
from glia.importers.tensorflow_ops.walk import Network, Signature
from glia.importers.web_weights import read_json, read_weights

FORMAT_KEY = re.compile(rb'"format"\s*:\s*"([a-z-]*)"')
TOPOLOGY_KEY = re.compile(rb'"modelTopology"\s*:\s*\{\s*"(?:node|library|versions)"')
FROZEN_NAME = re.compile(rb'"name"\s*:\s*"[^"]*(?:ReadVariableOp|StatefulPartitionedCall)')


class TensorFlowJsGraph:
    """model.json with its shards; a text file with the labels, a line each, may come along."""

    format = "tfjs-graph"

    def sniff(self, head: bytes, size: int) -> bool:
        """JSON that says so, or whose topology or names are those of a graph."""
        if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"{":
            return False
        said = FORMAT_KEY.search(head)
        if said is not None and said[1] in (b"graph-model", b"layers-model"):
            return said[1] == b"graph-model"
        if TOPOLOGY_KEY.search(head):
            return True
        return b'"weightsManifest"' in head and b'"model_config"' not in head and FROZEN_NAME.search(head) is not None

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, OPTIONS)
        models = {key: path for key, path in files.items() if self.sniff(head_of(path), path.stat().st_size)}
        if len(models) != 1:
            raise ImportFailed(f"Expected one model.json of a graph model with its shards, received {sorted(files)}.")
        ((key, path),) = models.items()
        whole = read_json(path)
        if not isinstance(whole, dict):
            raise ImportFailed(f"{path.name}: expected an object, received a {type(whole).__name__}.")
        nodes = nodes_of_json(whole.get("modelTopology"), path.name)
        rest = {name: file for name, file in files.items() if name != key}
        values = read_weights(whole.get("weightsManifest"), rest)
        functions = functions_of_json(whole.get("modelTopology"), path.name)
        network = Network(nodes, path.name, values, _signature(whole, path.name), functions=functions)
        found = import_network(network, options)
        labels = _labels(rest, whole)
        return {"model": with_labels(found, labels) if labels else found}


def _signature(whole: Mapping[str, Any], file: str) -> Signature:
    """What the model says it takes and gives; nothing where it says nothing."""
    more = whole.get("userDefinedMetadata")
    said = whole.get("signature") or (more.get("signature") if isinstance(more, dict) else None)
    if said is None:
        return Signature()
    return Signature(*(_tensor_names(said, key, file) for key in ("inputs", "outputs")))


def _tensor_names(signature: object, key: str, file: str) -> list[str]:
    tensors = signature.get(key) if isinstance(signature, dict) else None
    found = []
    for name, entry in tensors.items() if isinstance(tensors, dict) else ():
        tensor = entry.get("name", name) if isinstance(entry, dict) else name
        if not isinstance(tensor, str):
            raise ImportFailed(f"{file}: the {key} of its signature are {str(tensors)[:200]}. The file is damaged.")
        found.append(tensor)
    return found


def _labels(files: Mapping[str, Path], whole: Mapping[str, Any]) -> list[str]:
    """Those of the one file that is no shard. Raises ImportFailed for files that are neither."""
    shards = {Path(str(shard)).name for group in whole["weightsManifest"] for shard in group["paths"]}
    others = [path for path in files.values() if path.name not in shards]
    if not others:
        return []
    labels = labels_of(read_limited(others[0], MAX_LABEL_BYTES))
    if len(others) > 1 or not labels:
        raise ImportFailed(f"{[path.name for path in others]} are neither shards nor a list of labels. Leave them out.")
    return labels


IMPORTER = TensorFlowJsGraph()
