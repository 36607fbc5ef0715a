"""Layers models of TensorFlow.js."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foreign.case import import_case, run_case, run_graph
from foreign.tfjs_layers import cases, folder
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.tfjs_layers import IMPORTER
from house import SHARED
from importers.mutate import json_mutations, mutations

KERNEL, BIAS = np.arange(12, dtype="<f4").reshape(3, 4) / 10, np.arange(4, dtype="<f4")


def description(**changed: Any) -> dict[str, Any]:
    layers = [
        {
            "class_name": "Dense",
            "config": {"name": "d", "units": 4, "activation": "relu", "batch_input_shape": [None, 3]},
        }
    ]
    weights = [
        {"name": "d/kernel", "shape": [3, 4], "dtype": "float32"},
        {"name": "d/bias", "shape": [4], "dtype": "float32"},
    ]
    return {
        "format": "layers-model",
        "modelTopology": {"class_name": "Sequential", "config": layers, "keras_version": "tfjs-layers 1.2.7"},
        "weightsManifest": [{"paths": ["shard.bin"], "weights": weights}],
    } | changed


def read(value: object, folder: Path, shard: bytes = KERNEL.tobytes() + BIAS.tobytes()) -> ImportedGraph:
    (folder / "model.json").write_text(json.dumps(value))
    (folder / "shard.bin").write_bytes(shard)
    return IMPORTER.read({"a": folder / "model.json", "b": folder / "shard.bin"}, {})["model"]


def result(graph: ImportedGraph, x: np.ndarray) -> np.ndarray:
    (y,) = run_graph(graph)({graph.model.graph.input[0].name: x}).values()
    return y


def test_numbers_are_those_of_numpy(tmp_path: Path):
    x = np.random.default_rng(0).normal(0, 1, (5, 3)).astype(np.float32)
    np.testing.assert_allclose(result(read(description(), tmp_path), x), np.maximum(x @ KERNEL + BIAS, 0), atol=1e-6)


def test_quantised_weights_are_scaled(tmp_path: Path):
    value = description()
    value["weightsManifest"][0]["weights"][0]["quantization"] = {"dtype": "uint8", "scale": 0.5, "min": -1.0}
    packed = np.arange(12, dtype=np.uint8)
    x = np.random.default_rng(0).normal(0, 1, (5, 3)).astype(np.float32)
    graph = read(value, tmp_path, packed.tobytes() + BIAS.tobytes())
    kernel = packed.reshape(3, 4) * 0.5 - 1
    np.testing.assert_allclose(result(graph, x), np.maximum(x @ kernel + BIAS, 0), atol=1e-5)


BAD: Mapping[str, Mapping[str, Any]] = {
    "no layers model|Expected one model.json": {"modelTopology": None},
    "Sequential or functional": {"modelTopology": {"class_name": "Graph", "config": []}},
    "a list as the manifest": {"weightsManifest": {}},
    "Unknown|not given": {"weightsManifest": [{"paths": ["other.bin"], "weights": []}]},
    "expected the kernel as array 1|weights": {"weightsManifest": [{"paths": [], "weights": []}]},
}


@pytest.mark.parametrize("words", BAD)
def test_descriptions_that_cannot_be_fail_the_import(words: str, tmp_path: Path):
    with pytest.raises(ImportFailed, match=words):
        read(description(**BAD[words]), tmp_path)


def test_shards_that_are_too_short_or_missing_fail_the_import(tmp_path: Path):
    for shard in (b"", KERNEL.tobytes(), KERNEL.tobytes() + BIAS.tobytes() + b"more"):
        with pytest.raises(ImportFailed, match="bytes"):
            read(description(), tmp_path, shard)
    with pytest.raises(ImportFailed, match="not given"):
        IMPORTER.read({"a": tmp_path / "model.json"}, {})


def test_strange_and_damaged_files_are_read_or_fail_the_import(tmp_path: Path):
    for value in json_mutations(description(), 100, 0):
        with contextlib.suppress(ImportFailed):
            read(value, tmp_path)
    for copy in mutations(json.dumps(description()).encode(), 100, 0):
        (tmp_path / "model.json").write_bytes(copy)
        with contextlib.suppress(ImportFailed):
            IMPORTER.read({"a": tmp_path / "model.json", "b": tmp_path / "shard.bin"}, {})


def test_only_layers_models_are_sniffed():
    assert IMPORTER.sniff(json.dumps(description()).encode(), 100)
    assert IMPORTER.sniff(b'{"modelTopology": {"keras_version": "2.1.6", "model_config": {', 100)
    graph = {"format": "graph-model", "modelTopology": {"node": [{"name": "class_name"}]}}
    others = (json.dumps(graph).encode(), b'[{"weights": []}]', b'{"class_name": "Sequential"}', b"", b"\x89HDF")
    assert not any(IMPORTER.sniff(head, 100) for head in others)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_networks_give_the_numbers_of_a_slow_reader(case):
    outcome = run_case(case)
    assert outcome.right, outcome.words


def samples(chosen: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """Pictures of ImageNet, 224 px square, in 0..1, and what they show."""
    path = SHARED / "data" / "imagenet-samples" / "images.npz"
    if not path.exists():
        pytest.skip("the pictures are not on this machine")
    held = np.load(path)
    raw, bounds, pictures = held["data"].tobytes(), held["offsets"], []
    for at in chosen:
        picture = Image.open(io.BytesIO(raw[bounds[at] : bounds[at + 1]])).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR)
        pictures.append(np.asarray(square, np.float32) / 255)
    return np.stack(pictures), [str(held["name"][at]).replace("_", " ") for at in chosen]


def test_darknet_names_what_pictures_show():
    files = folder("weights", "imagenet-darknet-tiny-tfjs")
    if not files:
        pytest.skip("the network is not on this machine")
    graph = IMPORTER.read(files, {})["model"]
    labels = graph.known["labels"]
    assert len(labels) == 1000
    pictures, names = samples((130, 145, 340))
    assert names == ["flamingo", "king penguin", "zebra"]
    assert [labels[place] for place in result(graph, pictures).argmax(1)] == names


def test_the_rating_finds_ordinary_photos_neutral():
    case = next((case for case in cases() if case.name.startswith("nsfw")), None)
    if case is None:
        pytest.skip("the network is not on this machine")
    graph = import_case(case)
    pictures, _ = samples(range(970, 980))  # landscapes
    scores = result(graph, pictures)
    assert (scores.argmax(1) == 2).mean() >= 0.8  # Drawing, Hentai, Neutral, Porn, Sexy
