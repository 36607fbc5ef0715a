"""Which of the files is what: texts of networks, caffemodels, mean pictures, labels, weights in other forms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.network import Network, all_layers, read_network
from glia.importers.caffe_layers.schema import CAFFE, text
from glia.importers.caffe_layers.weights import CodedWeights, NoWeights, ProtoWeights, RawWeights, Weights, read_blob
from glia.importers.importer import read_limited
from glia.importers.labels import MAX_LABEL_BYTES, read_labels

MAX_TEXT_BYTES = 4 << 20
MAX_MODEL_BYTES = 2**31 - 1
HEAD_BYTES = 1 << 16
_COMMENT = re.compile(r"#[^\n]*")
_START = re.compile(r"\s*[A-Za-z_]\w*\s*[:{<]")
_LAYER = re.compile(r"(?:^|[\s}>;,])layers?\s*:?\s*[{<]")
_FIELD = re.compile(r"\b(?:bottom|top|name|type)\s*:\s*[\"'A-Z]")
_SOLVER = re.compile(r"(?m)^\s*(?:net|train_net|base_lr|test_iter|lr_policy)\s*:")
_LABEL_MAP = re.compile(r"\s*item\s*:?\s*\{")
_RAW_NAME = re.compile(r".+_(?:filter|bias)\.bin")


def is_prototxt(head: bytes) -> bool:
    """Whether a file begins as the text of a network with layers does."""
    if b"\0" in head:
        return False
    text = _COMMENT.sub("", head.decode("utf-8", "replace"))
    return bool(_START.match(text) and _LAYER.search(text) and _FIELD.search(text))


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, and bounds of the content of protobuf's fields; one that is no field ends it with number 0."""
    while at < end:
        key, at = _varint(data, at)
        kind, start = key & 7, at
        if kind == 0:
            value, at = _varint(data, at)
            length = 0 if value >= 0 else -1
        elif kind == 2:
            length, start = _varint(data, at)
            at = start + length
        else:
            length = {1: 8, 5: 4}.get(kind, -1)
            at = start + length
        if key < 8 or length < 0:
            yield 0, 0, 0, 0
            return
        yield key >> 3, kind, start, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at
    return -1, len(data)


_WIRE = {1: (2,), 2: (2,), 3: (2,), 4: (0, 2), 5: (0,), 6: (2,), 7: (0,), 8: (2,), 100: (2,)}
"""How the fields of a NetParameter may lie in a file."""


def is_caffemodel(head: bytes, size: int) -> bool:
    """Whether the fields in `head` are those of a NetParameter, with a layer among them."""
    names = 0
    for number, kind, start, end in _fields(head, 0, len(head)):
        if kind not in _WIRE.get(number, ()) or end > size:
            return False
        names += number == 1
        if names > 1 or (number == 1 and min(head[start:end], default=32) < 32):  # other messages begin with a message
            return False
        if number in (2, 100):
            return _is_layer(head, start, min(end, len(head)), is_new=number == 100)
    return False


def _is_layer(head: bytes, start: int, end: int, *, is_new: bool) -> bool:
    """Whether a message begins as a layer does: with a name and a type in words, or with a name and a number."""
    met: dict[int, int] = {}
    inner = (0, 0)
    for number, kind, content, content_end in _fields(head, start, end):
        if number == 0 or (number == 1 and number in met):
            return False
        met.setdefault(number, kind)
        if number == 1:
            inner = content, min(content_end, end)
        if content_end > end:
            break
    if is_new:
        return met.get(1) == 2 and met.get(2) == 2
    return (met.get(4) == 2 and met.get(5) == 0) or (met.get(1) == 2 and _is_layer(head, *inner, is_new=True))


@dataclass
class Given:
    """What the files are, by their content."""

    texts: dict[str, bytes] = field(default_factory=dict)
    models: dict[str, bytes] = field(default_factory=dict)
    mean: list[float] | None = None
    mean_shape: tuple[int, ...] = ()
    labels: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Path] = field(default_factory=dict)
    """Neither of these: weights in another form, or strangers."""


def sort_files(files: Mapping[str, Path]) -> Given:
    """The files by their content. Raises ImportFailed for those that cannot be read."""
    given = Given()
    for key, path in files.items():
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
                size = path.stat().st_size
        except OSError as error:
            raise ImportFailed(f"{path.name} cannot be read: {error.strerror}. Check the path.") from None
        if is_prototxt(head):
            given.texts[path.name if path.name not in given.texts else key] = read_limited(path, MAX_TEXT_BYTES)
        elif is_caffemodel(head, size):
            given.models[path.name if path.name not in given.models else key] = read_limited(path, MAX_MODEL_BYTES)
        elif b"\0" not in head and _SOLVER.search(head.decode("utf-8", "replace")):
            continue  # how it was trained
        elif _LABEL_MAP.match(_COMMENT.sub("", head.decode("utf-8", "replace"))):
            given.labels = _read_label_map(read_limited(path, MAX_LABEL_BYTES), path.name) or given.labels
        elif not _RAW_NAME.fullmatch(path.name) and _read_mean(head, path, given):
            continue
        elif size <= MAX_LABEL_BYTES and (labels := read_labels(read_limited(path, MAX_LABEL_BYTES))):
            given.labels = labels
        else:
            given.raw[key] = path
    return given


