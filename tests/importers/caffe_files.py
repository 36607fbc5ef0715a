"""Caffe's files and what its layers compute, written plainly: for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glia.importers.caffe import IMPORTER
from glia.importers.caffe_layers.schema import CAFFE

Blobs = Mapping[str, Sequence[np.ndarray]]


def header(shape: Sequence[int]) -> str:
    """The input `data`."""
    return f'name: "net"\ninput: "data"\ninput_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'


def layer(kind: str, parameters: str = "", bottoms: Sequence[str] = ("data",), tops: Sequence[str] = ("y",)) -> str:
    """A layer of the third form, called as its first output."""
    reads = " ".join(f'bottom: "{name}"' for name in bottoms)
    gives = " ".join(f'top: "{name}"' for name in tops)
    return f'layer {{ name: "{tops[0]}" type: "{kind}" {reads} {gives} {parameters} }}\n'


def blob(values: np.ndarray, **more: object):
    """A BlobProto."""
    return CAFFE.new("BlobProto", data=values.reshape(-1), shape=CAFFE.new("BlobShape", dim=values.shape), **more)


def caffemodel(blobs: Blobs) -> bytes:
    """Weights by layer."""
    message = CAFFE.new("NetParameter", name=b"net")
    for name, arrays in blobs.items():
        message.layer.add(name=name.encode(), type=b"X", blobs=[blob(array) for array in arrays])
    return message.SerializeToString()


def read(folder: Path, *files: bytes | str, **options: object):
    """The graph that is made of these files."""
    given = {}
    for at, data in enumerate(files):
        path = folder / f"file{at}"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        given[str(at)] = path
    return IMPORTER.read(given, options)["model"]


def convolve(x: np.ndarray, weights: np.ndarray, stride: Sequence[int], pad: Sequence[int], dilation=1, group=1):
    """A convolution, place by place."""
    x = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2)).astype(np.float64)
    out, inner, high, wide = weights.shape
    rows = (x.shape[2] - dilation * (high - 1) - 1) // stride[0] + 1
    columns = (x.shape[3] - dilation * (wide - 1) - 1) // stride[1] + 1
    y = np.zeros((len(x), out, rows, columns))
    for o in range(out):
        first = o // (out // group) * inner
        for i in range(rows):
            for j in range(columns):
                top, left = i * stride[0], j * stride[1]
                rows_, columns_ = (
                    slice(top, top + dilation * high, dilation),
                    slice(left, left + dilation * wide, dilation),
                )
                patch = x[:, first : first + inner, rows_, columns_][:, :, :high, :wide]
                y[:, o, i, j] = (patch * weights[o]).sum((1, 2, 3))
    return y


def deconvolve(x: np.ndarray, weights: np.ndarray, stride: int, pad: int, group: int = 1):
    """A transposed convolution: each number spreads its filter."""
    count, inner, rows, columns = x.shape
    _, out, high, wide = weights.shape
    y = np.zeros((count, out * group, (rows - 1) * stride + high, (columns - 1) * stride + wide))
    for c in range(inner):
        first = c // (inner // group) * out
        for i in range(rows):
            for j in range(columns):
                place = np.s_[:, first : first + out, i * stride : i * stride + high, j * stride : j * stride + wide]
                y[place] += x[:, c, i, j][:, None, None, None] * weights[c]
    return y[:, :, pad : y.shape[2] - pad, pad : y.shape[3] - pad]


def pooled(x: np.ndarray, kernel: int, stride: int, pad: int, mean: bool, up: bool = True):
    """Pooling as Caffe's own loops do it: sizes rounded up, a window that begins in the padding dropped."""
    counts = []
    for size in x.shape[2:]:
        room = size + 2 * pad - kernel
        count = (-(-room // stride) if up else room // stride) + 1
        if pad and (count - 1) * stride >= size + pad:
            count -= 1
        counts.append(count)
    y = np.zeros((*x.shape[:2], *counts))
    for i in range(counts[0]):
        for j in range(counts[1]):
            bounds, area = [], 1
            for at, size in ((i, x.shape[2]), (j, x.shape[3])):
                begin = at * stride - pad
                end = min(begin + kernel, size + pad)
                area *= end - begin
                bounds.append(slice(max(begin, 0), min(end, size)))
            patch = x[:, :, bounds[0], bounds[1]]
            y[:, :, i, j] = patch.sum((2, 3)) / area if mean else patch.max((2, 3))
    return y


def normalised_across(x: np.ndarray, size: int, alpha: float, beta: float, k: float):
    """Local response normalisation over channels."""
    padded = np.pad(x.astype(np.float64) ** 2, ((0, 0), (size // 2,) * 2, (0, 0), (0, 0)))
    total = sum(padded[:, at : at + x.shape[1]] for at in range(size))
    return x / (k + alpha / size * total) ** beta
