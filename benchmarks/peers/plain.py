"""What every peer needs of a network: its graph, its constants, and the same numbers as Glia's, written plainly.

The file that BENCH_SPEC names holds them (see `systems.write_spec`). Pictures are decoded whole by Pillow, as in every
example that the peers' documentation shows; crop and resize are one step of Pillow's, which costs less than those
examples' resize of the whole picture, so that this favours the peers.
"""

from __future__ import annotations

import io
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Answer = list[dict[str, Any]]


@cache
def spec() -> dict[str, Any]:
    """Graph, tensor names, preprocessing, activation, labels, runtime and precision."""
    found: dict[str, Any] = json.loads(Path(os.environ["BENCH_SPEC"]).read_text())
    return found


def opened(data: bytes) -> Image.Image:
    """The whole picture."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def box(width: int, height: int) -> tuple[float, float, float, float]:
    """The central square that the network sees [px]."""
    high, wide = spec()["size"]
    scale = min(width / wide, height / high) * spec()["crop"]
    left, top = (width - wide * scale) / 2, (height - high * scale) / 2
    return left, top, left + wide * scale, top + high * scale


def planes(picture: Image.Image) -> np.ndarray:
    """Cropped, resized, normalised; float32 CHW."""
    how = spec()
    high, wide = how["size"]
    smooth = Image.Resampling[how["interpolation"].upper()]
    small = np.asarray(picture.resize((wide, high), smooth, box=box(*picture.size)))
    mean, std = np.float32(how["mean"]), np.float32(how["std"])
    found = np.empty((3, high, wide), np.float32)
    for plane in range(3):  # plane by plane: several times faster than numpy over a last axis of three
        found[plane] = small[..., 2 - plane if how["colour"] == "bgr" else plane]
        found[plane] -= mean[plane]
        found[plane] /= std[plane]
    return found


def top5(scores: np.ndarray) -> Answer:
    """Logits or probabilities of one picture to the five best labels."""
    how = spec()
    scores = scores.reshape(-1).astype(np.float64)
    if how["activation"] == "logits":
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
    best = np.argsort(-scores)[:5]
    return [{"label": how["labels"][index], "score": float(scores[index])} for index in best]


class Network:
    """The graph in ONNX Runtime with its default options, as the peers' examples load one."""

    def __init__(self) -> None:
        """Load it."""
        import onnxruntime

        self.session = onnxruntime.InferenceSession(spec()["graph"])

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Float32 NCHW to one row of scores a picture."""
        scores: np.ndarray = self.session.run(None, {spec()["input"]: batch})[0]
        return scores.reshape(len(batch), -1)

    def answers(self, pictures: list[Image.Image]) -> list[Answer]:
        """Five best labels for each picture."""
        return [top5(row) for row in self.run(np.stack([planes(picture) for picture in pictures]))]
