"""Second readers: libraries that run a foreign file as it is, to compare an imported graph with.

OpenVINO, which the base install has on x86-64, reads TensorFlow's frozen graphs and TFLite; OpenCV before 5, where a
user has installed it, reads Caffe and Darknet. Neither is ever needed to import.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

Array = Shaped[np.ndarray, "..."]


@dataclass(frozen=True)
class SecondReader:
    """A foreign network in the hands of another library."""

    name: str
    """The library with its version."""
    run: Callable[[Array], dict[str, Array]]
    """The only input to all outputs by their names in the file, in the library's order."""


def second_reader(format: str, files: Mapping[str, Path]) -> SecondReader | None:
    """The library that reads these files here, if there is one and they have one input; None otherwise."""
    opener = _OPENERS.get(format)
    if opener is None:
        return None
    try:
        return opener(list(files.values()))
    except Exception:  # noqa: BLE001  a second reader that cannot read is none: no import fails for it
        return None


def _openvino(paths: list[Path]) -> SecondReader | None:
    if len(paths) != 1 or importlib.util.find_spec("openvino") is None:
        return None
    import openvino as ov

    core = ov.Core()
    model = core.read_model(str(paths[0]))
    if len(model.inputs) != 1:
        return None
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(array: Array) -> dict[str, Array]:
        answer = compiled(array)
        return {port.get_any_name(): np.array(answer[port]) for port in compiled.outputs}

    return SecondReader(f"OpenVINO {ov.__version__.partition('-')[0]}", run)


def _opencv(paths: list[Path], read: str, first: tuple[str, ...]) -> SecondReader | None:
    """`first`: how the name of the file ends that the reader takes first."""
    if importlib.util.find_spec("cv2") is None:
        return None
    import cv2

    if not hasattr(cv2.dnn, read):
        return None
    ordered = sorted((path for path in paths if path.suffix in (*first, ".caffemodel", ".weights")), key=_is_not(first))
    if len(ordered) != 2:
        return None
    network = getattr(cv2.dnn, read)(*map(str, ordered))
    names = network.getUnconnectedOutLayersNames()

    def run(array: Array) -> dict[str, Array]:
        network.setInput(array)
        return {name: np.array(value) for name, value in zip(names, network.forward(names), strict=True)}

    return SecondReader(f"OpenCV {cv2.__version__}", run)


def _is_not(suffixes: tuple[str, ...]) -> Callable[[Path], bool]:
    return lambda path: path.suffix not in suffixes


_OPENERS: Mapping[str, Callable[[list[Path]], SecondReader | None]] = {
    "tf-graphdef": _openvino,
    "tflite": _openvino,
    "caffe": lambda paths: _opencv(paths, "readNetFromCaffe", (".prototxt",)),
    "darknet": lambda paths: _opencv(paths, "readNetFromDarknet", (".cfg",)),
}
