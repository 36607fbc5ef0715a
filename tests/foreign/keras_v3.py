"""Networks in `.keras` zips: those that Keras 3 recorded for the tests, and published ones."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from house import SHARED

NESTED = SHARED / "interop" / "keras-v3" / "keras-nested-container" / "pre_pr22362_nested_container.keras"
RECORDS = Path(__file__).parent.parent / "importers" / "fixtures" / "keras.zip"


def recorded(path: Path):
    """Probes out of the arrays beside a network."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        held = np.load(path)
        given, got = graph.model.graph.input, graph.model.graph.output
        assert f"out_{len(got)}" not in held.files
        inputs = {value.name: held[f"in_{at}"] for at, value in enumerate(given)}
        return [Probe(inputs, {value.name: held[f"out_{at}"] for at, value in enumerate(got)})]

    return probes


def cases() -> list[Case]:
    """Every network of the format."""
    folder = Path(tempfile.mkdtemp(prefix="glia-keras-"))
    with zipfile.ZipFile(RECORDS) as archive:
        archive.extractall(folder)
    found = [
        Case("keras-v3", path.stem, {"model": path}, "keras 3.15.1", recorded(path.with_suffix(".npz")))
        for path in sorted(folder.glob("*.keras"))
    ]
    if NESTED.exists():
        custom = "Sequential or functional model, received the class 'NestedDenseModel'"
        found.append(Case("keras-v3", "keras-nested-container", {"model": NESTED}, "none", refused=custom))
    return found
