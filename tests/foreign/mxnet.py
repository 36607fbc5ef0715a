"""MXNet's networks, beside what MXNet 1.9.1 gave for pictures that are drawn anew here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreign.caffe import pictures
from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from house import SHARED

RECORDED = Path(__file__).parent / "recorded" / "mobileface.npy"
NAME = "face-embedding-mobileface-v2-mxnet"
SHAPE = (1, 3, 112, 112)


def _probes(graph: ImportedGraph) -> Sequence[Probe]:
    (source,), (answer,) = graph.inputs.values(), graph.outputs.values()
    recorded = np.load(RECORDED)
    return [
        Probe({source: picture}, {answer: row[None]})
        for picture, row in zip(pictures(SHAPE, len(recorded)), recorded, strict=True)
    ]


def cases() -> list[Case]:
    """Those of the shared folders, where they are."""
    folder, stem = SHARED / "weights" / NAME, "MobileFace_Identification_V2"
    if not folder.exists():
        return []
    files = {part: folder / f"{stem}-{part}" for part in ("symbol.json", "0000.params")}
    return [Case("mxnet", NAME, files, "recorded", _probes)]
