"""Keras 1 and 2 in numpy, slowly: a second reader, written without a look at the importer's rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

Arrays = list[np.ndarray]


def arrays_of(path: Path) -> tuple[dict[str, Arrays], bool]:
    """Arrays by layer, and whether Theano trained them."""
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        names = [name.decode() if isinstance(name, bytes) else name for name in root.attrs["layer_names"]]
        held = {layer: [root[layer][name][()] for name in root[layer].attrs["weight_names"]] for layer in names}
        backend = root.attrs.get("backend", b"")
        raw = [bytes(name) for layer in names for name in root[layer].attrs["weight_names"]]
    said = backend.decode() if isinstance(backend, bytes) else backend
    return held, said == "theano" or (not said and not any(name.endswith(b":0") for name in raw))


def config_of(path: Path) -> dict:
    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


class Model:
    """Layers, and their arrays in the order of the layers that have some."""

    def __init__(self, config: Mapping, held: Iterable[Arrays], theano: bool = False) -> None:
        self.held = iter([[a.astype(np.float64) for a in arrays] for arrays in held if arrays])
        layers = config.get("config", config)
        self.chain = isinstance(layers, list) or config.get("class_name") == "Sequential"
        self.layers = layers if isinstance(layers, list) else layers["layers"]
        self.outputs = None if self.chain else [name for name, _, _ in layers["output_layers"]]
        self.theano = theano

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs of one batch; the layers must lie in an order in which they can be computed."""
        values: dict[str, np.ndarray] = {}
        last = x.astype(np.float64)
        for layer in self.layers:
            config, kind = layer["config"], layer["class_name"]
            if kind == "InputLayer":
                values[config["name"]] = last
                continue
            if self.chain:
                given = [last]
            else:
                (call,) = layer["inbound_nodes"]
                given = [values[name] for name, *_ in call]
            last = values[config["name"]] = self.layer(kind, config, given)
        return [last] if self.outputs is None else [values[name] for name in self.outputs]

    def layer(self, kind: str, c: Mapping, given: list[np.ndarray]) -> np.ndarray:
        x = given[0]
        if kind == "Dense":
            kernel, *bias = next(self.held)
            y = x @ kernel + (bias[0] if bias else 0)
        elif kind == "Bias":
            y = x + next(self.held)[0]
        elif "Conv" in kind:
            y = self.convolution(kind, c, x)
        elif kind in ("MaxPooling2D", "AveragePooling2D"):
            y = pool(kind, c, x)
        elif kind == "GlobalAveragePooling2D":
            y = x.mean((1, 2))
        elif kind == "BatchNormalization":
            gamma, beta, mean, variance = next(self.held)
            shape = [1] * x.ndim
            shape[c["axis"][0] if isinstance(c["axis"], list) else c["axis"]] = -1
            gamma, beta, mean, variance = (a.reshape(shape) for a in (gamma, beta, mean, variance))
            y = gamma * (x - mean) / np.sqrt(variance + c["epsilon"]) + beta
        elif kind == "ZeroPadding2D":
            y = np.pad(x, ((0, 0), *c["padding"], (0, 0)))
        elif kind == "Reshape":
            y = x.reshape(-1, *c["target_shape"])
        elif kind == "Flatten":
            y = x.reshape(len(x), -1)
        elif kind == "Add":
            y = sum(given)
        elif kind == "LeakyReLU":
            y = np.where(x > 0, x, c["alpha"] * x)
        elif kind == "ReLU":
            y = np.clip(x, 0, c["max_value"])
        elif kind == "Embedding":
            y = next(self.held)[0][x.astype(int)]
        elif kind == "Bidirectional":
            return bidirectional(c, x, next(self.held))
        elif kind in ("LSTM", "SimpleRNN", "GRU"):
            y = recurrent(kind, c, x[:, ::-1] if c["go_backwards"] else x, next(self.held))
            return y if c["return_sequences"] else y[:, -1]
        elif kind in ("Activation", "Dropout"):
            y = x
        else:
            raise NotImplementedError(kind)
        return ACTIVATIONS[c.get("activation", "linear")](y)

    def convolution(self, kind: str, c: Mapping, x: np.ndarray) -> np.ndarray:
        kernel, *rest = next(self.held)
        bias = rest.pop() if c.get("use_bias", c.get("bias", True)) else 0
        first = c.get("dim_ordering") == "th" or c.get("data_format") == "channels_first"
        is_row = "1D" in kind
        if is_row:  # as a picture of one column
            kernel = kernel[:, None] if kernel.ndim == 3 else kernel
            x = x[:, :, None]
        elif list(kernel.shape[:2]) != (c.get("kernel_size") or [c["nb_row"], c["nb_col"]]):
            kernel = kernel.transpose(2, 3, 1, 0)  # Keras 1: (out, in, rows, columns)
        x = x.transpose(0, 2, 3, 1) if first else x
        strides = c.get("strides") or c.get("subsample") or [1, 1]
        same = c.get("padding", c.get("border_mode")) == "same"
        windows = slide(x, kernel.shape[:2], strides if not is_row else [1, 1], same)
        if kind in ("SeparableConv2D", "DepthwiseConv2D"):
            y = np.einsum("nhwcij,ijcm->nhwcm", windows, kernel)
            y = y.reshape(*y.shape[:3], -1)
            y = (y @ rest[0][0, 0] if kind == "SeparableConv2D" else y) + bias
        else:
            kernel = kernel[::-1, ::-1] if self.theano else kernel
            y = np.tensordot(windows, kernel, ([3, 4, 5], [2, 0, 1])) + bias
        y = y[:, :, 0] if is_row else y
        return y.transpose(0, 3, 1, 2) if first else y


