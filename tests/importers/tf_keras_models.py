"""Small networks of tf.keras 2.15, recorded as HDF5 with inputs and outputs.

python tests/importers/tf_keras_models.py     writes fixtures/tf_keras.zip; needs tensorflow-cpu 2.15, by hand
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

keras, layers = tf.keras, tf.keras.layers
RECORDS = Path(__file__).parent / "fixtures" / "tf_keras.zip"
MODELS: dict[str, Callable[[], Any]] = {}


def model(build: Callable[[], Any]) -> Callable[[], Any]:
    MODELS[build.__name__] = build
    return build


@model
def pools():
    x = keras.Input((9, 10, 3))
    y = layers.AveragePooling2D(3, 2, padding="same")(x)
    y = layers.UpSampling2D(2, interpolation="bilinear")(layers.LocallyConnected2D(2, 2, activation="relu")(y))
    return keras.Model(x, layers.Conv2DTranspose(4, 2, strides=3)(y))


@model
def rows():
    x = keras.Input((9, 3))
    y = layers.SeparableConv1D(4, 3, padding="same", depth_multiplier=2)(layers.DepthwiseConv1D(3, padding="same")(x))
    return keras.Model(x, layers.Conv1DTranspose(4, 4, strides=2, padding="same")(layers.LocallyConnected1D(3, 2)(y)))


@model
def films():
    x = keras.Input((4, 6, 7, 2))
    y = layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(x)
    return keras.Model(x, layers.ConvLSTM2D(2, 3, strides=2)(y))


@model
def slopes():
    x = keras.Input((6,))
    y = layers.ThresholdedReLU(0.3)(layers.ELU(0.7)(layers.LeakyReLU()(x)))
    y = layers.Dense(4, activation="hard_sigmoid")(layers.PReLU()(y))
    return keras.Model(x, layers.ReLU(0.8, 0.2, 0.3)(y))


@model
def cells():
    x = keras.Input((5, 3))
    y = layers.RNN(layers.LSTMCell(4), return_sequences=True)(x)
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True))(y)
    return keras.Model(x, layers.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid")(y))


@model
def words():
    x = keras.Input((7,))
    y = layers.Embedding(5, 4, mask_zero=True)(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    return keras.Model(x, layers.SimpleRNN(3)(y))


@model
def translator():
    e, d = keras.Input((5, 3), name="source"), keras.Input((4, 2), name="target")
    _, h, c = layers.LSTM(6, return_state=True)(e)
    y = layers.LSTM(6, return_sequences=True)(d, initial_state=[h, c])
    return keras.Model([e, d], layers.TimeDistributed(layers.Dense(2))(y))


@model
def heads():
    x = keras.Input((5, 8))
    y = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
    return keras.Model(x, layers.Attention()([y, x]))


@model
def operations():
    x = keras.Input((4, 6))
    y = tf.nn.relu(x * 2.0 + 1.0 - 0.5)
    z = tf.reduce_mean(y, axis=1)
    return keras.Model(x, layers.Dense(3)(tf.concat([z, z], axis=-1) / 3.0))


@model
def nested():
    pixels = [keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()]
    inner = keras.Sequential(pixels, name="inner")
    into = keras.Input((64,))
    outer = keras.Model(into, layers.Dense(3)(layers.Dense(5)(into)), name="outer")
    x, y = keras.Input((6, 6, 3), name="x"), keras.Input((6, 6, 3), name="y")
    return keras.Model([x, y], outer(layers.Add()([inner(x), inner(y)])))


@model
def frozen():
    pixels = [keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    inner = keras.Sequential([*pixels, layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()])
    inner.trainable = False
    return keras.Sequential([keras.Input((6, 6, 3)), inner, layers.Dense(3)])


@model
def spread():
    into = keras.Input((6, 6, 2))
    y = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(layers.Conv2D(3, 3)(into)))
    x = keras.Input((4, 6, 6, 2))
    return keras.Model(x, layers.TimeDistributed(keras.Model(into, y))(x))


@model
def turned():
    x = keras.Input((8, 4, 6))
    y = layers.Permute((3, 1, 2))(layers.Conv2D(3, 3)(layers.Permute((2, 3, 1))(x)))
    return keras.Model(x, layers.Flatten(data_format="channels_first")(y))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(RECORDS, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, build in MODELS.items():
            network, rng = build(), np.random.default_rng(1)
            values = [rng.normal(0, 0.4, weight.shape) for weight in network.weights]
            positive = ["variance" in weight.name for weight in network.weights]
            network.set_weights([np.abs(v) + 0.5 if p else v for v, p in zip(values, positive, strict=True)])
            given = [rng.normal(0, 1, [2, *value.shape[1:]]).astype(np.float32) for value in network.inputs]
            given = [rng.integers(0, 3, (2, 7)).astype(np.float32)] if name == "words" else given
            got = network(given if len(given) > 1 else given[0], training=False).numpy()
            network.save(Path(folder) / f"{name}.h5")
            np.savez(Path(folder) / f"{name}.npz", out_0=got, **{f"in_{at}": value for at, value in enumerate(given)})
            for file in (f"{name}.h5", f"{name}.npz"):
                archive.write(Path(folder) / file, file)
    sys.stdout.write(f"{len(MODELS)} networks of TensorFlow {tf.__version__}\n")
