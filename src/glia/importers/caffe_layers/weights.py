"""Where Caffe's learned numbers come from: a caffemodel, raw blobs of CaffeJS, or a file of Deep Compression.

    caffemodel        a NetParameter; the layers of its network carry their blobs
    CaffeJS           <layer>_filter.bin and <layer>_bias.bin, raw float32; filters are (out, h, w, in)
    Deep Compression  uint32 count of codes for each convolution; then for each of them float32[256] codebook,
                      float32[out] bias, uint8[count] codes, uint8[(count + 1) / 2] gaps, 4 bits each, low half first.
                      A gap is the number of places that are skipped before a code; those have the codebook's first.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149), https://github.com/chaosmail/caffejs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from glia.core.errors import ImportFailed
from glia.importers.importer import read_limited

Floats = Float32[np.ndarray, "..."]
MAX_DIMENSIONS = 32
MAX_ELEMENTS = 1 << 29
MAX_RAW_BYTES = 1 << 30
_RAW_TYPES = ("<f8", "<f4", "<f2")
CODES = 256


@runtime_checkable
class Weights(Protocol):
    """The learned numbers of a network, by layer."""

    channels_last: bool
    """Whether filters came in the order of channels last, so that what follows a picture does as well."""

    def count(self, layer: str) -> int:
        """How many blobs the layer has; 0 for one that is unknown."""
        ...

    def blob(self, layer: str, index: int, shape: Sequence[int]) -> Floats:
        """A blob as float32 of this shape. Raises ImportFailed where it is missing or of another size."""
        ...

    def shape(self, layer: str, index: int) -> tuple[int, ...] | None:
        """The shape of a blob as its file says; None where it does not."""
        ...


def blob_shape(blob: Any) -> tuple[int, ...]:
    """The sizes of a BlobProto, whose old form has four."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    return (blob.num, blob.channels, blob.height, blob.width)


def read_blob(blob: Any) -> Floats:
    """The numbers of a BlobProto, in its own shape. Raises ImportFailed where they do not fit it, or are infinite."""
    shape = blob_shape(blob)
    if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape):
        raise ImportFailed(f"its blob has the shape {list(shape)[:40]}, which cannot be. The file is damaged")
    if blob.raw_data:
        kind = blob.raw_data_type if blob.HasField("raw_data_type") else 1
        if not 0 <= kind < len(_RAW_TYPES) or len(blob.raw_data) % np.dtype(_RAW_TYPES[kind]).itemsize:
            raise ImportFailed(f"its raw numbers are of the unknown type {kind}, or cut short")
        values: np.ndarray[Any, Any] = np.frombuffer(blob.raw_data, _RAW_TYPES[kind])
    else:
        values = np.array(blob.data, np.float32) if len(blob.data) else np.array(blob.double_data, np.float64)
    if values.size != prod(shape):
        raise ImportFailed(f"its blob of shape {list(shape)} has {values.size} numbers. The file is damaged")
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32, copy=False)
    return finite(floats).reshape(shape)


def finite(values: Floats) -> Floats:
    """The numbers. Raises ImportFailed where they are NaN or infinite."""
    if not np.isfinite(values).all():
        raise ImportFailed("its weights hold NaN or infinity. The file is damaged, or its training failed")
    return values


def _trimmed(shape: Sequence[int]) -> list[int]:
    """Without sizes of 1, which old files have in front and new ones not."""
    return [size for size in shape if size != 1]


@dataclass(frozen=True)
class NoWeights:
    """Of a prototxt that came alone."""

    channels_last = False

    def count(self, layer: str) -> int:
        """How many blobs the layer has."""
        return 0

    def blob(self, layer: str, index: int, shape: Sequence[int]) -> Floats:
        """The blob, or a fault that tells what its file lacks."""
        raise ImportFailed("it has weights, and no file with weights was given. Give the caffemodel as well")

    def shape(self, layer: str, index: int) -> tuple[int, ...] | None:
        """As the file says it, if it does."""
        return None


@dataclass(frozen=True)
class ProtoWeights:
    """Of a caffemodel: layer to its BlobProtos."""

    blobs: Mapping[str, Sequence[Any]]
    channels_last = False

    def count(self, layer: str) -> int:
        """How many blobs the layer has."""
        return len(self.blobs.get(layer, ()))

    def blob(self, layer: str, index: int, shape: Sequence[int]) -> Floats:
        """The blob, or a fault that tells what its file lacks."""
        held = self.blobs.get(layer, ())
        if index >= len(held):
            raise ImportFailed(
                f"it needs {index + 1} blobs of weights or more, the caffemodel has {len(held)} of that name. "
                "Give the prototxt that belongs to it"
            )
        values = read_blob(held[index])
        if _trimmed(values.shape) != _trimmed(shape):
            raise ImportFailed(
                f"its weights are of shape {list(values.shape)} in the caffemodel, {list(shape)} in the network"
            )
        return values.reshape(tuple(shape))

    def shape(self, layer: str, index: int) -> tuple[int, ...] | None:
        """As the file says it, if it does."""
        held = self.blobs.get(layer, ())
        return blob_shape(held[index]) if index < len(held) else None


