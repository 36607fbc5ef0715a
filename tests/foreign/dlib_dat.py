"""dlib's published networks, against what dlib gave for seeded pictures.

They come from a package of a registry, not with the other files: `FOREIGN_FILES` names the folder they lie in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from house import SHARED
from importers.record_dlib import FIXTURE, picture

RESNET, DETECTOR, PREDICTOR = (
    "dlib_face_recognition_resnet_model_v1.dat",
    "mmod_human_face_detector.dat",
    "shape_predictor_5_face_landmarks.dat",
)


def published(name: str) -> Path | None:
    """A file of dlib's, where it is on this machine."""
    folders = [Path(os.environ["FOREIGN_FILES"])] if "FOREIGN_FILES" in os.environ else []
    found = [path for folder in folders for path in folder.rglob(name)] or sorted(SHARED.glob(f"*/*/{name}"))
    return found[0] if found else None


def _probes(graph: ImportedGraph) -> Sequence[Probe]:
    embeddings = np.load(FIXTURE)["embeddings"]
    return [
        Probe({"image": picture(number, 150).transpose(2, 0, 1)[None].astype(np.float32)}, {"embedding": value[None]})
        for number, value in enumerate(embeddings)
    ]


def cases() -> list[Case]:
    """Those that are here."""
    found = []
    if (path := published(RESNET)) is not None:
        found.append(Case("dlib", RESNET, {"model": path}, "dlib 20.0.1, recorded", _probes, tolerance=1e-5))
    if (path := published(DETECTOR)) is not None:
        found.append(Case("dlib", DETECTOR, {"model": path}, "none"))
    return found
