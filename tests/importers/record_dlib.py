"""Records what dlib gives for seeded pictures: run where `dlib-bin` is installed, with the folder of its files.

PYTHONPATH=src:tests python tests/importers/record_dlib.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "dlib.npz"
PICTURES = 4
BOX = (40, 30, 119, 109)


def picture(number: int, size: int) -> np.ndarray:
    """Blurred squares of random colours, RGB."""
    rng = np.random.default_rng(number)
    coarse = rng.random((8, 8, 3))
    rows = np.linspace(0, 7, size)
    low = np.minimum(rows.astype(int), 6)
    share = (rows - low)[:, None, None]
    tall = coarse[low] * (1 - share) + coarse[low + 1] * share
    share = (rows - low)[None, :, None]
    wide = tall[:, low] * (1 - share) + tall[:, low + 1] * share
    return np.ascontiguousarray(255 * (0.9 * wide + 0.1 * rng.random(wide.shape))).astype(np.uint8, order="C")


def main(folder: Path) -> None:
    """Embeddings of chips, and points in boxes."""
    import dlib

    network = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))
    predictor = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
    embeddings = [np.array(network.compute_face_descriptor(picture(number, 150))) for number in range(PICTURES)]
    points = []
    for number in range(PICTURES):
        found = predictor(picture(number, 160), dlib.rectangle(*BOX))
        points.append([(point.x, point.y) for point in found.parts()])
    np.savez_compressed(FIXTURE, embeddings=np.array(embeddings, np.float32), points=np.array(points))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
