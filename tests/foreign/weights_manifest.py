"""Weights for the browser, against the networks written once more in torch.

Those of a package of a registry lie in the folder that `FOREIGN_FILES` names, if it is there.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from glia.importers.web_weights import read_json, read_weights
from glia.importers.weights_manifest import read_files
from house import SHARED

NETWORKS = {
    "face-age-gender-faceapi": ("age-gender-xception", (112, 112)),
    "face-detection-tiny-faceapi": ("tiny-face-detector", (160, 224)),
    "face-landmark-68-tiny-faceapi": ("face-dense", (112, 112)),
    "style-fast-transfer-la_muse-deeplearnjs": ("fast-style-transfer", (64, 72)),
    "style-fast-transfer-wave-deeplearnjs": ("fast-style-transfer", (72, 64)),
}


PACKAGED = {
    "age_gender_model": ("age-gender-xception", (112, 112)),
    "face_expression_model": ("face-dense", (112, 112)),
    "face_landmark_68_model": ("face-dense", (112, 112)),
    "face_recognition_model": ("face-recognition-resnet", (150, 150)),
    "ssd_mobilenetv1_model": ("ssd-mobilenet-v1", (512, 512)),
    "tiny_face_detector_model": ("tiny-face-detector", (96, 128)),
}


def _probes(network: tuple[str, tuple[int, int]], files: dict[str, Path]) -> Callable[[ImportedGraph], Sequence[Probe]]:
    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        from importers.browser_networks import REFERENCES

        architecture, size = network
        path = next(path for path in files.values() if path.name.endswith("manifest.json"))
        weights = (read_files if path.name == "manifest.json" else read_weights)(read_json(path), files)
        found = []
        for number in range(2):
            rng = np.random.default_rng(number)
            coarse = rng.random((1, 3, size[0], size[1]))[:, :, ::8, ::8].repeat(8, 2).repeat(8, 3)
            coarse = coarse[:, :, : size[0], : size[1]]
            x = (255 * (0.8 * coarse + 0.2 * rng.random(coarse.shape))).astype(np.float32)
            found.append(Probe({"image": x}, REFERENCES[architecture](weights, x)))
        return found

    return probes


def _published() -> Iterator[tuple[str, tuple[str, tuple[int, int]], dict[str, Path]]]:
    """Name, network and files of each that is here."""
    for name, network in NETWORKS.items():
        folder = SHARED / "weights" / name
        if folder.is_dir():
            yield name, network, {path.name: path for path in sorted(folder.iterdir()) if path.name != "source.json"}
    if "FOREIGN_FILES" in os.environ:
        for name, network in PACKAGED.items():
            for path in Path(os.environ["FOREIGN_FILES"]).rglob(f"{name}-weights_manifest.json"):
                yield name, network, {file.name: file for file in (path, path.parent / f"{name}.bin")}


def cases() -> list[Case]:
    """All of them; without torch there is nothing to compare with."""
    found = []
    for name, network, files in _published():
        if importlib.util.find_spec("torch") is None:
            found.append(Case("weights-manifest", name, files, "none"))
        else:
            found.append(Case("weights-manifest", name, files, "torch", _probes(network, files)))
    return found
