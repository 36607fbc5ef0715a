"""Theano and Lasagne: arrays in the order of `get_all_param_values`, as a pickle or as `.npz`, and no network.

The network comes from the option `architecture`. Its keys are `arr_0`, `arr_1`, ... A mean image of Caffe beside the
weights (`mean.binaryproto`) becomes the key `mean`; a list of classes the card's labels.

Source: https://lasagne.readthedocs.io/en/latest/modules/layers/helper.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.architectures import architecture
from glia.importers.importer import ImportedGraph, read_limited
from glia.importers.labels import labels_of
from glia.importers.npz_file import read_npz
from glia.importers.numpy_pickle import arrays_in, read_pickle
from glia.importers.wire import Schema

MAX_FILE_BYTES = 2 << 30
MAX_MEAN_BYTES = 64 << 20
HEAD_BYTES = 1 << 16
NEAR_BYTES = 1 << 12
PARAMETER_KEYS = ("param values", "param_values", "params", "values", "weights")
RECONSTRUCT = (b"numpy.core.multiarray", b"numpy._core.multiarray", b"CudaNdarray_unpickler")
ZIP_MAGIC = b"PK\x03\x04"
MEAN = Schema(
    "theano_mean",
    {
        "Blob": {
            "num": (1, "int32"),
            "channels": (2, "int32"),
            "height": (3, "int32"),
            "width": (4, "int32"),
            "data": (5, "float+"),
        }
    },
)


class Theano:
    """The options but `architecture` are the architecture's own."""

    format = "theano"

    def sniff(self, head: bytes, size: int) -> bool:
        """A pickle that begins with an array of numpy, or a zip that begins with one."""
        if head.startswith(ZIP_MAGIC):
            name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
            return name.endswith(b".npy")
        is_pickle = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
        return (is_pickle or head[:2] in (b"(l", b"(d", b"c\n", b"]q", b"cn")) and any(
            name in head[:NEAR_BYTES] for name in RECONSTRUCT
        )

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        chosen = architecture(options.get("architecture"))
        path, others = self._weights_file(files)
        arrays = _arrays(read_limited(path, MAX_FILE_BYTES))
        weights = {f"arr_{number}": array for number, array in enumerate(arrays)}
        rest = []
        for other in others:
            mean = _mean(other)
            if mean is None:
                rest.append(other)
            else:
                weights["mean"] = mean
        graph = chosen.build(weights, {key: options[key] for key in options if key != "architecture"})
        outputs = graph.model.graph.output
        dims = outputs[0].type.tensor_type.shape.dim
        labels = labels_of(rest, dims[-1].dim_value if len(outputs) == 1 and dims else None)
        return {"model": replace(graph, known={**graph.known, **({"labels": labels} if labels else {})})}

    def _weights_file(self, files: Mapping[str, Path]) -> tuple[Path, list[Path]]:
        found = []
        for path in files.values():
            try:
                with path.open("rb") as file:
                    if self.sniff(file.read(HEAD_BYTES), path.stat().st_size):
                        found.append(path)
            except OSError as error:
                raise ImportFailed(
                    f"{path.name} cannot be read: {error.strerror}. Check the path and its rights."
                ) from None
        if len(found) != 1:
            raise ImportFailed(f"Expected one file of arrays (a pickle or .npz), received {len(found)}.")
        return found[0], [path for path in files.values() if path != found[0]]


def _arrays(data: bytes) -> list[Shaped[np.ndarray, "..."]]:
    """The arrays in their order; `arr_10` comes after `arr_9`."""
    if data.startswith(ZIP_MAGIC):
        found = read_npz(data)
        numbered = all(name.removeprefix("arr_").isdigit() for name in found)
        names = sorted(found, key=lambda name: int(name.removeprefix("arr_"))) if numbered else list(found)
        return [found[name] for name in names]
    value = read_pickle(data)
    if isinstance(value, dict):
        inside = next((value[key] for key in PARAMETER_KEYS if key in value), None)
        if inside is None:
            raise ImportFailed(
                f"Expected a list of arrays, or one under {list(PARAMETER_KEYS)}; received a dict of "
                f"{[str(key)[:50] for key in value][:20]}. Save lasagne.layers.get_all_param_values(network)."
            )
        value = inside
    return arrays_in(value)


def _mean(path: Path) -> Shaped[np.ndarray, "c h w"] | None:
    """A mean image of Caffe, channels first, in its order of colours; None where a file is something else."""
    data = read_limited(path, MAX_MEAN_BYTES)
    if not data.startswith(b"\x08\x01\x10"):
        return None
    blob = MEAN.parse("Blob", data, path.name)
    shape = (blob.channels, blob.height, blob.width)
    if min(shape) < 1 or prod(shape) != len(blob.data):
        raise ImportFailed(f"{path.name}: a mean image of {list(shape)} with {len(blob.data)} numbers. It is damaged.")
    return np.array(blob.data, np.float32).reshape(shape)


IMPORTER = Theano()
