"""Every layer against Keras itself, where it is installed: `.keras` and HDF5 of Keras 3."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from foreign.case import run_graph
from glia.importers.keras_h5 import IMPORTER as H5
from glia.importers.keras_v3 import IMPORTER as V3

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras", reason="Keras is the oracle")

from importers.keras_models import MODELS, inputs, made, outputs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_numbers_equal_those_of_keras(name: str, tmp_path: Path):
    network = made(name)
    given = inputs(network, name)
    expected = outputs(network, given)
    for file, importer in ((tmp_path / "m.keras", V3), (tmp_path / "m.h5", H5)):
        network.save(file)
        graph = importer.read({"model": file}, {})["model"]
        names = [value.name for value in graph.model.graph.input]
        got = list(run_graph(graph)(dict(zip(names, given, strict=True))).values())
        assert len(got) == len(expected)
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_allclose(b, a, atol=1e-5 * max(1, np.abs(a).max()), err_msg=file.name)
