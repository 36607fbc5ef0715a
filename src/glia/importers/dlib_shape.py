"""dlib's shape predictor (`.dat`): where a face's landmarks are, by regression trees. Not a network: no ONNX.

Use: `predictor = read_shape_predictor(path)` once (some seconds: the file is numbers one by one), then
`predictor.points(grey, box)` for each face: a grey picture and the box of the face, as dlib's detector draws it, give
the landmarks in pixels. The five-point predictor gives the outer and inner corner of the person's left eye, those of
the right eye, and the base of the nose, in the order 0 left outer, 1 left inner, 2 right outer, 3 right inner, 4 nose.

Source: Kazemi and Sullivan 2014, CVPR; dlib, image_processing/shape_predictor.h (Boost Software Licence).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from glia.core.errors import ImportFailed
from glia.importers.dlib_stream import Stream
from glia.importers.importer import read_limited

MAX_FILE_BYTES = 1 << 28
MAX_CASCADES, MAX_TREES, MAX_SPLITS, MAX_PIXELS, MAX_POINTS = 100, 10_000, 1 << 16, 1 << 16, 1 << 12

Side = int | float
Box = tuple[Side, Side, Side, Side]
"""Left, top, right, bottom [px]; the corners are inside."""


@dataclass(frozen=True)
class Cascade:
    """Trees that are asked about the same pixels."""

    anchors: Int64[np.ndarray, " pixels"]
    """The landmark that each pixel stands near."""
    deltas: Float32[np.ndarray, "pixels 2"]
    """Where it stands from there, in the unit box of the mean shape."""
    first: Int64[np.ndarray, "trees splits"]
    second: Int64[np.ndarray, "trees splits"]
    threshold: Float32[np.ndarray, "trees splits"]
    leaves: Float32[np.ndarray, "trees leaves points 2"]


@dataclass(frozen=True)
class ShapePredictor:
    """The mean shape in the unit box, and the cascades that move it."""

    mean: Float32[np.ndarray, "points 2"]
    cascades: tuple[Cascade, ...]

    def points(self, grey: UInt8[np.ndarray, "h w"], box: Box) -> Int64[np.ndarray, "points 2"]:
        """The landmarks (x, y) in pixels of the picture; `box` may leave the picture."""
        shape = self.mean.copy()
        for cascade in self.cascades:
            values = _pixels(grey, box, shape, self.mean, cascade)
            trees = np.arange(len(cascade.first))
            node = np.zeros(len(trees), np.int64)
            splits = cascade.first.shape[1]
            while node[0] < splits:  # all trees are of one depth
                difference = values[cascade.first[trees, node]] - values[cascade.second[trees, node]]
                node = 2 * node + np.where(difference > cascade.threshold[trees, node], 1, 2)
            for tree, leaf in zip(cascade.leaves, node - splits, strict=True):
                shape = shape + tree[leaf]  # one by one: float32 sums depend on the order
        found = _to_picture(shape, box)
        return np.floor(found + 0.5).astype(np.int64)


def _to_picture(shape: Shaped[np.ndarray, "k 2"], box: Box) -> Shaped[np.ndarray, "k 2"]:
    left, top, right, bottom = box
    corner, size = np.array([left, top]), np.array([right - left, bottom - top])
    found: Shaped[np.ndarray, "k 2"] = corner + shape * size
    return found


def similarity(source: Float32[np.ndarray, "k 2"], target: Float32[np.ndarray, "k 2"]) -> Float32[np.ndarray, "2 2"]:
    """The turn and growth that takes one shape nearest to another, without a mirror. Source: Umeyama 1991."""
    a, b = (shape.astype(np.float64) - shape.astype(np.float64).mean(0) for shape in (source, target))
    # As complex numbers: the best factor is <a, b> / <a, a>, which cannot mirror.
    turn, grow = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()), float((a * b).sum())
    length = float((a * a).sum()) or 1.0
    found: Float32[np.ndarray, "2 2"] = (np.array([[grow, -turn], [turn, grow]]) / length).astype(np.float32)
    return found


def _pixels(
    grey: UInt8[np.ndarray, "h w"],
    box: Box,
    shape: Float32[np.ndarray, "points 2"],
    mean: Float32[np.ndarray, "points 2"],
    cascade: Cascade,
) -> Float32[np.ndarray, " pixels"]:
    """The grey values that a cascade asks for; 0 outside the picture."""
    turned = cascade.deltas @ similarity(mean, shape).T
    at = np.floor(_to_picture(turned + shape[cascade.anchors], box) + 0.5).astype(np.int64)
    inside = (at >= 0).all(1) & (at[:, 0] < grey.shape[1]) & (at[:, 1] < grey.shape[0])
    values = np.zeros(len(at), np.float32)
    values[inside] = grey[at[inside, 1], at[inside, 0]]
    return values


def grey_of(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """The mean of the colours, cut to whole numbers, as dlib has it."""
    grey: UInt8[np.ndarray, "h w"] = (rgb.astype(np.uint16).sum(2) // 3).astype(np.uint8)
    return grey


def read_shape_predictor(path: Path) -> ShapePredictor:
    """A predictor from its file. Raises ImportFailed."""
    stream = Stream(read_limited(path, MAX_FILE_BYTES), path.name)
    stream.version(1)
    mean = stream.matrix()
    if mean.shape[1] != 1 or mean.shape[0] % 2 or not 2 <= mean.shape[0] <= 2 * MAX_POINTS:
        raise stream.fault("a column of x and y by turns", f"a matrix of {list(mean.shape)}")
    points = len(mean) // 2
    forests = [_forest(stream, points) for _ in range(stream.count(MAX_CASCADES))]
    anchors = [_numbers(stream, points) for _ in range(stream.count(MAX_CASCADES))]
    deltas = [_pairs(stream) for _ in range(stream.count(MAX_CASCADES))]
    if stream.at != len(stream.data) or not len(forests) == len(anchors) == len(deltas):
        raise stream.fault(f"the end, and pixels for {len(forests)} cascades", f"{len(anchors)} and {len(deltas)}")
    cascades = []
    for (first, second, threshold, leaves), anchor, delta in zip(forests, anchors, deltas, strict=True):
        if len(anchor) != len(delta) or max(first.max(), second.max()) >= len(anchor):
            raise stream.fault(f"splits on {len(anchor)} pixels", f"{max(first.max(), second.max())}")
        cascades.append(Cascade(anchor, delta, first, second, threshold, leaves))
    return ShapePredictor(mean.reshape(points, 2), tuple(cascades))


def _forest(stream: Stream, points: int) -> tuple[Shaped[np.ndarray, "..."], ...]:
    """Both pixels, the threshold and the leaves of each tree, all of one size."""
    trees, sizes = [], set()
    for _ in range(stream.count(MAX_TREES)):
        splits = [(stream.count(MAX_PIXELS), stream.count(MAX_PIXELS), stream.real())
                  for _ in range(stream.count(MAX_SPLITS))]  # fmt: skip
        leaves = [stream.matrix() for _ in range(stream.count(MAX_SPLITS))]
        if len(leaves) != len(splits) + 1 or len(leaves) & (len(leaves) - 1) or not splits:
            raise stream.fault("a whole tree", f"{len(splits)} splits and {len(leaves)} leaves")
        if any(leaf.shape != (2 * points, 1) for leaf in leaves):
            raise stream.fault(f"leaves of {2 * points} numbers", str({leaf.shape for leaf in leaves}))
        sizes.add(len(splits))
        trees.append((splits, np.stack(leaves).reshape(len(leaves), points, 2)))
    if len(sizes) != 1:
        raise stream.fault("trees of one depth", str(sorted(sizes)))
    columns = [np.array([[split[place] for split in splits] for splits, _ in trees]) for place in range(3)]
    if not np.isfinite(columns[2]).all():
        raise ImportFailed(f"{stream.file}: a threshold is no number. The file is damaged.")
    leaves_of_all = np.stack([leaves for _, leaves in trees])
    return columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2].astype(np.float32), leaves_of_all


def _numbers(stream: Stream, points: int) -> Int64[np.ndarray, " pixels"]:
    return np.array([stream.count(points - 1) for _ in range(stream.count(MAX_PIXELS))], np.int64)


def _pairs(stream: Stream) -> Float32[np.ndarray, "pixels 2"]:
    count = stream.count(MAX_PIXELS)
    return np.array([[stream.real(), stream.real()] for _ in range(count)], np.float32).reshape(count, 2)