def slide(x: np.ndarray, kernel, strides, same: bool, fill: float = 0.0) -> np.ndarray:
    """Windows [n, h, w, c, i, j] over x [n, h, w, c], padded as TensorFlow pads."""
    if same:
        pads = []
        for size, k, s in zip(x.shape[1:3], kernel, strides, strict=True):
            total = max((-(-size // s) - 1) * s + k - size, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, kernel, (1, 2))[:, :: strides[0], :: strides[1]]


def pool(kind: str, c: Mapping, x: np.ndarray) -> np.ndarray:
    """The largest, or the mean of those that are no pad."""
    same = c.get("padding", c.get("border_mode")) == "same"
    strides = c["strides"] or c["pool_size"]
    if kind == "MaxPooling2D":
        return slide(x, c["pool_size"], strides, same, -np.inf).max((4, 5))
    return np.nanmean(slide(x, c["pool_size"], strides, same, np.nan), (4, 5))


def bidirectional(c: Mapping, x: np.ndarray, arrays: Arrays) -> np.ndarray:
    inner, half = c["layer"], len(arrays) // 2
    ways = [
        recurrent(inner["class_name"], inner["config"], x, arrays[:half]),
        recurrent(inner["class_name"], inner["config"], x[:, ::-1], arrays[half:]),
    ]
    if inner["config"]["return_sequences"]:
        return np.concatenate([ways[0], ways[1][:, ::-1]], -1)
    return np.concatenate([way[:, -1] for way in ways], -1)


def recurrent(kind: str, c: Mapping, x: np.ndarray, arrays: Arrays) -> np.ndarray:
    """All outputs, step by step."""
    units = c.get("units") or c["output_dim"]
    if len(arrays) == 12:  # Keras 1: W, U, b of i, c, f, o
        i, g, f, o = (arrays[at : at + 3] for at in (0, 3, 6, 9))
        arrays = [np.concatenate([gate[part] for gate in (i, f, g, o)], -1) for part in range(3)]
    w, u, b = arrays
    h = cell = np.zeros((len(x), units))
    found = []
    hard = c.get("recurrent_activation", c.get("inner_activation")) == "hard_sigmoid"
    gate = (lambda z: np.clip(0.2 * z + 0.5, 0, 1)) if hard else ACTIVATIONS["sigmoid"]
    for step in x.transpose(1, 0, 2):
        if kind == "SimpleRNN":
            h = np.tanh(step @ w + h @ u + b)
        elif kind == "GRU":
            z, r, n = np.split(step @ w + b, 3, -1)
            uz, ur, un = np.split(u, 3, -1)
            z, r = gate(z + h @ uz), gate(r + h @ ur)
            h = z * h + (1 - z) * np.tanh(n + (r * h) @ un)
        else:
            i, f, g, o = np.split(step @ w + h @ u + b, 4, -1)
            cell = gate(f) * cell + gate(i) * np.tanh(g)
            h = gate(o) * np.tanh(cell)
        found.append(h)
    return np.stack(found, 1)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": softmax,
}


def ssr_net(path: Path, x: np.ndarray) -> np.ndarray:
    """SSR-Net as its paper writes it, for pictures [n, 64, 64, 3]: one value each."""
    held, _ = arrays_of(path)
    layer = {name: [a.astype(np.float64) for a in arrays] for name, arrays in held.items()}
    pred = "pred_age" if "pred_age_stage1" in layer else "pred"

    def conv(x: np.ndarray, number: int) -> np.ndarray:
        kernel, bias = layer[f"conv2d_{number}"]
        return np.tensordot(slide(x, kernel.shape[:2], (1, 1), False), kernel, ([3, 4, 5], [2, 0, 1])) + bias

    def dense(x: np.ndarray, name: str, activation=lambda x: np.maximum(x, 0)) -> np.ndarray:
        return activation(x @ layer[name][0] + layer[name][1])

    def stream(x: np.ndarray, first: int, activation, reduce) -> list[np.ndarray]:
        found = []
        for number in range(first, first + 4):
            gamma, beta, mean, variance = layer[f"batch_normalization_{number}"]
            x = activation(gamma * (conv(x, number) - mean) / np.sqrt(variance + 1e-3) + beta)
            x = reduce(slide(x, (2, 2), (2, 2), False), (4, 5)) if number < first + 3 else x
            found.append(x)
        return found

    xs, ss = stream(x, 1, lambda v: np.maximum(v, 0), np.mean), stream(x, 5, np.tanh, np.max)
    total, width = 0.0, 1.0
    for stage, (block, size, number, rows) in enumerate([(3, 1, 9, 1), (1, 4, 11, 4), (0, 8, 13, 7)], 1):
        pooled = []
        for source, reduce, conv_number in ((ss, np.max, number), (xs, np.mean, number + 1)):
            y = np.maximum(conv(source[block], conv_number), 0)
            pooled.append(reduce(slide(y, (size, size), (size, size), False), (4, 5)).reshape(len(x), -1))
        delta = dense(pooled[0] * pooled[1], f"delta_s{stage}", np.tanh)[:, 0]
        joint = dense(pooled[0], f"dense_{rows}") * dense(pooled[1], f"dense_{rows + 1}")
        joint = dense(joint, f"dense_{rows + 2}")
        p, eta = dense(joint, f"{pred}_stage{stage}"), dense(joint, f"local_delta_stage{stage}", np.tanh)
        width = width * p.shape[1] * (1 + delta)
        total = total + ((np.arange(p.shape[1]) + eta) * p).sum(1) / width
    return (total * (101 if pred == "pred_age" else 1))[:, None]
