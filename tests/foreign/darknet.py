"""Darknet's networks, beside OpenCV's reader of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from foreign.caffe import READER, beside, cv2
from foreign.case import Case
from house import SHARED


def opencv(cfg: bytes, weights: bytes, outputs: Mapping[str, str]) -> Callable[[np.ndarray], dict[str, Any]]:
    """OpenCV's reader: a batch of pictures to the outputs; `outputs`: the graph's name to OpenCV's layer."""
    net = cv2.dnn.readNetFromDarknet(*(np.frombuffer(data, np.uint8) for data in (cfg, weights)))

    def run(pictures: np.ndarray) -> dict[str, Any]:
        net.setInput(pictures)
        return dict(zip(outputs, net.forward(list(outputs.values())), strict=True))

    return run


def _case(name: str, stem: str, shape: Sequence[int], outputs: Mapping[str, str]) -> Case:
    folder = SHARED / "weights" / name
    files = {part: folder / part for part in (f"{stem}.cfg", f"{stem}.weights", "coco.names")}
    text, weights = (path.read_bytes() for path in list(files.values())[:2])
    return Case("darknet", name, files, READER, beside(shape, lambda: opencv(text, weights, outputs), 0, 1))


def cases() -> list[Case]:
    """Those of the shared folders, where they are."""
    name = "detect-yolo-fastest-1.1-darknet"
    if not (SHARED / "weights" / name).exists():
        return []
    # OpenCV numbers a convolution by the place of its section; it is the head's input.
    heads = {"yolo_121": "conv_120", "yolo_130": "conv_129"}
    return [_case(name, "yolo-fastest-1.1", (2, 3, 320, 320), heads)]