class RawWeights:
    """Of CaffeJS: files whose paths, or the keys they were given by, end with the layer's name."""

    channels_last = True

    def __init__(self, files: Mapping[str, Path], layers: Sequence[str]) -> None:
        self._paths: dict[tuple[str, int], Path] = {}
        self.read: set[Path] = set()
        for layer in layers:
            for index, part in enumerate(("filter", "bias")):
                end = f"/{layer}_{part}.bin"
                for key, path in files.items():
                    if f"/{path.as_posix()}".endswith(end) or f"/{key}".endswith(end):
                        self._paths[layer, index] = path

    @property
    def found(self) -> set[Path]:
        """The files that are some layer's."""
        return set(self._paths.values())

    def count(self, layer: str) -> int:
        """How many blobs the layer has."""
        return sum((layer, index) in self._paths for index in range(2))

    def blob(self, layer: str, index: int, shape: Sequence[int]) -> Floats:
        """The blob, or a fault that tells what its file lacks."""
        path = self._paths.get((layer, index))
        if path is None or index > 1:
            part = ("filter", "bias")[min(index, 1)]
            raise ImportFailed(f"no file {layer[:200]}_{part}.bin was given. Give all files of the network")
        raw = read_limited(path, MAX_RAW_BYTES)
        if len(raw) != 4 * prod(shape):
            raise ImportFailed(f"{path.name} has {len(raw)} bytes, expected {4 * prod(shape)} of shape {list(shape)}")
        values = finite(np.frombuffer(raw, "<f4").astype(np.float32))
        if len(shape) < 3:
            return values.reshape(tuple(shape))
        stored = (shape[0], *shape[2:], shape[1])
        return values.reshape(stored).transpose(0, len(shape) - 1, *range(1, len(shape) - 1))

    def shape(self, layer: str, index: int) -> tuple[int, ...] | None:
        """As the file says it, if it does."""
        return None


class CodedWeights:
    """Of Deep Compression: the convolutions in their order, each with so many outputs."""

    channels_last = False

    def __init__(self, data: bytes, outputs: Mapping[str, int]) -> None:
        """`outputs`: the convolutions in their order, with the number of their outputs. Raises ImportFailed."""
        self._parts: dict[str, tuple[Floats, Floats, UInt8[np.ndarray, " codes"], UInt8[np.ndarray, " gaps"]]] = {}
        at = 4 * len(outputs)
        if len(data) < at:
            raise ImportFailed(f"Expected the counts of {len(outputs)} convolutions, received {len(data)} bytes.")
        counts = np.frombuffer(data, "<u4", len(outputs))
        for (layer, out), count in zip(outputs.items(), counts.tolist(), strict=True):
            sizes = (4 * CODES, 4 * out, count, (count + 1) // 2)
            if at + sum(sizes) > len(data):
                raise ImportFailed(f"The codes of {layer[:200]!r} end behind the file's end, at {at + sum(sizes)}.")
            parts = []
            for size in sizes:
                parts.append(data[at : at + size])
                at += size
            numbers = [np.frombuffer(part, "<f4").astype(np.float32) for part in parts[:2]]
            codes, gaps = (np.frombuffer(part, np.uint8) for part in parts[2:])
            self._parts[layer] = (numbers[0], numbers[1], codes, gaps)
        if at != len(data):
            raise ImportFailed(f"{len(data) - at} bytes follow the last convolution's codes, expected none.")

    def count(self, layer: str) -> int:
        """How many blobs the layer has."""
        return 2 if layer in self._parts else 0

    def blob(self, layer: str, index: int, shape: Sequence[int]) -> Floats:
        """The blob, or a fault that tells what its file lacks."""
        if layer not in self._parts or index > 1:
            raise ImportFailed("Deep Compression's file holds the weights of convolutions only")
        codebook, bias, codes, gaps = self._parts[layer]
        if index == 1:
            return finite(bias).reshape(tuple(shape))
        steps = np.stack([gaps & 15, gaps >> 4], 1).reshape(-1)[: len(codes)].astype(np.int64)
        places = np.cumsum(steps + 1) - 1
        size = prod(shape)
        if size > MAX_ELEMENTS or (len(places) and places[-1] >= size):
            raise ImportFailed(f"its codes reach beyond its {size} weights. The file belongs to another network")
        whole = np.zeros(size, np.uint8)
        whole[places] = codes
        return finite(codebook)[whole].reshape(tuple(shape))

    def shape(self, layer: str, index: int) -> tuple[int, ...] | None:
        """As the file says it, if it does."""
        return None
