"""Weights with a manifest, and safetensors: readers, architectures, damaged files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from foreign.case import run_case, run_graph
from foreign.weights_manifest import cases
from glia.core.errors import ImportFailed
from glia.importers import safetensors_file
from glia.importers.architectures import (
    age_gender_xception,
    architectures,
    face_dense,
    face_recognition_resnet,
    fast_style_transfer,
    ssd_mobilenet_v1,
    tiny_face_detector,
)
from glia.importers.safetensors_file import read_safetensors
from glia.importers.sniff import importer_for
from glia.importers.weights_manifest import IMPORTER
from house import SHARED
from importers.mutate import mutations

Shapes = Mapping[str, tuple[int, ...]]
NETWORKS: dict[str, tuple[str, Callable[[], Shapes], tuple[int, int]]] = {
    "detector": ("tiny-face-detector", tiny_face_detector.shapes, (67, 98)),
    "ages": ("age-gender-xception", age_gender_xception.shapes, (112, 112)),
    "tiny landmarks": ("face-dense", lambda: face_dense.shapes(3, 3, 136), (112, 112)),
    "landmarks": ("face-dense", lambda: face_dense.shapes(4, 4, 136), (112, 112)),
    "expressions": ("face-dense", lambda: face_dense.shapes(4, 4, 7), (112, 112)),
    "recognition": ("face-recognition-resnet", face_recognition_resnet.shapes, (150, 150)),
    "faces": ("ssd-mobilenet-v1", ssd_mobilenet_v1.shapes, (512, 512)),
    "style": ("fast-style-transfer", fast_style_transfer.shapes, (24, 36)),
}


def random_weights(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep values near 1."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes.items():
        inputs = np.prod(shape[:2]) if name.endswith("depthwise_filter") else np.prod(shape[:-1])
        found[name] = (
            rng.normal(0, 1 / np.sqrt(inputs), shape) if len(shape) > 1 else rng.normal(0, 0.3, shape)
        ).astype(np.float32)
        if name == "Output/extra_dim":
            corners = rng.random((1, shape[1], 2))
            found[name] = np.concatenate([corners, corners + 0.1 + rng.random(corners.shape)], 2).astype(np.float32)
        if name.endswith(("scale/weights", "moving_variance")):
            found[name] = np.abs(found[name]) + np.float32(0.5)
    return found


def manifest(folder: Path, weights: Mapping[str, np.ndarray], quantised: bool = False) -> dict[str, Path]:
    """A manifest with two shards."""
    specs, data = [], b""
    for name, value in weights.items():
        spec = {"name": name, "shape": list(value.shape), "dtype": "float32"}
        if quantised and value.size > 1:
            scale = float(np.ptp(value)) / 255 or 1.0
            spec["quantization"] = {"dtype": "uint8", "scale": scale, "min": float(value.min())}
            data += np.round((value - value.min()) / scale).astype(np.uint8).tobytes()
        else:
            data += value.astype("<f4").tobytes()
        specs.append(spec)
    half = len(data) // 2
    (folder / "net-shard1").write_bytes(data[:half])
    (folder / "net-shard2").write_bytes(data[half:])
    (folder / "net.json").write_text(json.dumps([{"weights": specs, "paths": ["net-shard1", "net-shard2"]}]))
    return {name: folder / name for name in ("net-shard1", "net-shard2", "net.json")}


@pytest.mark.parametrize(("name", "form"), [*((name, "manifest") for name in NETWORKS), ("detector", "safetensors")])
def test_architectures_give_what_torch_gives(tmp_path: Path, name: str, form: str):
    pytest.importorskip("torch", reason="torch is the oracle")
    from importers.browser_networks import REFERENCES

    architecture, shapes, size = NETWORKS[name]
    weights = random_weights(shapes())
    files = manifest(tmp_path, weights) if form == "manifest" else {"w": safetensors(tmp_path / "w", weights)}
    graph = importer_for(files).read(files, {})["model"]
    assert sum(layer.parameters for layer in graph.layers) >= 0.9 * sum(value.size for value in weights.values())
    run = run_graph(graph)
    x = (np.random.default_rng(1).random((2, 3, *size)) * 255).astype(np.float32)
    found, expected = run({"image": x}), REFERENCES[architecture](weights, x)
    assert set(found) == set(expected) == set(graph.outputs)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-4 * max(1, np.abs(value).max()))
        np.testing.assert_allclose(run({"image": x[:1]})[key], found[key][:1], atol=1e-3)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_weights_give_what_torch_gives(case):
    assert run_case(case).words == "passed"


def test_a_published_manifest_and_its_network_are_found_by_themselves():
    folder = SHARED / "weights" / "face-age-gender-faceapi"
    if not folder.is_dir():
        pytest.skip("the published files are not on this machine")
    files = {path.name: path for path in folder.iterdir() if path.name != "source.json"}
    graph = importer_for(files).read(files, {"architecture": "age-gender-xception"})["model"]
    assert set(graph.outputs) == {"age", "gender"}
    with pytest.raises(ImportFailed, match="faults"):
        IMPORTER.read(files, {"architecture": "tiny-face-detector"})
    with pytest.raises(ImportFailed, match="option"):
        IMPORTER.read(files, {"architecture": "age-gender-xception", "size": 3})


def test_files_of_deeplearn_are_read(tmp_path: Path):
    weights = random_weights(fast_style_transfer.shapes())
    entries = {name: {"filename": f"{name}.bin", "shape": list(value.shape)} for name, value in weights.items()}
    (tmp_path / "manifest.json").write_text(json.dumps(entries, indent=2))
    for name, value in weights.items():
        (tmp_path / f"{name}.bin").write_bytes(value.tobytes())
    files = {path.name: path for path in tmp_path.iterdir()}
    graph = importer_for(files).read(files, {})["model"]
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    out = session.run(None, {"image": np.zeros((1, 3, 20, 28), np.float32)})[0]
    assert out.shape == (1, 3, 20, 28)
    (tmp_path / "Variable_7.bin").write_bytes(b"\0" * 5)
    with pytest.raises(ImportFailed, match="5 bytes"):
        IMPORTER.read(files, {})
    del files["Variable_7.bin"]
    with pytest.raises(ImportFailed, match="not given"):
        IMPORTER.read(files, {})


def test_quantised_weights_are_near_the_others(tmp_path: Path):
    weights = random_weights(face_dense.shapes(3, 3, 136))
    x = np.full((1, 3, 112, 112), 100, np.float32)
    exact, near = (
        run_graph(IMPORTER.read(manifest(tmp_path, weights, quantised), {})["model"])({"image": x})["landmarks"]
        for quantised in (False, True)
    )
    assert 0 < np.abs(exact - near).max() < 0.2


def test_unknown_weights_need_a_word_and_the_known_architectures_are_listed(tmp_path: Path):
    files = manifest(tmp_path, {"a": np.zeros((2, 3), np.float32)})
    with pytest.raises(ImportFailed, match="architecture") as error:
        IMPORTER.read(files, {})
    assert all(name in error.value.message for name in architectures())
    with pytest.raises(ImportFailed, match="missing"):
        IMPORTER.read(files, {"architecture": "face-dense"})


def safetensors(path: Path, tensors: Mapping[str, np.ndarray], **changes: object) -> Path:
    """A file of that format; `changes` replace what the header says of a tensor."""
    names = {np.dtype(kind): name for name, kind in safetensors_file.DTYPES.items() if name not in ("BF16", "BOOL")}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, value in tensors.items():
        start, data = len(data), data + value.tobytes()
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header | changes).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_safetensors_of_all_types_are_read(tmp_path: Path):
    rng = np.random.default_rng(0)
    kinds = [kind for name, kind in safetensors_file.DTYPES.items() if name not in ("BF16", "BOOL")]
    tensors = {kind: (rng.random((2, 3)) * 100).astype(kind) for kind in kinds}
    found = read_safetensors(safetensors(tmp_path / "x", tensors))
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)
    halves = np.array([1.0, -2.5], np.float32)
    upper = {"h": (halves.view(np.uint32) >> 16).astype("<u2")}
    told = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}
    np.testing.assert_array_equal(read_safetensors(safetensors(tmp_path / "x", upper, h=told))["h"], halves)


@pytest.mark.parametrize(
    "told",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]},
        {"dtype": "F4", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, True]},
        {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        7,
    ],
)
def test_safetensors_that_do_not_fit_together_are_refused(tmp_path: Path, told: object):
    path = safetensors(tmp_path / "x", {"a": np.zeros(2, np.float32)}, a=told)
    with pytest.raises(ImportFailed):
        read_safetensors(path)


def test_overlaps_gaps_and_doubles_are_refused(tmp_path: Path):
    path, pair = tmp_path / "x", {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}
    for place in ([0, 8], [4, 12]):
        with pytest.raises(ImportFailed, match="gaps or overlaps"):
            read_safetensors(safetensors(path, pair, b={"dtype": "F32", "shape": [2], "data_offsets": place}))
    text = b'{"a":{},"a":{}}'
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ImportFailed, match="twice"):
        read_safetensors(path)


def test_damaged_files_are_refused_or_read(tmp_path: Path):
    weights = random_weights({"conv0/filters": (1, 1, 2, 2), "conv0/bias": (2,)})
    whole = safetensors(tmp_path / "x", weights).read_bytes()
    files = manifest(tmp_path, weights)
    text = files["net.json"].read_bytes()
    for data in mutations(whole, 200, 0):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(ImportFailed):
            safetensors_file.IMPORTER.read({"x": tmp_path / "x"}, {})
    for data in mutations(text, 200, 0):
        files["net.json"].write_bytes(data)
        with pytest.raises(ImportFailed):
            IMPORTER.read(files, {})


def test_other_json_is_let_be():
    for head in (
        b'{"format": "layers-model", "weightsManifest": [{"paths": []}]}',
        b"[]",
        b'{"a": 1}',
        b'[{"name": 1}]',
    ):
        assert not IMPORTER.sniff(head, len(head))
        assert not safetensors_file.IMPORTER.sniff(head, len(head))