def _read_label_map(data: bytes, file: str) -> dict[str, Any]:
    """SSD's list of labels with their numbers; empty where the numbers are not 0, 1, 2 ..."""
    items = CAFFE.parse_text("LabelMap", data.decode("utf-8", "replace"), file).item
    named = sorted((item.label, text(item.display_name or item.name)) for item in items)
    if [number for number, _ in named] != list(range(len(named))):
        return {}
    return {"labels": [name for _, name in named]}


def _read_mean(head: bytes, path: Path, given: Given) -> bool:
    """Whether the file is a mean picture: one BlobProto of a picture's shape."""
    if head[:1] != b"\x08" or b"\x2a" not in head[:40]:
        return False
    try:
        picture = read_blob(CAFFE.parse("BlobProto", read_limited(path, MAX_MODEL_BYTES), path.name))
    except ImportFailed:
        return False
    if picture.ndim != 4 or picture.shape[0] != 1 or not 0 < picture.shape[1] <= 16 or not picture.size:
        return False
    given.mean = [round(float(value), 6) for value in picture.mean((0, 2, 3), dtype=np.float64)]
    given.mean_shape = picture.shape
    return True


def read_structure(given: Given) -> tuple[str, Network, list[Network]]:
    """The file with the structure, the network in it, and those of the other texts. Raises ImportFailed."""
    parsed = {
        name: read_network(CAFFE.parse_text("NetParameter", data.decode("utf-8", "replace"), name), name)
        for name, data in given.texts.items()
    }
    if not parsed:
        if given.raw:
            strangers = sorted(path.name for path in given.raw.values())[:20]
            raise ImportFailed(f"{strangers} are neither prototxt, caffemodel nor mean, or they are damaged.")
        if not given.models:
            raise ImportFailed("Expected a prototxt or a caffemodel, received neither. Give both.")
        name, data = next(iter(given.models.items()))
        return name, read_network(CAFFE.parse("NetParameter", data, name), name, any_phase=True), []
    whole = [name for name, network in parsed.items() if network.is_whole]
    if len(parsed) > 1 and len(whole) != 1:
        raise ImportFailed(f"Expected one prototxt that declares its inputs, received {sorted(parsed)}. Give only it.")
    chosen = whole[0] if len(parsed) > 1 else next(iter(parsed))
    return chosen, parsed[chosen], [network for name, network in parsed.items() if name != chosen]


def read_weights(given: Given, network: Network) -> Weights:
    """Where the weights are. Raises ImportFailed for files that are none, and for weights of two kinds."""
    if len(given.models) > 1:
        raise ImportFailed(f"Expected one caffemodel, received {sorted(given.models)}.")
    raw = RawWeights(given.raw, [layer.name for layer in network.layers])
    others = {key: path for key, path in given.raw.items() if path not in raw.found}
    if given.models:
        strangers = sorted(path.name for path in given.raw.values())
        if strangers:
            raise ImportFailed(f"{strangers[:20]} are neither prototxt, caffemodel nor mean. Give the others alone.")
        name, data = next(iter(given.models.items()))
        message = CAFFE.parse("NetParameter", data, name)
        blobs = {layer.name: layer.spec.blobs for layer in all_layers(message) if len(layer.spec.blobs)}
        return ProtoWeights(blobs)
    if not given.raw:
        return NoWeights()
    if raw.found and not others:
        return raw
    if len(others) == 1 and not raw.found:
        (path,) = others.values()
        convolutions = {
            layer.name: layer.parameters("convolution_param", "Convolution").num_output
            for layer in network.layers
            if layer.kind == "Convolution"
        }
        try:
            return CodedWeights(read_limited(path, MAX_MODEL_BYTES), convolutions)
        except ImportFailed as error:
            raise ImportFailed(
                f"{path.name} is no caffemodel, and as a file of Deep Compression it does not fit the prototxt: "
                f"{error.message}"
            ) from None
    names = sorted(path.name for path in others.values())[:20]
    raise ImportFailed(f"{names} are neither prototxt, caffemodel, mean nor weights of a layer by its name.")
