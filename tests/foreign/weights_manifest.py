"""Weights for the browser, against the networks written once more in torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
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


def _probes(name: str, files: dict[str, Path]) -> Callable[[ImportedGraph], Sequence[Probe]]:
    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        from importers.browser_networks import REFERENCES

        architecture, size = NETWORKS[name]
        path = next(path for path in files.values() if path.name.endswith("manifest.json"))
        weights = (read_files if path.name == "manifest.json" else read_weights)(read_json(path), files)
        found = []
        for number in range(2):
            rng = np.random.default_rng(number)
            coarse = rng.random((1, 3, size[0] // 8, size[1] // 8)).repeat(8, 2).repeat(8, 3)
            x = (255 * (0.8 * coarse + 0.2 * rng.random(coarse.shape))).astype(np.float32)
            found.append(Probe({"image": x}, REFERENCES[architecture](weights, x)))
        return found

    return probes


def cases() -> list[Case]:
    """All of them; without torch there is nothing to compare with."""
    found = []
    for name in NETWORKS:
        folder = SHARED / "weights" / name
        if not folder.is_dir():
            continue
        files = {path.name: path for path in sorted(folder.iterdir()) if path.name != "source.json"}
        if importlib.util.find_spec("torch") is None:
            found.append(Case("weights-manifest", name, files, "none"))
        else:
            found.append(Case("weights-manifest", name, files, "torch", _probes(name, files)))
    return found
