"""Networks of Theano and Lasagne, against a forward pass in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from glia.importers.theano import _arrays
from house import SHARED

GOMOKU = SHARED / "weights" / "gomoku-alphazero-theano"
PLACES = SHARED / "weights" / "places365-squeezenet-lasagne"


def convolve(x: np.ndarray, w: np.ndarray, b: np.ndarray, pad: int, stride: int = 1) -> np.ndarray:
    """True convolution, as Theano does it: x [c, h, w], w [out, in, k, k]."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, w[:, :, ::-1, ::-1], optimize=True) + b[:, None, None]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def gomoku(arrays: Sequence[np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    p = [array.astype(np.float64) for array in arrays]
    for at in (0, 2, 4):
        x = np.maximum(convolve(x, p[at], p[at + 1], 1), 0)
    policy = softmax(np.maximum(convolve(x, p[6], p[7], 0), 0).ravel() @ p[8] + p[9])
    hidden = np.maximum(np.maximum(convolve(x, p[10], p[11], 0), 0).ravel() @ p[12] + p[13], 0)
    return {"policy": policy, "value": np.tanh(hidden @ p[14] + p[15])}


def squeezenet(arrays: Sequence[np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    left = iter(array.astype(np.float64) for array in arrays)

    def block(x: np.ndarray, pad: int, stride: int = 1, norm: bool = True) -> np.ndarray:
        y = convolve(x, next(left), next(left), pad, stride)
        if norm:
            beta, gamma, mean, inverse = (next(left)[:, None, None] for _ in range(4))
            y = (y - mean) * (gamma * inverse) + beta
        return np.where(y > 0, y, 0.55 * y)

    def pool(x: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((3, 4))

    x = pool(block(x, 1, 2))
    for number in range(8):
        squeezed = block(x, 0)
        x = np.concatenate([block(squeezed, 0), block(squeezed, 1)])
        x = pool(x) if number in (1, 3) else x
    x = block(x, 0, norm=False)
    assert x.shape[1:] == (13, 13)
    return {"probabilities": softmax(x.mean((1, 2)))}


def forward(path: Path, compute, shape: tuple[int, ...], scale: float):
    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        arrays = _arrays(path.read_bytes())
        rng = np.random.default_rng(0)
        x = (rng.normal(0, 1, (2, *shape)) * scale).astype(np.float32)
        found = [compute(arrays, one.astype(np.float64)) for one in x]
        outputs = {name: np.stack([one[name] for one in found]).astype(np.float32) for name in found[0]}
        return [Probe({graph.model.graph.input[0].name: x}, outputs)]

    return probes


def cases() -> list[Case]:
    """Every network of the format."""
    if not PLACES.exists():
        return []
    found = []
    for side, name in ((6, "6_6_4"), (8, "8_8_5")):
        path = GOMOKU / f"best_policy_{name}.model"
        probes = forward(path, gomoku, (4, side, side), 1)
        found.append(
            Case("theano", f"gomoku/{name}", {"weights": path}, "numpy", probes, {"architecture": "gomoku-alphazero"})
        )
    path = PLACES / "squeezenet_weights_places365.params"
    probes = forward(path, squeezenet, (3, 224, 224), 0.3)
    files = {"weights": path, "labels": PLACES / "categories_places365.txt"}
    found.append(Case("theano", "places365-squeezenet", files, "numpy", probes, {"architecture": "squeezenet-lasagne"}))
    return found
