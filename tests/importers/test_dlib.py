"""dlib's networks and shape predictors: each layer against numpy and torch, published files, damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreign.case import run_case, run_graph
from foreign.dlib_dat import PREDICTOR, cases, published
from glia.core.errors import ImportFailed
from glia.importers.dlib_dat import IMPORTER
from glia.importers.dlib_shape import grey_of, read_shape_predictor, similarity
from glia.importers.dlib_stream import Stream
from glia.importers.importer import ImportedGraph
from glia.importers.sniff import importer_for
from importers import dlib_writer as w
from importers.mutate import mutations
from importers.record_dlib import BOX, FIXTURE, picture

RNG = np.random.default_rng(0)
X = (RNG.random((2, 3, 12, 14)) * 255).astype(np.float32)
MEAN = np.array([100, 110, 120], np.float32).reshape(1, 3, 1, 1)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(0, 1 / np.sqrt(np.prod(shape[1:]) or 1), shape).astype(np.float32)


@pytest.fixture
def read(tmp_path: Path):
    def read_bytes(data: bytes) -> ImportedGraph:
        (tmp_path / "net.dat").write_bytes(data)
        return importer_for({"net": tmp_path / "net.dat"}).read({"net": tmp_path / "net.dat"}, {})["model"]

    return read_bytes


def head(channels: int) -> tuple[list[bytes], np.ndarray]:
    matrix = weights(channels, 5)
    return [w.pool("avg_pool_2", 0, 1), w.fc(matrix, None)], matrix


def test_numbers_are_read_as_they_were_written():
    values = [0, 1, -1, 255, 256, -70000, 2**62]
    stream = Stream(b"".join(w.integer(value) for value in values), "x")
    assert [stream.integer() for _ in values] == values
    reals = [0.0, 0.6, -1.5, 3e-20, 7e18]
    stream = Stream(b"".join(w.real(value) for value in reals) + b"\x03\x9a\x99\x99\x81\x18", "x")
    np.testing.assert_array_equal([stream.real() for _ in reals], np.array(reals, np.float32).astype(float))
    assert stream.real() == float(np.float32(0.6))
    for bad in (b"\x10\x00", b"\x09" + bytes(9), b"\x02\x01", b""):
        with pytest.raises(ImportFailed):
            Stream(bad, "x").integer()


def test_a_chain_of_all_layers_gives_what_torch_gives(read):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    f = torch.nn.functional
    k1, b1, k2, b2 = weights(4, 3, 3, 3), weights(4), weights(6, 4, 3, 3), weights(6)
    gamma, beta, mean = weights(4), weights(4), weights(4)
    gamma2, beta2 = weights(6, 1, 1), weights(6, 1, 1)
    variance, matrix, shift = np.abs(weights(4)) + 0.1, weights(6 * 3 * 3, 5), weights(5)
    layers = [
        w.con(k1, b1, stride=2, pad=1),
        w.bn(gamma, beta, mean, variance),
        w.text("relu_2") + b"0",
        w.con(k2, b2, pad=1, kind="con_6", relu=True),
        w.affine(gamma2, beta2, kind="affine_2"),
        w.pool("max_pool_2", 2, 2),
        w.fc(matrix, shift, kind="fc_3"),
    ]
    graph = read(w.network(layers, "loss_multiclass_log_"))
    x = torch.from_numpy((X - MEAN) / 256)
    y = f.conv2d(x, torch.from_numpy(k1), torch.from_numpy(b1), stride=2, padding=1)
    y = torch.relu(f.batch_norm(y, *map(torch.from_numpy, (mean, variance, gamma, beta)), eps=1e-3))
    y = torch.relu(f.conv2d(y, torch.from_numpy(k2), torch.from_numpy(b2), padding=1))
    y = f.max_pool2d(y * torch.from_numpy(gamma2) + torch.from_numpy(beta2), 2, 2)
    expected = (y.flatten(1) @ torch.from_numpy(matrix) + torch.from_numpy(shift)).numpy()
    np.testing.assert_allclose(run_graph(graph)({"image": X})["logits"], expected, atol=1e-5)
    assert graph.known["size"] == (12, 14)


def residual(channels: int, more: int) -> tuple[list[bytes], list[np.ndarray]]:
    """A block that stays, and one that halves the size."""
    kernels = [weights(channels, channels, 3, 3), weights(channels, channels, 3, 3)]
    kernels += [weights(more, channels, 3, 3), weights(more, more, 3, 3)]
    zeros = [np.zeros(len(kernel), np.float32) for kernel in kernels]
    scales = [np.abs(weights(len(kernel), 1, 1)) + 0.5 for kernel in kernels]
    shifts = [weights(len(kernel), 1, 1) for kernel in kernels]

    def conv(number: int, stride: int, pad: int) -> list[bytes]:
        return [w.con(kernels[number], zeros[number], stride, pad), w.affine(scales[number], shifts[number])]

    layers = [w.MARKER, *conv(0, 1, 1), w.RELU, *conv(1, 1, 1), w.ADD, w.RELU]
    layers += [w.MARKER, *conv(2, 2, 0), w.RELU, *conv(3, 1, 1), w.MARKER, w.MARKER, w.pool("avg_pool_2", 2, 2), w.ADD]
    return [*layers, w.RELU], [*kernels, *scales, *shifts]


def test_residual_blocks_are_joined_and_filled_with_zeros(read):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    f = torch.nn.functional
    first, bias = weights(4, 3, 3, 3), weights(4)
    blocks, arrays = residual(4, 6)
    tail, matrix = head(6)
    graph = read(w.network([w.con(first, bias, pad=1), w.RELU, *blocks, *tail]))
    k = [torch.from_numpy(array) for array in arrays]
    x = torch.relu(
        f.conv2d(torch.from_numpy((X - MEAN) / 256), torch.from_numpy(first), torch.from_numpy(bias), padding=1)
    )

    def conv(y: torch.Tensor, number: int, stride: int = 1, pad: int = 1) -> torch.Tensor:
        return f.conv2d(y, k[number], stride=stride, padding=pad) * k[4 + number] + k[8 + number]

    x = torch.relu(x + conv(torch.relu(conv(x, 0)), 1))
    main, skip = conv(torch.relu(conv(x, 2, 2, 0)), 3), f.avg_pool2d(x, 2, 2)
    assert main.shape[2:] == (5, 6)
    assert skip.shape[1:] == (4, 6, 7)
    x = torch.relu(f.pad(main, [0, 1, 0, 1]) + f.pad(skip, [0, 0, 0, 0, 0, 2]))
    expected = x.mean((2, 3)).numpy() @ matrix
    found = run_graph(graph)
    np.testing.assert_allclose(found({"image": X})["embedding"], expected, atol=1e-5)
    np.testing.assert_allclose(found({"image": X[:1]})["embedding"], expected[:1], atol=1e-5)
    assert [layer.kind for layer in graph.layers][:3] == ["con_4", "relu_", "con_4"]


def test_a_detector_takes_any_size_and_tells_its_windows(read):
    layers = [w.con(weights(2, 3, 5, 5), weights(2), 2), w.RELU, w.con(weights(1, 2, 3, 3), weights(1), 1, 1)]
    graph = read(w.network(layers, "loss_mmod_", None))
    assert graph.known["windows"] == ((80, 80, "face"),)
    assert run_graph(graph)({"image": np.zeros((1, 3, 33, 41), np.float32)})["scores"].shape == (1, 1, 15, 19)


def test_what_the_file_does_not_tell_is_refused(read):
    con = w.con(weights(3, 3, 3, 3), weights(3), pad=1)
    for layers, words in (
        ([con, w.MARKER, con, w.ADD], "no plan"),
        ([con, w.MARKER, w.MARKER, con, w.ADD, w.RELU], "no plan"),
        ([con, w.text("svm_")], "a layer out of"),
        ([w.con(weights(4, 3, 3, 3), weights(4)), w.fc(weights(7, 5), None)], "MatMul"),
    ):
        with pytest.raises(ImportFailed, match=words):
            read(w.network(layers))
    with pytest.raises(ImportFailed, match="bytes more"):
        read(w.network([con]) + b"\0")
    with pytest.raises(ImportFailed, match="NaN"):
        read(w.network([w.con(np.full((1, 3, 1, 1), np.nan, np.float32), weights(1))]))
    with pytest.raises(ImportFailed, match="never saw data"):
        read(w.network([con]).replace(b"100" + w.tensor(), b"000" + w.tensor(), 1))


def test_a_tensor_larger_than_the_file_is_refused_before_it_is_made(read):
    start = w.network([w.con(weights(1, 3, 1, 1), weights(1))])
    at = start.index(w.text("con_4")) + len(w.text("con_4"))
    huge = w.integer(2) + w.integer(1 << 30) * 4
    with pytest.raises(ImportFailed, match="tensor"):
        read(start[:at] + huge + start[at + 10 :])


def test_damaged_networks_are_refused_or_read(read):
    blocks, _ = residual(2, 3)
    data = w.network([w.con(weights(2, 3, 3, 3), weights(2), pad=1), w.RELU, *blocks, *head(3)[0]], size=(10, 10))
    for changed in mutations(data, 120, 0):
        if not IMPORTER.sniff(changed[:64], len(changed)):
            continue
        try:
            read(changed)
        except ImportFailed:
            continue


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_networks_give_what_dlib_gave(case):
    assert run_case(case).words == "passed"


# -- shape predictors --------------------------------------------------------------------------------------------------


def forest(points: int, trees: int, pixels: int) -> dict[str, np.ndarray]:
    return {
        "first": RNG.integers(0, pixels, (trees, 3)),
        "second": RNG.integers(0, pixels, (trees, 3)),
        "threshold": RNG.normal(0, 40, (trees, 3)).astype(np.float32),
        "leaves": RNG.normal(0, 0.02, (trees, 4, points, 2)).astype(np.float32),
        "anchors": RNG.integers(0, points, pixels),
        "deltas": RNG.normal(0, 0.2, (pixels, 2)).astype(np.float32),
    }


def slowly(
    mean: np.ndarray, cascades: list[dict[str, np.ndarray]], grey: np.ndarray, box: tuple[float, ...]
) -> np.ndarray:
    """The points, pixel by pixel and tree by tree."""
    shape, size = mean.astype(np.float32), np.array([box[2] - box[0], box[3] - box[1]])
    for cascade in cascades:
        a, b = (s.astype(np.float64) - s.astype(np.float64).mean(0) for s in (mean, shape))
        u, values, v = np.linalg.svd(b.T @ a)
        sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(v))])
        turn = (u @ sign @ v * (values * np.diag(sign)).sum() / (a * a).sum()).astype(np.float32)
        grey_at = []
        for anchor, delta in zip(cascade["anchors"], cascade["deltas"], strict=True):
            x, y = np.floor(np.array(box[:2]) + (turn @ delta + shape[anchor]) * size + 0.5).astype(int)
            grey_at.append(int(grey[y, x]) if 0 <= x < grey.shape[1] and 0 <= y < grey.shape[0] else 0)
        for tree in range(len(cascade["first"])):
            node = 0
            while node < 3:
                one, two = (grey_at[cascade[key][tree, node]] for key in ("first", "second"))
                node = 2 * node + (1 if one - two > cascade["threshold"][tree, node] else 2)
            shape = shape + cascade["leaves"][tree, node - 3]
    return np.floor(np.array(box[:2]) + shape * size + 0.5).astype(int)


def test_points_are_those_of_the_slow_way(tmp_path: Path):
    mean = RNG.random((5, 2)).astype(np.float32)
    cascades = [forest(5, 20, 30) for _ in range(3)]
    (tmp_path / "p").write_bytes(w.predictor(mean, cascades))
    predictor = read_shape_predictor(tmp_path / "p")
    np.testing.assert_array_equal(predictor.mean, mean)
    for number, box in enumerate([(10, 12, 60, 70), (-20, -5, 40, 45), (90, 80, 130, 125)]):
        grey = grey_of(picture(number, 110))
        np.testing.assert_array_equal(predictor.points(grey, box), slowly(mean, cascades, grey, box))


def test_a_turned_and_grown_shape_is_found_again_without_a_mirror():
    shape = RNG.random((5, 2)).astype(np.float32)
    turn = np.array([[0.3, -1.2], [1.2, 0.3]], np.float32)
    np.testing.assert_allclose(similarity(shape, shape @ turn.T + 7), turn, atol=1e-5)
    eyes = np.array([[0.2, 0.5], [0.8, 0.5]], np.float32)
    np.testing.assert_allclose(similarity(eyes, eyes @ turn.T), turn, atol=1e-5)


def test_damaged_predictors_are_refused_or_read(tmp_path: Path):
    data = w.predictor(RNG.random((2, 2)).astype(np.float32), [forest(2, 2, 4)])
    for changed in mutations(data, 150, 0):
        (tmp_path / "p").write_bytes(changed)
        try:
            read_shape_predictor(tmp_path / "p")
        except ImportFailed:
            continue
    with pytest.raises(ImportFailed):
        (tmp_path / "p").write_bytes(data[:-1])
        read_shape_predictor(tmp_path / "p")


def test_the_published_predictor_gives_dlibs_points():
    path = published(PREDICTOR)
    if path is None:
        pytest.skip("the published file is not on this machine")
    predictor, recorded = read_shape_predictor(path), np.load(FIXTURE)["points"]
    for number, expected in enumerate(recorded):
        np.testing.assert_array_equal(predictor.points(grey_of(picture(number, 160)), BOX), expected)
