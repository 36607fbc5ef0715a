"""`.keras` zips: networks recorded from Keras 3, hostile zips."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from foreign.case import run_case, run_graph
from foreign.keras_v3 import cases
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.keras_h5 import IMPORTER as H5
from glia.importers.keras_v3 import IMPORTER
from importers.mutate import json_mutations, mutations

RECORDS = Path(__file__).parent / "fixtures" / "keras.zip"


@cache
def recorded(name: str) -> bytes:
    with zipfile.ZipFile(RECORDS) as archive:
        return archive.read(name)


def read(data: bytes, folder: Path, **options: object) -> ImportedGraph:
    (folder / "net.keras").write_bytes(data)
    return IMPORTER.read({"model": folder / "net.keras"}, options)["model"]


def rewritten(name: str, changed: Mapping[str, bytes | None], method: int = zipfile.ZIP_STORED) -> bytes:
    """A recorded zip with other members, or without some."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(recorded(f"{name}.keras"))) as old, zipfile.ZipFile(made, "w", method) as new:
        for member in old.namelist():
            value = changed.get(member, old.read(member))
            if value is not None:
                new.writestr(member, value)
    return made.getvalue()


def config(name: str) -> dict:
    return json.loads(zipfile.ZipFile(io.BytesIO(recorded(f"{name}.keras"))).read("config.json"))


def test_names_and_layers_are_those_of_the_file(tmp_path: Path):
    graph = read(recorded("picture.keras"), tmp_path)
    assert (graph.inputs, graph.outputs) == ({"image": "photo"}, {"scores": "classes"})
    layers = {layer.name: layer for layer in graph.layers}
    assert layers["conv2d"].kind == "Conv2D"
    assert layers["conv2d"].nodes[-1] == "Conv"
    assert layers["conv2d"].parameters == 3 * 3 * 3 * 4
    assert layers["classes"].shape[-1] == 4
    nested = read(recorded("nested.keras"), tmp_path)
    assert any(layer.name.startswith("inner/") for layer in nested.layers)
    assert set(nested.inputs) == {"x", "y"}


def test_an_open_size_gives_what_a_fixed_one_gives(tmp_path: Path):
    x = np.load(io.BytesIO(recorded("open.npz")))["in_0"]
    free = read(recorded("open.keras"), tmp_path)
    fixed = read(recorded("open.keras"), tmp_path, input_size=[13, 13, None])
    assert [size.dim_param for size in free.model.graph.input[0].type.tensor_type.shape.dim][:3] == ["n", "h", "w"]
    name = free.model.graph.input[0].name
    for a, b in zip(run_graph(free)({name: x}).values(), run_graph(fixed)({name: x}).values(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_network_can_end_at_a_layer_before_what_is_not_supported(tmp_path: Path):
    changed = config("squeeze")
    last = next(layer for layer in changed["config"]["layers"] if layer["class_name"] == "GlobalMaxPooling2D")
    last["class_name"] = "Lambda"
    whole = rewritten("squeeze", {"config.json": json.dumps(changed).encode()})
    with pytest.raises(ImportFailed, match="1 layers cannot be imported"):
        read(whole, tmp_path)
    graph = read(whole, tmp_path, outputs=["conv2d_2", "multiply"])
    assert list(graph.outputs) == ["conv2d_2", "multiply"]
    x = np.load(io.BytesIO(recorded("squeeze.npz")))["in_0"]
    found = run_graph(graph)({graph.model.graph.input[0].name: x})
    assert found["multiply"].shape == (2, 8, 8, 8)
    for wrong in ("nowhere", [], 3, [["conv2d"]]):
        with pytest.raises(ImportFailed, match="outputs"):
            read(whole, tmp_path, outputs=wrong)


def test_weights_of_keras_3_beside_json_are_read(tmp_path: Path):
    with zipfile.ZipFile(io.BytesIO(recorded("activations.keras"))) as archive:
        archive.extractall(tmp_path)
    files = {name: tmp_path / name for name in ("config.json", "model.weights.h5")}
    graph = H5.read(files, {})["model"]
    arrays = np.load(io.BytesIO(recorded("activations.npz")))
    (y,) = run_graph(graph)({graph.model.graph.input[0].name: arrays["in_0"]}).values()
    np.testing.assert_allclose(y, arrays["out_0"], atol=1e-5)


BAD = {
    "config.json in the zip": {"config.json": None},
    "model.weights.h5": {"model.weights.h5": None},
    "no JSON": {"config.json": b"{"},
    "HDF5 says": {"model.weights.h5": b"\x89HDF\r\n\x1a\n"},
    "an object": {"config.json": b"[]"},
    "is no JSON": {"config.json": b"[" * 100_000},
}


@pytest.mark.parametrize("words", BAD)
def test_zips_that_keras_would_not_write_fail_the_import(words: str, tmp_path: Path):
    with pytest.raises(ImportFailed, match=words):
        read(rewritten("picture", BAD[words]), tmp_path)


def test_a_zip_bomb_is_refused_before_it_grows(tmp_path: Path):
    bomb = rewritten("picture", {"config.json": b" " * 50_000_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ImportFailed, match="compressed"):
        read(bomb, tmp_path)


def test_models_in_models_without_end_are_refused(tmp_path: Path):
    layer: dict = {"class_name": "Dense", "config": {"name": "d", "units": 1}}
    for _ in range(100):
        layer = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": layer}}
    whole = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    with pytest.raises(ImportFailed, match="deep"):
        read(rewritten("picture", {"config.json": json.dumps(whole).encode()}), tmp_path)


def test_layers_that_need_each_other_are_refused(tmp_path: Path):
    changed = config("squeeze")
    for layer in changed["config"]["layers"]:
        if layer["class_name"] == "Conv2D":
            for call in layer["inbound_nodes"]:
                call["args"][0]["config"]["keras_history"] = ["concatenate", 0, 0]
    with pytest.raises(ImportFailed, match="need each other"):
        read(rewritten("squeeze", {"config.json": json.dumps(changed).encode()}), tmp_path)


@pytest.mark.parametrize("name", ["picture", "nested", "ways", "operations"])
def test_strange_settings_are_read_or_fail_the_import(name: str, tmp_path: Path):
    for value in json_mutations(config(name), 40, 0):
        with contextlib.suppress(ImportFailed):
            read(rewritten(name, {"config.json": json.dumps(value).encode()}), tmp_path)


def test_damaged_files_are_read_or_fail_the_import(tmp_path: Path):
    weights = zipfile.ZipFile(io.BytesIO(recorded("nested.keras"))).read("model.weights.h5")
    copies = [rewritten("nested", {"model.weights.h5": copy}) for copy in mutations(weights, 100, 0)]
    for copy in [*copies, *mutations(recorded("nested.keras"), 50, 1)]:
        with contextlib.suppress(ImportFailed):
            read(copy, tmp_path)


def test_only_zips_of_keras_are_sniffed():
    assert IMPORTER.sniff(recorded("picture.keras")[:65536], 1000)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("config.json", "{}")
    for head in (made.getvalue(), b"PK\x03\x04" + bytes(40), b"\x89HDF\r\n\x1a\n", b"{", b""):
        assert not IMPORTER.sniff(head, len(head))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_recorded_networks_give_their_numbers_and_published_ones_are_refused_with_the_right_reason(case):
    outcome = run_case(case)
    assert outcome.right, outcome.words
