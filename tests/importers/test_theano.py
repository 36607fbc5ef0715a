"""Theano and Lasagne: pickles of arrays of every protocol, `.npz`, the networks, hostile files."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from foreign.case import run_case, run_graph
from foreign.theano import GOMOKU, PLACES, cases, gomoku
from glia.core.errors import ImportFailed
from glia.importers.architectures.gomoku_alphazero import shapes
from glia.importers.npz_file import read_npy, read_npz
from glia.importers.numpy_pickle import NumpyArray, arrays_in, read_pickle
from glia.importers.parity import compare
from glia.importers.theano import IMPORTER
from house import SHARED
from importers.mutate import mutations

ARRAYS = [
    np.arange(12, dtype="<f4").reshape(3, 4),
    np.arange(6, dtype=">f8").reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype="<i4").reshape(2, 3)),
    np.array(1.5, "<f2"),
    np.zeros((0, 3), "<f4"),
    np.array([True, False]),
    np.array([1, 200], "u1"),
]
OPTIONS = {"architecture": "gomoku-alphazero"}


def weights(side: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes(side * side).values()]


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_every_protocol_are_read(protocol: int):
    found = arrays_in(read_pickle(pickle.dumps(ARRAYS, protocol)))
    assert len(found) == len(ARRAYS)
    for a, b in zip(ARRAYS, found, strict=True):
        np.testing.assert_array_equal(a, b)
        assert b.dtype == a.dtype.newbyteorder("=")
        assert b.flags.c_contiguous


def test_a_pickle_of_python_2_is_read():
    raw = np.array([1.5, -2], "<f4").tobytes()
    made = (
        b"\x80\x02](cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01\x8a\x01\x02\x85"
    )
    made += b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    made += b"T" + struct.pack("<i", len(raw)) + raw + b"tbe."
    (found,) = arrays_in(read_pickle(made))
    np.testing.assert_array_equal(found, [1.5, -2])


def test_dicts_and_text_around_arrays_are_read():
    for protocol in range(5):
        value = read_pickle(
            pickle.dumps({"param values": [ARRAYS[0]], "words": ["é", "b"], "n": -7, "x": 0.5}, protocol)
        )
        assert isinstance(value, dict)
        assert value["n"] == -7
        assert value["x"] == 0.5
        assert value["words"] == ["é", "b"]
        assert isinstance(value["param values"][0], NumpyArray)


HEAD = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
KIND = b"cnumpy\ndtype\nU\x02%sK\x00K\x01\x87R(K\x03U\x01%sNNNK\x00K\x00K\x00tb"
BAD = {
    "shape": HEAD + b"(K\x01\x8a\x05\xff\xff\xff\xff\x7f\x85" + KIND % (b"f4", b"<") + b"\x89U\x00tb.",
    "an array's shape": HEAD + b"(K\x01J\xff\xff\xff\xff\x85" + KIND % (b"f4", b"<") + b"\x89U\x00tb.",
    "8 bytes": HEAD + b"(K\x01K\x02\x85" + KIND % (b"f4", b"<") + b"\x89U\x03abctb.",
    "numbers as an array's type": HEAD + b"(K\x01K\x02\x85" + KIND % (b"O8", b"|") + b"\x89]tb.",
    "order of bytes": HEAD + b"(K\x01K\x02\x85" + KIND % (b"f4", b"x") + b"\x89U\x00tb.",
    "shape, type, order and bytes": HEAD + b"K\x01b.",
    "the global 'os.system'": b"\x80\x02cos\nsystem\nU\x02ls\x85R.",
    "builtins.eval": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
    "numbers, received": b"\x80\x02]" + HEAD[2:] + b"a.",
    "lists of arrays": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("words", BAD)
def test_pickles_that_lie_or_do_harm_fail_the_import(words: str):
    with pytest.raises(ImportFailed, match=words.replace("numbers, received", "with its numbers")):
        arrays_in(read_pickle(BAD[words]))


def test_npz_is_read_in_its_order():
    made = io.BytesIO()
    np.savez(made, *ARRAYS * 2)
    found = read_npz(made.getvalue())
    assert list(found)[:2] == ["arr_0", "arr_1"]
    for a, b in zip(ARRAYS * 2, found.values(), strict=True):
        np.testing.assert_array_equal(a, b)


def npy(head: str, raw: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + raw


@pytest.mark.parametrize("head", [
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<f9', 'fortran_order': False, 'shape': (1,), }",
    "__import__('os').system('true')",
])  # fmt: skip
def test_heads_of_npy_that_lie_fail_the_import(head: str):
    with pytest.raises(ImportFailed):
        read_npy(npy(head, b"1234"), "w")


@pytest.mark.parametrize("kind", ["pickle", "npz"])
def test_the_network_gives_the_numbers_of_numpy(kind: str, tmp_path: Path):
    arrays = weights()
    path = tmp_path / "weights"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(arrays, 2))
    else:
        with path.open("wb") as file:
            np.savez(file, *arrays)
    graph = IMPORTER.read({"w": path}, OPTIONS)["model"]
    x = np.random.default_rng(1).normal(0, 1, (2, 4, 3, 3)).astype(np.float32)
    found = [gomoku(arrays, one.astype(np.float64)) for one in x]
    expected = {name: np.stack([one[name] for one in found]) for name in ("policy", "value")}
    assert compare(lambda _: expected, run_graph(graph), [{"state": x}], 1e-5, "numpy").max_abs is not None
    for tensor in graph.model.graph.initializer:
        if list(tensor.dims[2:]) == [3, 3]:
            turned = np.flip(onnx.numpy_helper.to_array(tensor), (2, 3)).copy()
            tensor.CopyFrom(onnx.numpy_helper.from_array(turned, tensor.name))
    with pytest.raises(ImportFailed, match="off numpy"):
        compare(lambda _: expected, run_graph(graph), [{"state": x}], 1e-4, "numpy")


def test_arrays_that_do_not_fit_are_all_listed(tmp_path: Path):
    arrays = weights()
    arrays[0], arrays[5] = arrays[0][:-1], np.full_like(arrays[5], np.nan)
    (tmp_path / "w").write_bytes(pickle.dumps(arrays, 2))
    with pytest.raises(ImportFailed, match="2 faults"):
        IMPORTER.read({"w": tmp_path / "w"}, OPTIONS)
    (tmp_path / "w").write_bytes(pickle.dumps({"a": arrays}, 2))
    with pytest.raises(ImportFailed, match="param values"):
        IMPORTER.read({"w": tmp_path / "w"}, OPTIONS)
    with pytest.raises(ImportFailed, match="architecture"):
        IMPORTER.read({"w": tmp_path / "w"}, {})


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_damaged_pickles_are_read_or_fail_the_import(protocol: int):
    for copy in mutations(pickle.dumps([*ARRAYS, "text", 3, None, {"a": [1.5]}], protocol), 200, protocol):
        with contextlib.suppress(ImportFailed):
            read_pickle(copy)


def test_damaged_npz_are_read_or_fail_the_import(tmp_path: Path):
    made = io.BytesIO()
    np.savez(made, *weights())
    for copy in mutations(made.getvalue(), 100, 0):
        (tmp_path / "w").write_bytes(copy)
        with contextlib.suppress(ImportFailed):
            IMPORTER.read({"w": tmp_path / "w"}, OPTIONS)


def test_only_arrays_are_sniffed():
    for protocol in range(5):
        assert IMPORTER.sniff(pickle.dumps(ARRAYS, protocol), 1000)
    made = io.BytesIO()
    np.savez(made, *ARRAYS)
    assert IMPORTER.sniff(made.getvalue(), 1000)
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("a/data.pkl", "")
    torch = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
    for head in (empty.getvalue(), torch, b"{", b"", b"\x89HDF\r\n\x1a\n", pickle.dumps({"a": 1}, 2)):
        assert not IMPORTER.sniff(head, len(head))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_networks_give_the_numbers_of_numpy(case):
    outcome = run_case(case)
    assert outcome.right, outcome.words


def test_the_first_move_is_near_the_middle():
    path = GOMOKU / "best_policy_8_8_5.model"
    if not path.exists():
        pytest.skip("the network is not on this machine")
    graph = IMPORTER.read({"w": path}, OPTIONS)["model"]
    state = np.zeros((1, 4, 8, 8), np.float32)
    state[:, 3] = 1
    found = run_graph(graph)({"state": state})
    row, column = divmod(int(found["policy"].argmax()), 8)
    assert {row, column} <= {2, 3, 4, 5}
    assert 0 < found["value"][0, 0] < 0.6


@pytest.mark.parametrize(("photo", "scenes"), [
    ("mountain-valley.jpg", {"valley", "mountain_path", "mountain", "glacier", "mountain_snowy"}),
    ("beach-kites.jpg", {"beach", "coast", "lagoon", "ocean", "sandbox"}),
])  # fmt: skip
def test_places_are_named(photo: str, scenes: set[str]):
    picture = SHARED / "data" / "photos-known-content" / photo
    if not picture.exists() or not PLACES.exists():
        pytest.skip("the network or the photo is not on this machine")
    names = ("squeezenet_weights_places365.params", "categories_places365.txt", "places365CNN_mean.binaryproto")
    graph = IMPORTER.read({name: PLACES / name for name in names}, {"architecture": "squeezenet-lasagne"})["model"]
    pixels = np.asarray(Image.open(picture).convert("RGB").resize((256, 256)), np.float32)[16:240, 16:240, ::-1]
    scores = run_graph(graph)({"image": np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]})["probabilities"][0]
    best = graph.known["labels"][int(scores.argmax())]
    assert best.split("/")[-1] in scenes, best
