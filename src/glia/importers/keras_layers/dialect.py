"""Layers of Keras 1 and their settings in the words of Keras 2; names that changed since.

Source: the legacy interfaces of Keras 2.0.6 (keras/legacy/interfaces.py), which read Keras 1's arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]

KINDS = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconvolution3D": "Conv3DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "SeparableConvolution1D": "SeparableConv1D",
    "DepthwiseConvolution2D": "DepthwiseConv2D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "LSTMV1": "LSTM",
    "LSTMV2": "LSTM",
    "GRUV1": "GRU",
    "GRUV2": "GRU",
    "DenseLayer": "Dense",
    "MaxPool1D": "MaxPooling1D",
    "MaxPool2D": "MaxPooling2D",
    "MaxPool3D": "MaxPooling3D",
    "AvgPool1D": "AveragePooling1D",
    "AvgPool2D": "AveragePooling2D",
    "AvgPool3D": "AveragePooling3D",
    "GlobalMaxPool1D": "GlobalMaxPooling1D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "GlobalMaxPool3D": "GlobalMaxPooling3D",
    "GlobalAvgPool1D": "GlobalAveragePooling1D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalAvgPool3D": "GlobalAveragePooling3D",
}
SETTINGS = {
    "nb_filter": "filters",
    "subsample": "strides",
    "subsample_length": "strides",
    "filter_length": "kernel_size",
    "pool_length": "pool_size",
    "stride": "strides",
    "border_mode": "padding",
    "bias": "use_bias",
    "atrous_rate": "dilation_rate",
    "inner_activation": "recurrent_activation",
}
ORDERINGS = {"th": "channels_first", "tf": "channels_last"}


def normalise(kind: str, config: Mapping[str, Any]) -> tuple[str, Config]:
    """Class and settings in the words of Keras 2; what is in them already stays."""
    words = dict(config)
    for old, new in SETTINGS.items():
        if old in words and new not in words:
            words[new] = words[old]
    if isinstance(words.get("dim_ordering"), str):
        words.setdefault("data_format", ORDERINGS.get(words["dim_ordering"], words["dim_ordering"]))
    if "output_dim" in words and kind != "Embedding":
        words.setdefault("units", words["output_dim"])
    if kind.startswith(("ZeroPadding", "Cropping")) and "padding" in words and "border_mode" not in config:
        words["padding"] = config["padding"]
    _kernels(words)
    if kind == "RNN" and isinstance(words.get("cell"), dict):
        return _cell(words)
    if kind == "TimeDistributedDense":
        return "Dense", words
    return KINDS.get(kind, kind), words


def _kernels(words: Config) -> None:
    """Sizes that Keras 1 keeps axis by axis."""
    for keys in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
        if all(key in words for key in keys):
            words.setdefault("kernel_size", [words[key] for key in keys])
    if "length" in words:
        words.setdefault("size", words["length"])


def _cell(words: Config) -> tuple[str, Config]:
    """A recurrent layer around a cell is the layer of that cell."""
    cell = words["cell"]
    kind, inside = str(cell.get("class_name")), cell.get("config")
    if kind not in {"LSTMCell", "GRUCell", "SimpleRNNCell"} or not isinstance(inside, dict):
        return "RNN", words
    merged = dict(inside) | {key: value for key, value in words.items() if key != "cell"}
    return kind.removesuffix("Cell"), merged


def version_of(text: object) -> tuple[int, int]:
    """Major and minor number of a version of Keras; (1, 0) where there is none: files before 1.0.8 carry none."""
    numbers = []
    for part in str(text or "").removeprefix("tfjs-layers ").split(".")[:2]:
        digits = "".join(character for character in part if character.isascii() and character.isdigit())
        numbers.append(int(digits[:4]) if digits else 0)
    return (numbers[0] or 1, numbers[1] if len(numbers) > 1 else 0) if numbers else (1, 0)
