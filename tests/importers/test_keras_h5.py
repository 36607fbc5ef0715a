"""Keras 1 and 2 in HDF5: layers against numpy, dialects, hostile files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from PIL import Image

from foreign.case import run_case, run_graph
from foreign.keras_h5 import INTEROP, WEIGHTS, cases
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.keras_h5 import IMPORTER
from glia.importers.keras_layers.hdf5 import read_hdf5
from glia.importers.parity import compare
from house import SHARED
from importers.keras_numpy import Model, arrays_of, config_of, slide
from importers.mutate import mutations

Layers = Sequence[tuple[str, Mapping[str, Any], Sequence[np.ndarray]]]
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


def write(path: Path, layers: Layers, shape: Sequence[int | None], version: str = "2.3.1", **attributes: str) -> Path:
    """A Sequential model of these layers: class, settings, arrays."""
    entries = [
        {"class_name": kind, "config": {"name": f"layer_{at}", **settings}}
        for at, (kind, settings, _) in enumerate(layers)
    ]
    entries[0]["config"]["batch_input_shape"] = [None, *shape]
    is_old = version.startswith("1")
    config = {"class_name": "Sequential", "config": entries if is_old else {"name": "net", "layers": entries}}
    suffix = "" if attributes.get("backend") == "theano" else ":0"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), version
        group = file.create_group("model_weights")
        if not is_old:
            group.attrs["backend"] = attributes.get("backend", "tensorflow")
        group.attrs["layer_names"] = [f"layer_{at}".encode() for at in range(len(layers))]
        for at, (_, _, arrays) in enumerate(layers):
            inner = group.create_group(f"layer_{at}")
            names = [f"w{number}{suffix}" for number in range(len(arrays))]
            inner.attrs["weight_names"] = np.array([name.encode() for name in names], "S9")
            for name, array in zip(names, arrays, strict=True):
                inner[name] = array
    return path


def read(path: Path, **options: Any) -> ImportedGraph:
    return IMPORTER.read({"model": path}, options)["model"]


def result(graph: ImportedGraph, x: np.ndarray) -> np.ndarray:
    (y,) = run_graph(graph)({graph.model.graph.input[0].name: x}).values()
    return y


CONV = {"filters": 4, "kernel_size": [3, 2], "strides": [1, 1], "padding": "valid", "activation": "relu"}
OLD_CONV = {"nb_filter": 4, "nb_row": 3, "nb_col": 2, "subsample": [1, 1], "border_mode": "same", "bias": True}
RNN = {"units": 3, "activation": "tanh", "recurrent_activation": "hard_sigmoid", "return_sequences": True,
       "go_backwards": False}  # fmt: skip
OLD_RNN = {"output_dim": 3, "activation": "tanh", "inner_activation": "hard_sigmoid", "inner_init": "orthogonal",
           "return_sequences": False, "go_backwards": False}  # fmt: skip
BATCH_NORM = [normal(3), normal(3), normal(3), np.abs(normal(3)) + 0.5]
NETWORKS: dict[str, tuple[Layers, tuple[int, ...], str]] = {
    "conv": ([("Conv2D", CONV, [normal(3, 2, 3, 4), normal(4)])], (7, 6, 3), "2.3.1"),
    "conv same, stride 2": (
        [("Conv2D", CONV | {"padding": "same", "strides": [2, 2]}, [normal(3, 2, 3, 4), normal(4)])],
        (7, 6, 3),
        "2.3.1",
    ),
    "conv channels first": (
        [("Conv2D", CONV | {"data_format": "channels_first"}, [normal(3, 2, 3, 4), normal(4)]), ("Flatten", {}, [])],
        (3, 7, 6),
        "2.1.0",
    ),
    "conv of Keras 1 with th": (
        [("Convolution2D", OLD_CONV | {"dim_ordering": "th", "border_mode": "valid"}, [normal(4, 3, 3, 2), normal(4)])],
        (3, 7, 6),
        "1.2.2",
    ),
    "conv of Keras 1 with tf": (
        [("Convolution2D", OLD_CONV | {"dim_ordering": "tf"}, [normal(3, 2, 3, 4), normal(4)]), ("Flatten", {}, [])],
        (7, 6, 3),
        "1.2.2",
    ),
    "pools": (
        [
            ("MaxPooling2D", {"pool_size": [3, 3], "strides": [2, 2], "padding": "same"}, []),
            ("AveragePooling2D", {"pool_size": [2, 2], "strides": [2, 2], "padding": "same"}, []),
            ("BatchNormalization", {"axis": -1, "epsilon": 1e-3}, BATCH_NORM),
            ("GlobalAveragePooling2D", {}, []),
        ],
        (9, 10, 3),
        "2.3.1",
    ),
    "depthwise": (
        [
            ("ZeroPadding2D", {"padding": [[0, 1], [2, 1]]}, []),
            ("DepthwiseConv2D", {"kernel_size": [3, 3], "strides": [2, 2], "padding": "valid", "use_bias": False,
                                 "depth_multiplier": 2}, [normal(3, 3, 3, 2)]),
            ("LeakyReLU", {"alpha": 0.1}, []),
        ],
        (9, 10, 3),
        "2.3.1",
    ),
    "lstm": ([("LSTM", RNN, [normal(4, 12), normal(3, 12), normal(12)])], (5, 4), "2.3.1"),
    "gru": ([("GRU", RNN, [normal(4, 9), normal(3, 9), normal(9)])], (5, 4), "2.3.1"),
    "lstm of Keras 1": (
        [("LSTM", OLD_RNN, [array for _ in range(4) for array in (normal(4, 3), normal(3, 3), normal(3))])],
        (5, 4),
        "1.2.2",
    ),
    "rnn and dense": (
        [
            ("SimpleRNN", RNN | {"return_sequences": False}, [normal(4, 3), normal(3, 3), normal(3)]),
            ("Dense", {"units": 2, "activation": "softmax"}, [normal(3, 2), normal(2)]),
        ],
        (5, 4),
        "2.3.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_equal_those_of_a_slow_reader(name: str, tmp_path: Path):
    layers, shape, version = NETWORKS[name]
    path = write(tmp_path / "net.h5", layers, shape, version)
    x = np.random.default_rng(1).normal(0, 1, (2, *shape)).astype(np.float32)
    held, theano = arrays_of(path)
    (expected,) = Model(config_of(path), held.values(), theano).forward(x)
    graph = read(path)
    np.testing.assert_allclose(result(graph, x), expected, atol=1e-5)
    assert [layer.kind for layer in graph.layers][-1] in {kind for kind, _, _ in layers} | {"Conv2D"}
    single = np.concatenate([result(graph, one[None]) for one in x])
    np.testing.assert_allclose(single, expected, atol=1e-5)


RECORDS = Path(__file__).parent / "fixtures" / "tf_keras.zip"
TF_NAMES = [name.removesuffix(".h5") for name in zipfile.ZipFile(RECORDS).namelist() if name.endswith(".h5")]


@pytest.mark.parametrize("name", TF_NAMES)
def test_numbers_equal_those_recorded_from_tf_keras(name: str, tmp_path: Path):
    with zipfile.ZipFile(RECORDS) as archive:
        archive.extract(f"{name}.h5", tmp_path)
        arrays = np.load(io.BytesIO(archive.read(f"{name}.npz")))
    graph = read(tmp_path / f"{name}.h5")
    given = [arrays[f"in_{at}"] for at in range(len(graph.model.graph.input))]
    names = [value.name for value in graph.model.graph.input]
    (y,) = run_graph(graph)(dict(zip(names, given, strict=True))).values()
    np.testing.assert_allclose(y, arrays["out_0"], atol=1e-5 * max(1, np.abs(arrays["out_0"]).max()))


@pytest.mark.parametrize(("version", "settings", "kernel"), [
    ("2.1.0", CONV, normal(3, 2, 3, 4)),
    ("1.2.2", OLD_CONV | {"border_mode": "valid", "dim_ordering": "tf"}, normal(3, 2, 3, 4)),
])  # fmt: skip
def test_kernels_of_theano_are_turned(tmp_path: Path, version: str, settings: dict, kernel: np.ndarray):
    kind = "Conv2D" if version.startswith("2") else "Convolution2D"
    path = write(tmp_path / "net.h5", [(kind, settings, [kernel, normal(4)])], (7, 6, 3), version, backend="theano")
    x = normal(2, 7, 6, 3)
    plain = np.einsum("nhwcij,ijco->nhwo", slide(x, (3, 2), (1, 1), False), kernel[::-1, ::-1]) + normal(4)
    expected = np.maximum(plain, 0) if settings is CONV else plain
    graph = read(path)
    np.testing.assert_allclose(result(graph, x), expected, atol=1e-5)
    assert any("Theano" in note for note in graph.notes)
    assert np.abs(result(read(path, backend="tensorflow"), x) - expected).max() > 0.1


def test_same_pads_of_theano_lie_before(tmp_path: Path):
    settings = OLD_CONV | {"dim_ordering": "tf", "subsample": [2, 2], "nb_row": 3, "nb_col": 3}
    kernel, bias = normal(3, 3, 3, 4), normal(4)
    path = write(
        tmp_path / "net.h5", [("Convolution2D", settings, [kernel, bias])], (8, 8, 3), "1.2.2", backend="theano"
    )
    x = normal(1, 8, 8, 3)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.einsum("nhwcij,ijco->nhwo", slide(padded, (3, 3), (2, 2), False), kernel[::-1, ::-1]) + bias
    np.testing.assert_allclose(result(read(path), x), expected[:, :4, :4], atol=1e-5)


def test_a_turned_kernel_in_the_graph_is_noticed(tmp_path: Path):
    layers, shape, version = NETWORKS["conv"]
    path = write(tmp_path / "net.h5", layers, shape, version)
    graph, x = read(path), normal(2, 7, 6, 3)
    expected = {"y": result(graph, x)}
    for tensor in graph.model.graph.initializer:
        if len(tensor.dims) == 4:
            turned = np.flip(onnx.numpy_helper.to_array(tensor), (2, 3)).copy()
            tensor.CopyFrom(onnx.numpy_helper.from_array(turned, tensor.name))
    with pytest.raises(ImportFailed, match="off the records"):
        compare(lambda _: expected, lambda _: {"y": result(graph, x)}, [{"x": x}], 1e-4, "the records")


def test_all_unsupported_layers_are_told_at_once(tmp_path: Path):
    layers = [
        ("Lambda", {"function": ["4wEAAAAB", None, None]}, []),
        ("Dense", {"units": 3}, [normal(3, 3), normal(3)]),
    ]
    with pytest.raises(ImportFailed) as error:
        read(write(tmp_path / "net.h5", layers, (3,)))
    for part in ("layer_0 (Lambda)", "program code, which is not run"):
        assert part in error.value.message
    branches = [("Lambda", [["in", 0, 0, {}]]), ("Capsule", [["in", 0, 0, {}]]), ("Dropout", [["in", 0, 0, {}]])]
    entries = [{"class_name": "InputLayer", "name": "in", "config": {"batch_input_shape": [None, 3], "name": "in"},
                "inbound_nodes": []}]  # fmt: skip
    entries += [
        {"class_name": kind, "name": kind, "config": {"name": kind}, "inbound_nodes": [call]} for kind, call in branches
    ]
    ends = [[kind, 0, 0] for kind, _ in branches]
    config = {"name": "m", "layers": entries, "input_layers": [["in", 0, 0]], "output_layers": ends}
    with h5py.File(tmp_path / "both.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config})
        file.create_group("model_weights").attrs["layer_names"] = []
    with pytest.raises(ImportFailed, match="2 layers cannot be imported") as error:
        read(tmp_path / "both.h5")
    assert "Lambda (Lambda)" in error.value.message
    assert "Capsule (Capsule)" in error.value.message


def test_weights_beside_json_are_matched_by_order_where_names_differ(tmp_path: Path):
    layers, shape, version = NETWORKS["rnn and dense"]
    whole = write(tmp_path / "whole.h5", layers, shape, version)
    x = normal(2, *shape)
    config = config_of(whole)
    for entry, name in zip(config["config"]["layers"], ("first", "second"), strict=True):
        entry["config"]["name"] = name
    (tmp_path / "net.json").write_text(json.dumps(json.dumps(config)))
    with h5py.File(whole, "a") as file:
        del file.attrs["model_config"]
    graph = IMPORTER.read({"a": tmp_path / "net.json", "b": whole}, {})["model"]
    held, _ = arrays_of(whole)
    np.testing.assert_allclose(result(graph, x), Model(config, held.values()).forward(x)[0], atol=1e-5)
    assert any("order" in note for note in graph.notes)


def test_labels_beside_the_network_reach_the_card(tmp_path: Path):
    path = write(tmp_path / "net.h5", [("Dense", {"units": 2}, [normal(3, 2), normal(2)])], (3,))
    (tmp_path / "names.txt").write_text("dog 1\ncat 0\n")
    graph = IMPORTER.read({"a": path, "b": tmp_path / "names.txt"}, {})["model"]
    assert graph.known["labels"] == ["cat", "dog"]


def test_an_input_of_open_size_stays_open_or_is_set(tmp_path: Path):
    path = write(tmp_path / "net.h5", [("Conv2D", CONV, [normal(3, 2, 3, 4), normal(4)])], (None, None, 3))
    shape = read(path).model.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in shape] == ["n", "h", "w", 3]
    shape = read(path, input_size=[8, 9, 3]).model.graph.output[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in shape] == ["n", 6, 8, 4]
    for wrong in ([8, 9], [8, 9, 4], "8x9", [0, 1, 3]):
        with pytest.raises(ImportFailed, match="input_size"):
            read(path, input_size=wrong)
    with pytest.raises(ImportFailed, match="Unknown options"):
        read(path, size=[8, 9, 3])


BAD_WEIGHTS = {
    "infinities or NaN": [np.full((3, 2), np.nan, np.float32), normal(2)],
    "kernel has the shape": [normal(4, 2), normal(2)],
    "bias of 2 numbers": [normal(3, 2), normal(3)],
    "array 2": [normal(3, 2)],
    "2 axes": [normal(3, 2, 1), normal(2)],
}


@pytest.mark.parametrize("words", BAD_WEIGHTS)
def test_weights_that_do_not_fit_fail_the_import(tmp_path: Path, words: str):
    with pytest.raises(ImportFailed, match=words):
        read(write(tmp_path / "net.h5", [("Dense", {"units": 2}, BAD_WEIGHTS[words])], (3,)))


@pytest.mark.parametrize("settings", [
    {"filters": "4"}, {"filters": -1}, {"filters": 1 << 40}, {"kernel_size": [0, 2]}, {"kernel_size": [1 << 30, 2]},
    {"strides": [0, 1]}, {"padding": 3}, {"padding": "full"}, {"data_format": "up"}, {"use_bias": "no"}, {"groups": 2},
    {"activation": ["relu"]}, {"dilation_rate": [1 << 20, 1]},
])  # fmt: skip
def test_settings_that_cannot_be_fail_the_import(tmp_path: Path, settings: dict):
    path = write(tmp_path / "net.h5", [("Conv2D", CONV | settings, [normal(3, 2, 3, 4), normal(4)])], (7, 6, 3))
    with pytest.raises(ImportFailed, match=r"layer_0 \(Conv2D\)"):
        read(path)


def hostile(path: Path, kind: str) -> None:
    """An HDF5 file that points out of itself, or claims what it does not hold."""
    with h5py.File(path, "w") as file:
        if kind == "a link to another file":
            file["w"] = h5py.ExternalLink("/etc/passwd", "/")
        elif kind == "a soft link":
            file["w"] = h5py.SoftLink("/nothing")
        elif kind == "numbers in another file":
            file.create_dataset("w", (4,), "u1", external=[("/etc/passwd", 0, 4)])
        elif kind == "a virtual dataset":
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
            file.create_virtual_dataset("w", layout)
        elif kind == "a billion numbers":
            file.create_dataset("w", (1 << 30,), "f4", chunks=(1 << 20,))
        elif kind == "a ring of groups":
            file.create_group("a")["b"] = file["/"]
        elif kind == "groups without end":
            group = file
            for _ in range(60):
                group = group.create_group("g")


@pytest.mark.parametrize("kind", [
    "a link to another file", "a soft link", "numbers in another file", "a virtual dataset", "a billion numbers",
    "a ring of groups", "groups without end",
])  # fmt: skip
def test_hdf5_that_points_out_of_itself_is_refused(tmp_path: Path, kind: str):
    hostile(tmp_path / "bad.h5", kind)
    with pytest.raises(ImportFailed, match="damaged"):
        read_hdf5(tmp_path / "bad.h5", "bad.h5")


def test_a_text_that_claims_gigabytes_is_refused_before_they_are_cleared(tmp_path: Path):
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file.attrs["keras_version"] = "x" * 4567
    data = (tmp_path / "text.h5").read_bytes()
    length = (4567).to_bytes(4, "little")
    assert data.count(length) >= 1
    (tmp_path / "text.h5").write_bytes(data.replace(length, b"\xf0\xff\xff\xff"))
    with pytest.raises(ImportFailed, match="claims 4294967280 bytes"):
        read_hdf5(tmp_path / "text.h5", "text.h5")


@pytest.mark.parametrize("newest", [False, True])
def test_attributes_of_every_kind_are_read(tmp_path: Path, newest: bool):
    with h5py.File(tmp_path / "net.h5", "w", libver="latest" if newest else None) as file:
        file.attrs["text"], file.attrs["raw"], file.attrs["number"] = "é", b"abc", 3
        file.attrs["texts"] = ["one", "two", "three"]
        file.attrs["raws"] = [b"a", b"bc"]
        file.attrs.create("empty", data=h5py.Empty("f4"))
    found = read_hdf5(tmp_path / "net.h5", "net.h5").attributes
    assert (found["text"], found["raw"], int(found["number"])) == ("é", "abc", 3)
    assert (found["texts"], found["raws"]) == (["one", "two", "three"], ["a", "bc"])


def test_damaged_files_are_read_or_fail_the_import(tmp_path: Path):
    layers, shape, version = NETWORKS["rnn and dense"]
    data = write(tmp_path / "net.h5", layers, shape, version).read_bytes()
    path = tmp_path / "damaged.h5"
    failed = 0
    for copy in mutations(data, 200, 0):
        path.write_bytes(copy)
        try:
            read(path)
        except ImportFailed:
            failed += 1
    assert failed > 50


def test_only_hdf5_is_sniffed():
    assert IMPORTER.sniff(b"\x89HDF\r\n\x1a\n" + bytes(100), 108)
    for head in (b"PK\x03\x04", b"{", b"\x80\x02", b"\x08\x07", b""):
        assert not IMPORTER.sniff(head, 100)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_networks_give_the_recorded_numbers(case):
    outcome = run_case(case)
    assert outcome.right, outcome.words


def pictures(name: str, count: int) -> tuple[list[np.ndarray], Mapping[str, np.ndarray]]:
    """Every so many-th picture of a data set as RGB, and its columns at the same places."""
    path = SHARED / "data" / name / "test.npz"
    if not path.exists():
        pytest.skip("the pictures are not on this machine")
    held = np.load(path)
    chosen = np.linspace(0, len(held["offsets"]) - 2, count).astype(int)
    raw, bounds = held["data"].tobytes(), held["offsets"]
    found = [Image.open(io.BytesIO(raw[bounds[at] : bounds[at + 1]])).convert("RGB") for at in chosen]
    columns = {key: held[key][chosen] for key in held.files if key not in ("data", "offsets")}
    return [np.asarray(picture) for picture in found], columns


def test_resnet8_knows_what_it_was_trained_on():
    path = INTEROP / "mlperf-tiny-resnet8-cifar10" / "pretrainedResnet.h5"
    if not path.exists():
        pytest.skip("the network is not on this machine")
    shown, columns = pictures("cifar10", 300)
    scores = result(read(path), np.stack(shown).astype(np.float32))
    assert (scores.argmax(1) == columns["label"]).mean() > 0.7  # 0.85 on pictures that were not compressed


def test_ssr_net_tells_ages_of_faces_with_a_margin():
    path = WEIGHTS / "wiki.h5"
    if not path.exists():
        pytest.skip("the network is not on this machine")
    shown, columns = pictures("faces-age-utk", 120)
    faces = []
    for face in shown:
        margin = face.shape[0] * 2 // 5
        wide = np.pad(face, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        small = Image.fromarray(wide).resize((64, 64), Image.Resampling.BILINEAR)
        faces.append(np.asarray(small, np.float32)[:, :, ::-1])
    ages = result(read(path, architecture="ssr-net"), np.stack(faces))[:, 0]
    assert np.corrcoef(ages, columns["age"])[0, 1] > 0.7
