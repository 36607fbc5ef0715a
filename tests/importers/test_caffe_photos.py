"""Published networks in Caffe's less common forms name what photos show: their weights are read in the right order."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from foreign import caffe
from foreign.case import Case, import_case, run_graph
from house import SHARED

PHOTOS = SHARED / "data" / "imagenet-samples" / "images.npz"
COUNT = 24
CASES = [case for case in caffe.cases() if case.name.startswith("imagenet")]


def photos(size: int, mean: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Middle squares as blue, green, red less the mean; and the classes."""
    held = np.load(PHOTOS)
    chosen = range(0, 1000, 1000 // COUNT)
    found = []
    for at in chosen:
        file = io.BytesIO(held["data"][held["offsets"][at] : held["offsets"][at + 1]].tobytes())
        with PIL.Image.open(file) as picture:
            side = min(picture.size)
            left, top = ((length - side) // 2 for length in picture.size)
            square = picture.convert("RGB").resize((size, size), box=(left, top, left + side, top + side))
        found.append(np.asarray(square, np.float32)[:, :, ::-1] - np.array(mean, np.float32))
    return np.stack(found).transpose(0, 3, 1, 2), held["label"][list(chosen)]


@pytest.mark.skipif(not PHOTOS.exists() or not CASES, reason="the shared photos or networks are not here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_most_photos_are_named(case: Case):
    graph = import_case(case)
    pictures, classes = photos(graph.known["size"][0], graph.known.get("mean", [104.0, 117.0, 123.0]))
    (scores,) = run_graph(graph)({"data": np.ascontiguousarray(pictures)}).values()
    right = (scores.reshape(len(scores), -1).argmax(1) == classes).mean()
    assert right >= 0.5
