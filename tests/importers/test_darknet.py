"""Darknet's sections, one by one beside plain loops and together beside OpenCV; hostile and damaged files."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from foreign.caffe import cv2
from foreign.case import run_graph
from foreign.darknet import opencv
from glia.core.errors import ImportFailed
from glia.importers.darknet import IMPORTER
from glia.importers.parity import compare
from importers.caffe_files import convolve, pooled
from importers.mutate import mutations

DRAW = np.random.default_rng(5)
X = DRAW.normal(size=(2, 4, 8, 6)).astype(np.float32)
NET = "[net]\nbatch=1\nheight=8\nwidth=6\nchannels=4\n\n"
HEAD = struct.pack("<3iQ", 0, 2, 5, 1234)


def weights(*arrays: np.ndarray, head: bytes = HEAD) -> bytes:
    return head + b"".join(np.asarray(array, np.float32).tobytes() for array in arrays)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def read(folder: Path, cfg: str | bytes, data: bytes, *more: str, **options: object):
    """The graph that is made of these files."""
    files = {}
    for at, content in enumerate((cfg, data, *more)):
        path = folder / f"file{at}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        files[str(at)] = path
    return IMPORTER.read(files, options)["model"]


def answers(graph, x: np.ndarray = X) -> list[np.ndarray]:
    return list(run_graph(graph)({"image": x}).values())


W, B, S, M = random(6, 4, 3, 3), random(6), random(6) + 2, random(6) - 1
V = np.abs(random(6)) + 0.3


def column(values: np.ndarray) -> np.ndarray:
    return values.reshape(1, -1, 1, 1)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)


def same_size_max(x: np.ndarray, size: int) -> np.ndarray:
    """Windows of a stride of 1, with half of the padding in front."""
    before = (size - 1) // 2
    wide = np.pad(x, ((0, 0), (0, 0), (before, size - 1 - before), (before, size - 1 - before)), constant_values=-99)
    return pooled(wide, size, 1, 0, mean=False)


def reorganised(x: np.ndarray, step: int) -> np.ndarray:
    """Darknet's loop: the numbers are read as if there were fewer channels of a larger picture."""
    count, channels, high, wide = x.shape
    few, found = channels // step**2, np.zeros_like(x)
    big = x.reshape(count, few, high * step, wide * step)
    for c in range(channels):
        for i in range(high):
            for j in range(wide):
                offset = c // few
                found[:, c, i, j] = big[:, c % few, i * step + offset // step, j * step + offset % step]
    return found.reshape(count, channels * step**2, high // step, wide // step)


CASES = {
    "convolution": (
        "[convolutional]\nfilters=6\nsize=3\nstride=2\npad=1\nactivation=linear",
        [B, W],
        lambda x: convolve(x, W, (2, 2), (1, 1)) + column(B),
    ),
    "normalised": (
        "[conv]\nbatch_normalize = 1\nfilters=6\nsize=3\npadding=2\nactivation=leaky",
        [B, S, M, V, W],
        lambda x: leaky((convolve(x, W, (1, 1), (2, 2)) - column(M)) * column(S / np.sqrt(V + 1e-6)) + column(B)),
    ),
    "groups": (
        "[convolutional]\nfilters=8\nsize=3\ngroups=4\ndilation=2\npad=1\nactivation=relu",
        [random(8), random(8, 1, 3, 3)],
        lambda x: np.maximum(convolve(x, random(8, 1, 3, 3), (1, 1), (2, 2), 2, 4) + column(random(8)), 0),
    ),
    "default activation": (
        "[convolutional]\nfilters=6\nsize=3",
        [B, W],
        lambda x: 1 / (1 + np.exp(-convolve(x, W, (1, 1), (0, 0)) - column(B))),
    ),
    "connected": (
        "[connected]\noutput=5\nactivation=linear", [random(5), random(5, 192)],
        lambda x: x.reshape(2, -1) @ random(5, 192).T + random(5),
    ),
    "connected, normalised": (
        "[connected]\noutput=6\nbatch_normalize=1\nactivation=linear", [B, random(6, 192), S, M, V],
        lambda x: (x.reshape(2, -1) @ random(6, 192).T - M) / np.sqrt(V + 1e-6) * S + B,
    ),
    "maxpool": ("[maxpool]\nsize=2\nstride=2", [], lambda x: pooled(x, 2, 2, 0, mean=False)),
    "maxpool of one step": ("[maxpool]\nsize=3\nstride=1", [], lambda x: same_size_max(x, 3)),
    "maxpool of one step, even": ("[maxpool]\nsize=2\nstride=1", [], lambda x: same_size_max(x, 2)),
    "avgpool": ("[avgpool]", [], lambda x: x.mean((2, 3), keepdims=True)),
    "softmax": (
        "[avgpool]\n[softmax]\ngroups=1", [],
        lambda x: (lambda e: e / e.sum(1, keepdims=True))(np.exp(x.mean((2, 3)))),
    ),
    "upsample": ("[upsample]\nstride=2", [], lambda x: x.repeat(2, 2).repeat(2, 3)),
    "reorg": ("[reorg]\nstride=2", [], lambda x: reorganised(x, 2)),
    "route": (
        "[maxpool]\nsize=3\n[activation]\nactivation=tanh\n[route]\nlayers=-1, 0", [],
        lambda x: np.concatenate([np.tanh(same_max(x)), same_max(x)], 1),
    ),
    "route of a part": (
        "[dropout]\nprobability=.5\n[route]\nlayers=-1\ngroups=2\ngroup_id=1", [], lambda x: x[:, 2:]
    ),
    "shortcut": (
        "[dropout]\n[activation]\nactivation=logistic\n[shortcut]\nfrom=-2\nactivation=leaky", [],
        lambda x: leaky(x + 1 / (1 + np.exp(-x))),
    ),
    "shortcut from fewer": (
        "[dropout]\n[route]\nlayers=-1\ngroups=2\n[route]\nlayers=0\n[shortcut]\nfrom=1", [],
        lambda x: x + np.pad(x[:, :2], ((0, 0), (0, 2), (0, 0), (0, 0))),
    ),
    "shortcut from more": (
        "[dropout]\n[route]\nlayers=-1\ngroups=2\ngroup_id=1\n[shortcut]\nfrom=0", [], lambda x: x[:, 2:] + x[:, :2],
    ),
    "scale_channels": (
        "[dropout]\n[avgpool]\n[scale_channels]\nfrom=-2", [], lambda x: x * x.mean((2, 3), keepdims=True)
    ),
    "crop": (
        "[crop]\ncrop_height=5\ncrop_width=4\n[activation]\nactivation=linear", [], lambda x: 2 * x[:, :, 1:6, 1:5] - 1
    ),
    "mish": ("[activation]\nactivation=mish", [], lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "swish": ("[activation]\nactivation=swish", [], lambda x: x / (1 + np.exp(-x))),
    "ramp": ("[activation]\nactivation=ramp", [], lambda x: x * (x > 0) + 0.1 * x),
    "loggy": ("[activation]\nactivation=loggy", [], lambda x: 2 / (1 + np.exp(-x)) - 1),
}  # fmt: skip


def same_max(x: np.ndarray) -> np.ndarray:
    return same_size_max(x, 3)


@pytest.mark.parametrize("name", CASES)
def test_each_section_gives_what_its_loops_give(tmp_path: Path, name: str):
    text, arrays, reference = CASES[name]
    (found,) = answers(read(tmp_path, NET + text + "\n", weights(*arrays)))
    np.testing.assert_allclose(found, reference(X.astype(np.float64)), rtol=1e-4, atol=2e-5)


NETWORK = (
    NET.replace("height=8", "height=32").replace("width=6", "width=32")
    + """
# a comment
[convolutional]
batch_normalize=1
filters=6
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=6
size=1
activation=mish

[maxpool]
size=5
stride=1

[shortcut]
from=-2
activation=linear

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
num=3
anchors=4,5, 6,7, 9,9
classes=2
scale_x_y=1.1

[route]
layers=4

[upsample]
stride=2

[route]
layers=-1, 0

[convolutional]
filters=7
size=1
activation=linear

[yolo]
mask=2
num=3
anchors=4,5, 6,7, 9,9
classes=2
"""
)
ARRAYS = [B, S, M, V, W, random(6), random(6, 6, 1, 1), random(14), random(14, 6, 1, 1), random(7), random(7, 12, 1, 1)]


@pytest.mark.skipif(cv2 is None, reason="OpenCV is not installed")
def test_a_network_gives_what_opencv_gives(tmp_path: Path):
    graph = read(tmp_path, NETWORK, weights(*ARRAYS))
    run = opencv(NETWORK.encode(), weights(*ARRAYS), {"yolo_6": "conv_5", "yolo_11": "conv_10"})
    x = DRAW.normal(size=(1, 4, 32, 32)).astype(np.float32)
    parity = compare(lambda probe: run(probe["image"]), run_graph(graph), [{"image": x}], 1e-5, "OpenCV")
    assert parity.probes == 1


def test_heads_stay_raw_and_are_described(tmp_path: Path):
    graph = read(tmp_path, NETWORK, weights(*ARRAYS), "cat\ndog\n")
    assert list(graph.outputs) == ["yolo_6", "yolo_11"]
    first, second = graph.known["heads"]
    assert first["anchors"] == [[4, 5], [6, 7]]
    assert first["scale_x_y"] == 1.1
    assert second == {"output": "yolo_11", "kind": "yolo", "classes": 2, "anchors": [[9, 9]], "scale_x_y": 1.0,
                      "new_coords": 0}  # fmt: skip
    assert graph.known["labels"] == ["cat", "dog"]
    assert graph.known["size"] == [32, 32]
    assert any("raw" in note for note in graph.notes)
    shape = graph.model.graph.input[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["n", 4, "h", "w"]


def test_outputs_and_size_may_be_asked_for(tmp_path: Path):
    graph = read(tmp_path, NETWORK, weights(*ARRAYS), outputs=["shortcut_4"], input_size=[16, 48])
    shapes = [value.type.tensor_type.shape.dim for value in (*graph.model.graph.input, *graph.model.graph.output)]
    assert [[dim.dim_value for dim in shape[1:]] for shape in shapes] == [[4, 16, 48], [6, 4, 12]]
    with pytest.raises(ImportFailed, match="No layer is called 'yolo_7'"):
        read(tmp_path, NETWORK, weights(*ARRAYS), outputs="yolo_7")


@pytest.mark.parametrize(("version", "head"), [((0, 1), "<3iI"), ((0, 2), "<3iQ"), ((2, 0), "<3iQ")])
def test_heads_of_every_version_are_read(tmp_path: Path, version: Sequence[int], head: str):
    text, arrays, reference = CASES["convolution"]
    data = weights(*arrays, head=struct.pack(head, *version, 0, 7))
    (found,) = answers(read(tmp_path, NET + text, data))
    np.testing.assert_allclose(found, reference(X.astype(np.float64)), rtol=1e-4, atol=1e-5)


def test_matrices_of_new_versions_lie_turned(tmp_path: Path):
    text, (bias, matrix), reference = CASES["connected"]
    data = weights(bias, matrix.T, head=struct.pack("<3iI", 1001, 0, 0, 0))
    (found,) = answers(read(tmp_path, NET + text, data))
    np.testing.assert_allclose(found, reference(X.astype(np.float64)), rtol=1e-4, atol=1e-5)


def test_everything_unsupported_is_told_at_once(tmp_path: Path):
    text = NET + "[lstm]\noutput=5\n[convolutional]\nxnor=1\n[maxpool]\n[local]\n"
    with pytest.raises(ImportFailed) as error:
        read(tmp_path, text, weights())
    for words in ("3 layers", "lstm_0 (lstm)", "convolutional_1 (convolutional): the option xnor", "local_3 (local)"):
        assert words in error.value.message


CONVOLUTION = NET + CASES["convolution"][0]
FAULTS = {
    "too few weights": (CONVOLUTION, weights(B, W[:-1]), "belong to another cfg, or are cut short"),
    "too many weights": (CONVOLUTION, weights(B, W, [1]), "4 bytes of file1 are left over"),
    "no weights": (CONVOLUTION, b"\0" * 8, "too few for Darknet"),
    "NaN": (CONVOLUTION, weights(B, W * np.nan), "NaN"),
    "a negative variance": (NET + CASES["normalised"][0], weights(B, S, M, -V, W), "negative"),
    "10^9 filters": (NET + "[convolutional]\nfilters=999999999\nsize=3\n", weights(B), "filters is 999999999"),
    "many filters": (NET + "[convolutional]\nfilters=60000\nsize=6000\n", weights(B), "are left in file1"),
    "no size": ("[net]\n[convolutional]\n", weights(B), r"\[net\] must say height"),
    "a layer that is not there": (NET + "[avgpool]\n[route]\nlayers=9\n", weights(), "layer 9, which does not come"),
    "a word for a number": (NET + "[maxpool]\nsize=big\n", weights(), "size is 'big'"),
    "a line of nonsense": (NET + "[maxpool]\nsize\n", weights(), "expected key=value"),
    "groups that do not divide": (NET + "[convolutional]\ngroups=3\nfilters=3\n", weights(), "in 3 groups"),
    "shapes that differ": (
        NET + "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1\n[upsample]\nstride=4\n[shortcut]\nfrom=0\n",
        weights(), "different sizes|ONNX",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_files_that_do_not_fit_fail_the_import(tmp_path: Path, name: str):
    text, data, words = FAULTS[name]
    size = {"input_size": [8, 6]} if name == "shapes that differ" else {}
    with pytest.raises(ImportFailed, match=words):
        read(tmp_path, text, data, **size)


def test_both_files_are_needed(tmp_path: Path):
    path = tmp_path / "a.cfg"
    path.write_text(CONVOLUTION)
    with pytest.raises(ImportFailed, match="received 1 of the first and 0 of the second"):
        IMPORTER.read({"model": path}, {})


def test_a_flipped_kernel_is_seen_by_parity(tmp_path: Path):
    graph = read(tmp_path, CONVOLUTION, weights(B, W))
    expected = {"convolutional_0": CASES["convolution"][2](X)}
    compare(lambda _: expected, run_graph(graph), [{"image": X}], 1e-4, "loops")
    kernel = next(i for i in graph.model.graph.initializer if len(i.dims) == 4)
    flipped = np.ascontiguousarray(onnx.numpy_helper.to_array(kernel)[:, :, ::-1])
    kernel.CopyFrom(onnx.numpy_helper.from_array(flipped, kernel.name))
    with pytest.raises(ImportFailed, match="off loops"):
        compare(lambda _: expected, run_graph(graph), [{"image": X}], 1e-4, "loops")


def test_damaged_files_fail_the_import_and_nothing_else(tmp_path: Path):
    sound = weights(*ARRAYS)
    pairs = [(one, sound) for one in mutations(NETWORK.encode(), 140, 1)]
    pairs += [(NETWORK.encode(), one) for one in mutations(sound, 60, 2)]
    for cfg, data in pairs:
        began = time.monotonic()
        try:
            read(tmp_path, cfg, data)
        except ImportFailed as error:
            assert len(error.message) < 20_000  # noqa: PT017
        assert time.monotonic() - began < 5


def test_it_answers_for_its_own_files_only():
    assert IMPORTER.sniff(NETWORK.encode(), len(NETWORK))
    cargo = b"[net]\ngit-fetch-with-cli = true\n[build]\njobs = 2\n"
    for other in (b"", HEAD, cargo, b"[section]\n[convolutional]\n", b'layer { name: "a" }', b"{}", b"[net]\0"):
        assert not IMPORTER.sniff(other, len(other))
