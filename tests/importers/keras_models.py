"""Small networks of Keras 3 with every layer that is read: for the comparison with Keras, and for recorded files.

KERAS_BACKEND=torch python tests/importers/keras_models.py     records those of RECORDED, in fixtures/keras.zip
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

MODELS: dict[str, Callable[[], Any]] = {}
RECORDS = Path(__file__).parent / "fixtures" / "keras.zip"
RECORDED = (
    "picture", "first", "squeeze", "separable", "turned", "rows", "steps", "volume", "activations", "norms", "states",
    "ways", "masked", "masked_rows", "joins", "shared", "nested", "spread", "heads", "operations", "open",
    "sights",
)  # fmt: skip


ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu softplus softsign tanh sigmoid exponential hard_sigmoid hard_silu "
    "silu gelu mish log_softmax softmax celu log_sigmoid hard_tanh tanh_shrink hard_shrink soft_shrink squareplus "
    "linear"
)


def model(build: Callable[[], Any]) -> Callable[[], Any]:
    MODELS[build.__name__] = build
    return build


def chain(name: str, shape: tuple, *made: Callable[[], Any]) -> None:
    MODELS[name] = lambda: keras.Sequential([keras.Input(shape), *[make() for make in made]])


for padding in ("valid", "same"):
    for stride in (1, 2, 3):
        settings = {"padding": padding, "strides": stride}
        name = f"{padding}_{stride}"
        chain(f"conv2d_{name}", (9, 10, 3), lambda s=settings: layers.Conv2D(4, (3, 2), activation="relu", **s))
        chain(f"conv1d_{name}", (11, 3), lambda s=settings: layers.Conv1D(4, 4, **s))
        chain(f"depthwise_{name}", (9, 9, 3), lambda s=settings: layers.DepthwiseConv2D(3, depth_multiplier=2, **s))
        chain(f"separable_{name}", (9, 9, 3), lambda s=settings: layers.SeparableConv2D(5, 3, depth_multiplier=2, **s))
        chain(f"max_{name}", (9, 10, 3), lambda s=settings: layers.MaxPooling2D(3, **s))
        chain(f"turned1d_{name}", (5, 3), lambda s=settings: layers.Conv1DTranspose(4, 4, **s))
        if name != "same_2":  # there Keras on Torch repeats the border where TensorFlow leaves it out
            chain(f"mean_{name}", (9, 10, 3), lambda s=settings: layers.AveragePooling2D(3, **s))
        if name != "same_3":  # refused by Keras on Torch
            chain(f"turned2d_{name}", (5, 6, 3), lambda s=settings: layers.Conv2DTranspose(4, 3, **s))
for kind in ("LSTM", "GRU", "SimpleRNN"):
    for settings in ({}, {"return_sequences": True}, {"use_bias": False}, {"activation": "relu"}):
        name = "_".join((kind, *settings))
        chain(name, (5, 3), lambda k=kind, s=settings: getattr(layers, k)(4, **s))
        chain(f"{name}_both", (5, 3), lambda k=kind, s=settings: layers.Bidirectional(getattr(layers, k)(4, **s)))
    chain(f"{kind}_back", (5, 3), lambda k=kind: getattr(layers, k)(4, go_backwards=True, return_sequences=True))
    for rows in (False, True):
        made = lambda k=kind, r=rows: getattr(layers, k)(3, return_sequences=r)  # noqa: E731
        words = lambda: layers.Embedding(5, 4, mask_zero=True)  # noqa: E731
        chain(f"words_{kind}_{rows}", (7,), words, made)
        chain(f"words_{kind}_{rows}_both", (7,), words, lambda m=made: layers.Bidirectional(m()))
for activation in ACTIVATIONS.split():
    chain(f"activation_{activation}", (3, 4, 5), lambda a=activation: layers.Activation(a))
for merge in ("sum", "ave", "mul"):
    chain(f"both_{merge}", (5, 3), lambda m=merge: layers.Bidirectional(layers.LSTM(4), merge_mode=m))
chain("causal", (9, 3), lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2))
chain("holes", (9, 10, 4), lambda: layers.Conv2D(6, 3, dilation_rate=2, groups=2, padding="same"))
chain("larger", (5, 6, 3), lambda: layers.UpSampling2D(2, interpolation="bilinear"))
chain("resized", (5, 6, 3), lambda: layers.Resizing(7, 4))
chain("gru_before", (5, 3), lambda: layers.GRU(4, reset_after=False))
chain("lstm_hard", (5, 3), lambda: layers.LSTM(4, recurrent_activation="hard_sigmoid"))
chain("masking", (7, 2), layers.Masking, lambda: layers.LSTM(3))
chain("softmax_axis", (3, 4, 5), lambda: layers.Softmax(axis=1))
chain("unit", (6,), layers.UnitNormalization)


@model
def picture():
    x = keras.Input((12, 10, 3), name="photo")
    y = layers.Rescaling(1 / 127.5, offset=-1)(x)
    y = layers.Conv2D(4, 3, use_bias=False)(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.ZeroPadding2D(((1, 2), (0, 3)))(y)
    y = layers.Cropping2D(((1, 0), (2, 1)))(y)
    y = layers.AveragePooling2D(2)(layers.UpSampling2D((2, 3))(y))
    y = layers.SpatialDropout2D(0.3)(layers.PReLU(shared_axes=[1, 2])(y))
    y = layers.Dropout(0.5)(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(4, activation="softmax", name="classes")(y))


@model
def first():
    order = {"data_format": "channels_first"}
    x = keras.Input((3, 9, 10))
    y = layers.Conv2D(4, 3, strides=2, padding="same", **order)(x)
    y = layers.MaxPooling2D(2, **order)(layers.BatchNormalization(axis=1)(y))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


@model
def squeeze():
    x = keras.Input((8, 8, 3))
    y = s = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    g = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(y))
    y = layers.Multiply()([y, layers.Conv2D(8, 1, activation="sigmoid")(g)])
    y = layers.Concatenate()([layers.Add()([s, y]), y])
    return keras.Model(x, [layers.GlobalMaxPooling2D()(y), layers.GlobalAveragePooling2D(keepdims=True)(y)])


@model
def separable():
    x = keras.Input((9, 9, 3))
    y = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(x)
    return keras.Model(x, layers.SeparableConv2D(5, 3, padding="same", activation="elu")(y))


@model
def turned():
    x = keras.Input((5, 6, 3))
    return keras.Model(x, layers.Conv2DTranspose(2, 4, strides=2, padding="same", activation="tanh")(x))


@model
def rows():
    x = keras.Input((9, 4))
    y = layers.MaxPooling1D(2, padding="same")(layers.Conv1D(5, 3, padding="causal")(x))
    y = layers.UpSampling1D(2)(layers.Cropping1D(1)(layers.ZeroPadding1D((1, 2))(y)))
    return keras.Model(x, layers.GlobalMaxPooling1D()(layers.Conv1DTranspose(3, 2)(y)))


@model
def steps():
    x = keras.Input((3, 6, 6, 2))
    y = layers.TimeDistributed(layers.Conv2D(3, 3, padding="same"))(x)
    y = layers.TimeDistributed(layers.Flatten())(y)
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2))(layers.LSTM(3, return_sequences=True)(y)))


@model
def volume():
    x = keras.Input((5, 6, 7, 2))
    y = layers.MaxPooling3D(2)(layers.Conv3D(3, 2, padding="same")(x))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


@model
def activations():
    x = keras.Input((6,))
    names = ("gelu", "hard_sigmoid", "mish", "selu", "silu", "softplus", "hard_silu", "softsign")
    found = [layers.Activation(name)(x) for name in names]
    found += [layers.ReLU(0.8, 0.2, 0.3)(x), layers.LeakyReLU(0.2)(x), layers.ELU(0.7)(x), layers.Softmax()(x)]
    return keras.Model(x, layers.Concatenate()(found))


@model
def norms():
    x = keras.Input((4, 6))
    y = layers.LayerNormalization()(layers.BatchNormalization(center=False)(x))
    y = layers.BatchNormalization(axis=1, scale=False)(y)
    z = layers.GroupNormalization(3)(y)
    return keras.Model(x, layers.Normalization(mean=[1.0] * 6, variance=[4.0] * 6)(layers.GroupNormalization(-1)(z)))


@model
def states():
    e, d = keras.Input((5, 3), name="source"), keras.Input((4, 2), name="target")
    _, h, c = layers.LSTM(6, return_state=True)(e)
    y = layers.LSTM(6, return_sequences=True)(d, initial_state=[h, c])
    return keras.Model([e, d], layers.Dense(2)(y))


@model
def ways():
    x = keras.Input((5, 3))
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum")(y)
    return keras.Model(x, layers.SimpleRNN(2, go_backwards=True, return_sequences=True)(y))


@model
def masked():
    x = keras.Input((7,))
    y = layers.LSTM(3, return_sequences=True)(layers.Embedding(5, 4, mask_zero=True)(x))
    return keras.Model(x, layers.GRU(2)(layers.TimeDistributed(layers.Dense(3))(y)))


@model
def masked_rows():
    x = keras.Input((7,))
    y = layers.Dropout(0.1)(layers.Embedding(5, 4, mask_zero=True)(x))
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    return keras.Model(x, [y, layers.GlobalAveragePooling1D()(y)])


@model
def joins():
    a, b, c = keras.Input((4, 5), name="a"), keras.Input((4, 5), name="b"), keras.Input((5,), name="c")
    pairs = [layers.Add, layers.Multiply, layers.Subtract, layers.Average, layers.Maximum, layers.Minimum]
    found = [make()([a, b]) for make in pairs]
    found += [layers.Concatenate(axis=1)([a, b]), layers.Dot(axes=(2, 2))([a, b]), layers.Add()([a, c])]
    return keras.Model([a, b, c], [*found, layers.Dot(axes=1, normalize=True)([a, b])])


@model
def shared():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    dense = layers.Dense(3, activation="tanh")
    return keras.Model([a, b], layers.Concatenate()([dense(a), dense(b)]))


@model
def nested():
    pixels = [keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()]
    inner = keras.Sequential(pixels, name="inner")
    into = keras.Input((64,))
    outer = keras.Model(into, layers.Dense(3)(layers.Dense(5)(into)), name="outer")
    x, y = keras.Input((6, 6, 3), name="x"), keras.Input((6, 6, 3), name="y")
    return keras.Model([x, y], outer(layers.Add()([inner(x), inner(y)])))


@model
def spread():
    into = keras.Input((6, 6, 2))
    y = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(layers.Conv2D(3, 3)(into)))
    x = keras.Input((4, 6, 6, 2))
    return keras.Model(x, layers.TimeDistributed(keras.Model(into, y))(x))


@model
def heads():
    x = keras.Input((5, 8))
    y = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
    y = layers.Attention()([y, x])
    return keras.Model(x, layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")(y))


@model
def sights():
    x = keras.Input((5, 8))
    y = layers.MultiHeadAttention(2, 4, use_bias=False)(x, x, use_causal_mask=True)
    y = layers.Attention(use_scale=True)([y, x], use_causal_mask=True)
    return keras.Model(x, layers.RMSNormalization()(layers.AdditiveAttention()([y, x])))


@model
def operations():
    x = keras.Input((4, 6))
    y = ops.relu(x * 2.0 + 1.0 - 0.5)
    return keras.Model(x, layers.Dense(3)(ops.mean(y, axis=1) / 3.0 + ops.max(y, axis=1)))


@model
def open():
    x = keras.Input((None, None, 3))
    y = layers.MaxPooling2D(3, 2, padding="same")(layers.Conv2D(4, 3, strides=2, padding="same")(x))
    return keras.Model(x, layers.Conv2DTranspose(2, 4, strides=2, padding="same")(y))


@model
def shapes():
    x = keras.Input((4, 6))
    y = layers.Flatten()(layers.Permute((3, 1, 2))(layers.Reshape((2, -1, 3))(x)))
    return keras.Model(x, layers.RepeatVector(3)(y))


@model
def two_outputs():
    x = keras.Input((6,))
    y = layers.Dense(4)(x)
    p, v = layers.Dense(3, activation="softmax", name="p")(y), layers.Dense(1, activation="tanh", name="v")(y)
    return keras.Model(x, {"p": p, "v": v})


def made(name: str) -> Any:
    """The network with random weights."""
    keras.utils.set_random_seed(0)
    network = MODELS[name]()
    rng = np.random.default_rng(1)
    for weight in network.weights:
        if "float" in str(weight.dtype):
            value = rng.normal(0, 0.4, weight.shape)
            weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)
    return network


def inputs(network: Any, name: str) -> list[np.ndarray]:
    """A batch of two for every input."""
    rng = np.random.default_rng(0)
    found = []
    for given in network.inputs:
        shape = [2, *(size or 13 for size in given.shape[1:])]
        words = name.startswith("words") or name in ("masked", "masked_rows")
        value = rng.integers(0, 3, shape) if words else rng.normal(0, 1, shape)
        if name == "masking":
            value[:, [0, 3]] = 0
        found.append(value.astype(np.float32))
    return found


def outputs(network: Any, given: list[np.ndarray]) -> list[np.ndarray]:
    """What Keras gives."""
    got = network(given if len(given) > 1 else given[0], training=False)
    got = list(got.values()) if isinstance(got, dict) else got if isinstance(got, list | tuple) else [got]
    return [keras.ops.convert_to_numpy(value) for value in got]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(RECORDS, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in RECORDED:
            network = made(name)
            given = inputs(network, name)
            network.save(Path(folder) / f"{name}.keras")
            numbered = {f"in_{at}": value for at, value in enumerate(given)}
            numbered |= {f"out_{at}": value for at, value in enumerate(outputs(network, given))}
            np.savez(Path(folder) / f"{name}.npz", **numbered)
            for file in (f"{name}.keras", f"{name}.npz"):
                archive.write(Path(folder) / file, file)
    sys.stdout.write(f"{len(RECORDED)} networks of Keras {keras.__version__}\n")
