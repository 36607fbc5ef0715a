"""Small TFLite networks of random weights, about one for each operator; what LiteRT gives for them is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from importers.tflite_writer import Writer

Build = Callable[[Writer, np.random.Generator], list[int]]
SAME, VALID, RELU, RELU6, TANH = 0, 1, 1, 3, 4
NETWORKS: dict[str, Build] = {}


def network(build: Build) -> Build:
    NETWORKS[build.__name__] = build
    return build


def file_of(name: str) -> bytes:
    """The network's file; the same bytes on every machine."""
    writer = Writer()
    return writer.finish(NETWORKS[name](writer, generator(name)))


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little"))


def inputs_of(shapes: list[tuple[tuple[int, ...], str]], name: str, number: int = 0) -> list[np.ndarray]:
    """Seeded inputs of these shapes and types."""
    rng = np.random.default_rng([number, *name.encode()])
    found = []
    for shape, kind in shapes:
        if kind in ("int8", "uint8"):
            low = -128 if kind == "int8" else 0
            found.append((rng.random(shape) * 256 + low).astype(np.int64).astype(kind))
        elif kind == "bool":
            found.append(rng.random(shape) > 0.5)
        elif kind == "int16":
            found.append((rng.random(shape) * 20000 - 10000).astype("int16"))
        elif kind.startswith("int"):
            found.append((rng.random(shape) * 4).astype(kind))
        else:
            found.append((rng.random(shape) * 4 - 2).astype(kind))
    return found


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0, 1 / np.sqrt(max(np.prod(shape[1:]), 1)), shape).astype(np.float32)


def _conv(w: Writer, rng: Any, x: int, into: int, out: int, kernel: tuple[int, int] = (3, 3), **options: Any) -> int:
    options = {"padding": SAME, "stride_w": 1, "stride_h": 1} | options
    weights, bias = w.constant(_weights(rng, out, *kernel, into)), w.constant(_weights(rng, out))
    return w.op("CONV_2D", [x, weights, bias], **options)


@network
def conv_stride_and_asymmetric_same(w, rng):
    x = w.input((1, 9, 8, 3))
    y = _conv(w, rng, x, 3, 4, (3, 5), stride_w=2, stride_h=3, activation=RELU)
    return [_conv(w, rng, y, 4, 2, (2, 2), activation=RELU6)]


@network
def conv_valid_dilated_and_grouped(w, rng):
    y = _conv(w, rng, w.input((1, 12, 11, 4)), 4, 6, padding=VALID, dilation_w=2, dilation_h=3)
    return [_conv(w, rng, y, 3, 4, (1, 1), activation=2)]


@network
def depthwise_with_multiplier(w, rng):
    x = w.input((1, 7, 8, 3))
    weights, bias = w.constant(_weights(rng, 1, 3, 3, 6)), w.constant(_weights(rng, 6))
    options = {"padding": SAME, "stride_w": 2, "stride_h": 2, "multiplier": 2, "activation": 2}
    return [w.op("DEPTHWISE_CONV_2D", [x, weights, bias], **options)]


@network
def transposed_convolution(w, rng):
    x, outs = w.input((1, 4, 5, 3)), []
    for padding, kernel, size in ((SAME, 3, (8, 10)), (SAME, 4, (7, 9)), (VALID, 3, (9, 11)), (VALID, 2, (8, 10))):
        weights, shape = w.constant(_weights(rng, 2, kernel, kernel, 3)), w.constant([1, *size, 2])
        outs.append(w.op("TRANSPOSE_CONV", [shape, weights, x], padding=padding, stride_w=2, stride_h=2))
    return outs


@network
def conv_3d(w, rng):
    x, weights = w.input((1, 4, 5, 6, 2)), w.constant(_weights(rng, 2, 3, 2, 2, 3))
    options = {"padding": SAME, "stride_d": 1, "stride_h": 2, "stride_w": 2, "activation": RELU}
    return [w.op("CONV_3D", [x, weights, w.constant(_weights(rng, 3))], **options)]


@network
def pools(w, rng):
    x = w.input((1, 7, 9, 3))
    options = {"padding": SAME, "stride_w": 2, "stride_h": 2, "filter_w": 3, "filter_h": 2}
    outs = [w.op(kind, [x], **options) for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")]
    return [*outs, w.op("AVERAGE_POOL_2D", [x], **(options | {"padding": VALID, "activation": RELU}))]


@network
def fully_connected_of_pictures_and_sequences(w, rng):
    picture = _conv(w, rng, w.input((1, 4, 4, 3)), 3, 2)
    weights = w.constant(_weights(rng, 5, 32))
    flat = w.op("FULLY_CONNECTED", [picture, weights, w.constant(_weights(rng, 5))], activation=RELU)
    rows = w.op("FULLY_CONNECTED", [w.input((1, 6, 3)), w.constant(_weights(rng, 4, 3)), -1], keep_rank=True)
    return [flat, rows, w.op("FULLY_CONNECTED", [flat, w.constant(_weights(rng, 2, 5)), -1])]


@network
def matrices(w, rng):
    x, y = w.input((1, 3, 4)), w.input((1, 5, 4))
    return [w.op("BATCH_MATMUL", [x, y], adjoint_y=True), w.op("BATCH_MATMUL", [x, x], adjoint_x=True)]


@network
def arithmetic_after_a_convolution(w, rng):
    x = _conv(w, rng, w.input((1, 5, 4, 3)), 3, 3)
    y = _conv(w, rng, x, 3, 3, activation=RELU)
    outs = [w.op(kind, [x, y]) for kind in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")]
    per_channel, per_column = w.constant(_weights(rng, 3)), w.constant(_weights(rng, 4, 3))
    outs += [w.op("ADD", [x, per_channel], activation=RELU), w.op("MUL", [per_column, y])]
    outs.append(w.op("DIV", [x, w.constant(np.float32(0.7))], activation=RELU6))
    outs.append(w.op("ADD_N", [x, y, x]))
    outs.append(w.op("PRELU", [x, w.constant(_weights(rng, 1, 1, 3))]))
    return outs


@network
def unary(w, rng):
    x = w.input((1, 6, 5, 2))
    plain = "ABS NEG EXP SIN COS FLOOR CEIL ROUND SQUARE ELU HARD_SWISH TANH LOGISTIC SIGN"
    outs = [w.op(kind, [x]) for kind in (*plain.split(), "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")]
    positive = w.op("ADD", [w.op("ABS", [x]), w.constant(np.float32(0.1))])
    outs += [w.op(kind, [positive]) for kind in ("LOG", "SQRT", "RSQRT")]
    outs += [w.op("LEAKY_RELU", [x], alpha=0.3), w.op("POW", [positive, w.constant(np.float32(1.5))])]
    return [*outs, w.op("GELU", [x], approximate=True), w.op("GELU", [x])]


@network
def comparisons_and_choice(w, rng):
    x, y = w.input((1, 3, 4)), w.input((1, 3, 4))
    floor, kinds = w.op("FLOOR", [x]), ("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL")
    flags = []
    for kind in kinds:
        flags.append(w.tensor((1, 3, 4), "bool"))
        w.op(kind, [floor, w.op("FLOOR", [y])], [flags[-1]])
    both = [w.tensor((1, 3, 4), "bool") for _ in range(3)]
    w.op("LOGICAL_AND", flags[:2], [both[0]])
    w.op("LOGICAL_OR", [flags[2], flags[4]], [both[1]])
    w.op("LOGICAL_NOT", [both[0]], [both[2]])
    chosen = [w.op("SELECT", [both[1], x, y]), w.op("SELECT_V2", [both[2], x, w.constant(np.float32(2))])]
    anyone = w.tensor((1, 4), "bool")
    w.op("REDUCE_ANY", [both[0], w.constant([1])], [anyone])
    return [*flags, *both, *chosen, anyone, w.op("FLOOR_DIV", [x, y]), w.op("FLOOR_MOD", [x, y])]


@network
def reductions(w, rng):
    x = _conv(w, rng, w.input((1, 5, 4, 3)), 3, 3)
    outs = [
        w.op(kind, [x, w.constant(axes)], keep=keep)
        for kind, axes, keep in (
            ("MEAN", [1, 2], False),
            ("MEAN", [1, 2], True),
            ("SUM", [-1], False),
            ("REDUCE_MAX", [1], False),
            ("REDUCE_MIN", [3], True),
            ("REDUCE_PROD", [2, 3], False),
        )
    ]
    places = [w.tensor((1, 5, 4), "int32"), w.tensor((1, 4, 3), "int64")]
    w.op("ARG_MAX", [x, w.constant([3])], [places[0]], output_type=2)
    w.op("ARG_MIN", [x, w.constant([1])], [places[1]], output_type=4)
    best = [w.tensor((1, 5, 4, 2)), w.tensor((1, 5, 4, 2), "int32")]
    w.op("TOPK_V2", [x, w.constant(np.int32(2))], best)
    return [*outs, *places, *best, w.op("CUMSUM", [x, w.constant(np.int32(1))], reverse=True)]


@network
def normalisations(w, rng):
    x = _conv(w, rng, w.input((1, 4, 4, 6)), 6, 6)
    options = {"radius": 2, "bias": 1.0, "alpha": 0.3, "beta": 0.75}
    outs = [w.op("LOCAL_RESPONSE_NORMALIZATION", [x], **options), w.op("L2_NORMALIZATION", [x])]
    return [*outs, w.op("SOFTMAX", [x], beta=1.7), w.op("LOG_SOFTMAX", [x])]


@network
def shapes(w, rng):
    x = _conv(w, rng, w.input((1, 4, 6, 3)), 3, 3)
    outs = [
        w.op("RESHAPE", [x, w.constant([1, 24, 3])], shape=[1, 24, 3]),
        w.op("RESHAPE", [x, w.constant([-1, 36])], shape=[-1, 36]),
        w.op("TRANSPOSE", [x, w.constant([0, 2, 1, 3])]),
        w.op("EXPAND_DIMS", [x, w.constant(np.int32(-1))]),
        w.op("CONCATENATION", [x, x, x], axis=-1),
        w.op("CONCATENATION", [x, x], axis=2),
        w.op("TILE", [x, w.constant([1, 2, 1, 2])]),
        w.op("PACK", [x, x], count=2, axis=1),
        w.op("REVERSE_V2", [x, w.constant([2])]),
    ]
    pooled = w.op("MEAN", [x, w.constant([1, 2])], keep=True)
    outs.append(w.op("SQUEEZE", [pooled], axes=[1, 2]))
    outs += w.op("SPLIT", [w.constant(np.int32(2)), x], 3, count=3)
    outs += w.op("SPLIT_V", [x, w.constant([1, -1]), w.constant(np.int32(3))], 2, count=2)
    outs += w.op("UNPACK", [x], 3, count=3, axis=3)
    return outs


@network
def running_sums_of_items(w, rng):
    return [w.op("CUMSUM", [w.input((1, 4)), w.constant(np.int32(0))])]


@network
def items_times_items(w, rng):
    x = w.input((1, 4))
    return [w.op("FULLY_CONNECTED", [x, w.op("TANH", [x], [w.tensor((1, 4))]), -1])]


@network
def rows_of_items(w, rng):
    x = w.input((1, 4, 6))
    rows = w.op("RESHAPE", [x, w.constant([4, 6])], [w.tensor((4, 6))])
    made = [w.tensor((4, 8)), w.tensor((1, 4, 2, 4)), w.tensor((1, 2, 4, 4)), w.tensor((2, 16)), w.tensor((1, 32))]
    w.op("FULLY_CONNECTED", [rows, w.constant(_weights(rng, 8, 6)), -1], [made[0]])
    w.op("RESHAPE", [made[0], w.constant([1, 4, 2, 4])], [made[1]])
    w.op("TRANSPOSE", [made[1], w.constant([0, 2, 1, 3])], [made[2]])
    w.op("RESHAPE", [made[2], w.constant([2, 16])], [made[3]])
    w.op("RESHAPE", [w.op("TANH", [made[3]], [w.tensor((2, 16))]), w.constant([-1, 32])], [made[4]])
    return [made[2], made[4]]


@network
def slices(w, rng):
    x = _conv(w, rng, w.input((1, 6, 7, 3)), 3, 3)

    def strided(begin, end, step, **masks):
        return w.op("STRIDED_SLICE", [x, w.constant(begin), w.constant(end), w.constant(step)], **masks)

    return [
        w.op("SLICE", [x, w.constant([0, 1, 2, 0]), w.constant([1, 3, -1, 2])]),
        strided([0, 1, 0, 0], [1, 6, 7, 3], [1, 2, 3, 1]),
        strided([0, 0, -1, 0], [0, 0, -6, 0], [1, 1, -2, 1], begin_mask=11, end_mask=11),
        strided([0, 2, 0, 1], [1, 3, 0, 2], [1, 1, 1, 1], begin_mask=5, end_mask=5, shrink_axis_mask=2),
        w.op("GATHER", [x, w.constant([5, 0, 2])], axis=1),
        w.op("GATHER_ND", [x, w.constant([[[0, 1], [0, 3]]])]),
    ]


@network
def pads(w, rng):
    x = _conv(w, rng, w.input((1, 4, 5, 2)), 2, 2)
    amounts = w.constant([[0, 0], [1, 2], [0, 3], [1, 0]])
    outs = [w.op("PAD", [x, amounts]), w.op("PADV2", [x, amounts, w.constant(np.float32(0.5))])]
    mirrored = w.constant([[0, 0], [1, 2], [3, 0], [0, 0]])
    outs += [w.op("MIRROR_PAD", [x, mirrored], mode=mode) for mode in (0, 1)]
    return [*outs, _conv(w, rng, outs[0], 3, 2, padding=VALID, stride_w=2, stride_h=2)]


@network
def resizes(w, rng):
    x, outs = _conv(w, rng, w.input((1, 4, 6, 2)), 2, 2), []
    for size in ([8, 12], [7, 9], [3, 5], [1, 1]):
        for options in ({}, {"align_corners": True}, {"half_pixel": True}):
            for kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
                outs.append(w.op(kind, [x, w.constant(size)], **options))
    return outs


@network
def blocks(w, rng):
    x = _conv(w, rng, w.input((1, 6, 8, 4)), 4, 4)
    return [w.op("SPACE_TO_DEPTH", [x], block=2), w.op("DEPTH_TO_SPACE", [x], block=2)]


@network
def dilation_by_batches(w, rng):
    x = _conv(w, rng, w.input((1, 6, 7, 2)), 2, 2)
    parts = w.op("SPACE_TO_BATCH_ND", [x, w.constant([2, 2]), w.constant([[2, 2], [2, 3]])])
    y = _conv(w, rng, parts, 2, 3, padding=VALID)
    return [w.op("BATCH_TO_SPACE_ND", [y, w.constant([2, 2]), w.constant([[0, 0], [0, 1]])])]


@network
def shape_arithmetic(w, rng):
    x = _conv(w, rng, w.input((1, 4, 6, 2)), 2, 2, stride_w=2, stride_h=2)
    sizes, first, made = w.tensor((4,), "int32"), w.tensor((), "int32"), w.tensor((3,), "int32")
    w.op("SHAPE", [x], [sizes], output_type=2)
    ends = [w.constant([0]), w.constant([1]), w.constant([1])]
    w.op("STRIDED_SLICE", [sizes, *ends], [first], shrink_axis_mask=1)
    w.op("PACK", [first, w.constant(np.int32(-1)), w.constant(np.int32(2))], [made], count=3, axis=0)
    return [w.op("RESHAPE", [x, made])]


@network
def integers(w, rng):
    x = w.input((1, 4), "int32")
    table = w.constant(_weights(rng, 5, 3))
    rows = w.op("GATHER", [table, x], axis=0)
    hot = w.op("ONE_HOT", [x, w.constant(np.int32(4)), w.constant(np.float32(1)), w.constant(np.float32(0))], axis=-1)
    whole = [w.tensor((1, 4), "int32") for _ in range(3)]
    for kind, made in zip(("ADD", "FLOOR_DIV", "FLOOR_MOD"), whole, strict=True):
        w.op(kind, [x, w.constant(np.int32(3))], [made])
    return [rows, hot, *whole, w.op("CAST", [whole[0]], **{"from": 2, "to": 0})]


@network
def fills(w, rng):
    x = w.input((1, 3, 2))
    zeros = w.op("ZEROS_LIKE", [x])
    filled = w.op("FILL", [w.constant([1, 3, 2]), w.constant(np.float32(0.5))])
    wide = w.op("BROADCAST_TO", [w.constant(_weights(rng, 3, 1)), w.constant([1, 3, 2])])
    return [w.op("ADD", [x, zeros]), w.op("ADD", [x, filled]), w.op("MUL", [x, wide])]


def _lstm(w, rng, inputs: int, cells: int, x: int, outs: int = 0, coupled: bool = False, peep: bool = False, **more):
    """A sequence LSTM's inputs in their order."""
    kept = outs or cells
    gates = [-1 if coupled else w.constant(_weights(rng, cells, inputs) * 2)]
    gates += [w.constant(_weights(rng, cells, inputs) * 2) for _ in range(3)]
    again = [-1 if coupled else w.constant(_weights(rng, cells, kept))]
    again += [w.constant(_weights(rng, cells, kept)) for _ in range(3)]
    looks = [w.constant(_weights(rng, cells)) if peep and not (coupled and place == 0) else -1 for place in range(3)]
    bias = [-1 if coupled else w.constant(_weights(rng, cells)), *(w.constant(_weights(rng, cells)) for _ in range(3))]
    project = [w.constant(_weights(rng, outs, cells)), w.constant(_weights(rng, outs))] if outs else [-1, -1]
    states = [w.tensor((1, size), variable=True) for size in (kept, cells)]
    norms = more.pop("norms", None)
    tail = [w.constant(np.abs(_weights(rng, cells)) + 0.5) for _ in range(4)] if norms else []
    places = [x, *gates, *again, *looks, *bias, *project, *states, *tail]
    return w.op(more.pop("kind", "UNIDIRECTIONAL_SEQUENCE_LSTM"), places, activation=TANH, **more)


@network
def lstm_plain(w, rng):
    return [_lstm(w, rng, 3, 4, w.input((1, 5, 3)))]


@network
def lstm_with_peepholes(w, rng):
    return [_lstm(w, rng, 3, 4, w.input((1, 5, 3)), peep=True)]


@network
def lstm_coupled(w, rng):
    return [_lstm(w, rng, 3, 4, w.input((1, 5, 3)), coupled=True, peep=True)]


@network
def lstm_cut_and_projected(w, rng):
    return [_lstm(w, rng, 3, 4, w.input((1, 6, 3)), outs=2, cell_clip=0.4, projection_clip=0.3, peep=True)]


@network
def lstm_cut(w, rng):
    return [_lstm(w, rng, 3, 4, w.input((1, 6, 3)), cell_clip=0.3)]


@network
def lstm_normalised(w, rng):
    return [_lstm(w, rng, 3, 4, w.input((1, 5, 3)), norms=True)]


@network
def lstm_both_ways(w, rng):
    x, cells, inputs, sides = w.input((1, 5, 3)), 4, 3, []
    for _ in range(2):
        sides += [w.constant(_weights(rng, cells, inputs)) for _ in range(4)]
        sides += [w.constant(_weights(rng, cells, cells)) for _ in range(4)]
        sides += [-1, -1, -1, *(w.constant(_weights(rng, cells)) for _ in range(4)), -1, -1]
    states = [w.tensor((1, cells), variable=True) for _ in range(4)]
    places = [x, *sides, *states, *[-1] * 9]
    return [w.op("BIDIRECTIONAL_SEQUENCE_LSTM", places, merge=True, time_major=False, activation=TANH)]


@network
def rnn_over_a_sequence(w, rng):
    x = w.input((1, 5, 3))
    parts = [w.constant(_weights(rng, 4, 3)), w.constant(_weights(rng, 4, 4)), w.constant(_weights(rng, 4))]
    state = w.tensor((1, 4), variable=True)
    return [w.op("UNIDIRECTIONAL_SEQUENCE_RNN", [x, *parts, state], activation=TANH)]


@network
def rnn_both_ways(w, rng):
    x, sides = w.input((1, 5, 3)), []
    for _ in range(2):
        sides += [w.constant(_weights(rng, 4, 3)), w.constant(_weights(rng, 4, 4)), w.constant(_weights(rng, 4))]
        sides.append(w.tensor((1, 4), variable=True))
    return w.op("BIDIRECTIONAL_SEQUENCE_RNN", [x, *sides, -1, -1, -1], 2, activation=RELU)


@network
def cells_that_keep_a_state(w, rng):
    x = w.input((1, 3))
    parts = [w.constant(_weights(rng, 4, 3)), w.constant(_weights(rng, 4, 4)), w.constant(_weights(rng, 4))]
    plain = w.op("RNN", [x, *parts, w.tensor((1, 4), variable=True)], activation=TANH)
    times = [w.constant(_weights(rng, 4, 3)), w.constant(_weights(rng, 4, 5)), w.constant(_weights(rng, 2))]
    filtered = w.op("SVDF", [x, *times, w.tensor((1, 20), variable=True)], rank=2, activation=RELU)
    return [plain, filtered, _lstm(w, rng, 3, 4, x, outs=2, cell_clip=0.4, peep=True, kind="LSTM")]


@network
def halves(w, rng):
    x = w.input((1, 4, 4, 2))
    weights = w.constant(_weights(rng, 3, 3, 3, 2), "float16")
    whole = w.op("DEQUANTIZE", [weights])
    options = {"padding": SAME, "stride_w": 1, "stride_h": 1}
    return [w.op("CONV_2D", [x, whole, w.constant(_weights(rng, 3))], **options)]


@network
def rounded_in_training(w, rng):
    return [w.op("FAKE_QUANT", [w.input((1, 4, 4, 2))], min=-1.0, max=1.5, bits=8)]


# -- quantised ---------------------------------------------------------------------------------------------------------


def _small(w, rng, x, shape, grid, kind="CONV_2D", per_channel=True, out=(0.05, -10), data="int8", **options):
    """A quantised layer with weights of 8 bits; `grid`: the input's scale."""
    channel = 3 if kind == "DEPTHWISE_CONV_2D" else 0
    count = shape[channel]
    numbers = rng.integers(-127, 128, shape) if data != "uint8" else rng.integers(0, 256, shape)
    scale = rng.uniform(0.005, 0.02, count if per_channel else 1).astype(np.float32)
    zero = 120 if data == "uint8" else 0
    weights = w.constant(numbers, "uint8" if data == "uint8" else "int8", scale=scale, zero=zero, axis=channel)
    sums = (np.float32(grid) * scale).astype(np.float32)
    bias = w.constant(rng.integers(-500, 500, count), "int32", scale=sums)
    made = w.tensor((1,), data, scale=out[0], zero=out[1])
    if kind != "FULLY_CONNECTED":
        options = {"padding": SAME, "stride_w": 1, "stride_h": 1} | options
    w.op(kind, [x, weights, bias], [made], **options)
    return made


@network
def quantised_convolutions(w, rng):
    x = w.input((1, 6, 6, 3), "int8", scale=0.02, zero=5)
    y = _small(w, rng, x, (4, 3, 3, 3), 0.02, activation=RELU, out=(0.03, -128))
    y = _small(w, rng, y, (1, 3, 3, 4), 0.03, "DEPTHWISE_CONV_2D", out=(0.04, 3), activation=RELU6, multiplier=1)
    return [_small(w, rng, y, (5, 1, 1, 4), 0.04, out=(0.05, -1))]


@network
def quantised_by_training(w, rng):
    x = w.input((1, 6, 6, 3), "uint8", scale=1 / 128, zero=128)
    y = _small(w, rng, x, (4, 3, 3, 3), 1 / 128, per_channel=False, data="uint8", out=(6 / 255, 0), activation=RELU6)
    pooled = w.tensor((1,), "uint8", scale=6 / 255, zero=0)
    w.op("AVERAGE_POOL_2D", [y], [pooled], padding=VALID, stride_w=2, stride_h=2, filter_w=6, filter_h=6)
    flat = w.tensor((1,), "uint8", scale=6 / 255, zero=0)
    w.op("RESHAPE", [pooled, w.constant([1, 4])], [flat], shape=[1, 4])
    scores = _small(w, rng, flat, (5, 4), 6 / 255, "FULLY_CONNECTED", per_channel=False, data="uint8", out=(0.1, 100))
    soft = w.tensor((1,), "uint8", scale=1 / 256, zero=0)
    w.op("SOFTMAX", [scores], [soft], beta=1.0)
    return [soft, scores]


@network
def quantised_arithmetic(w, rng):
    x = w.input((1, 4, 4, 2), "int8", scale=0.02, zero=5)
    y = w.input((1, 4, 4, 2), "int8", scale=0.03, zero=-7)

    def made(scale, zero):
        return w.tensor((1,), "int8", scale=scale, zero=zero)

    outs = []
    for kind, inputs, grid, options in (
        ("ADD", [x, y], (0.05, 2), {"activation": RELU}),
        ("SUB", [x, y], (0.05, 1), {}),
        ("MUL", [x, y], (0.06, -3), {}),
        ("CONCATENATION", [x, x], (0.02, 5), {"axis": 3}),
        ("LOGISTIC", [x], (1 / 256, -128), {}),
        ("TANH", [y], (1 / 128, 0), {}),
        ("MEAN", [x, w.constant([1, 2])], (0.02, 5), {"keep": False}),
        ("MAX_POOL_2D", [x], (0.02, 5), {"padding": SAME, "stride_w": 2, "stride_h": 2, "filter_w": 3, "filter_h": 3}),
        ("LEAKY_RELU", [x], (0.02, 1), {"alpha": 0.2}),
        ("PAD", [x, w.constant([[0, 0], [1, 1], [2, 0], [0, 0]])], (0.02, 5), {}),
        ("QUANTIZE", [x], (0.043, 9), {}),
        ("RESIZE_BILINEAR", [x, w.constant([8, 8])], (0.02, 5), {}),
        ("RESIZE_NEAREST_NEIGHBOR", [x, w.constant([8, 8])], (0.02, 5), {}),
        ("HARD_SWISH", [x], (0.03, -100), {}),
    ):
        outs.append(made(*grid))
        w.op(kind, inputs, [outs[-1]], **options)
    return [*outs, w.op("DEQUANTIZE", [outs[0]])]


@network
def quantised_at_the_border_of_floats(w, rng):
    x = w.input((1, 5, 5, 2))
    y = w.tensor((1,), "int8", scale=0.03, zero=4)
    w.op("QUANTIZE", [x], [y])
    return [w.op("DEQUANTIZE", [_small(w, rng, y, (3, 3, 3, 2), 0.03)])]


@network
def quantised_to_16_bits(w, rng):
    x = w.input((1, 5, 5, 2), "int16", scale=1 / 8192)
    weights = w.constant(rng.integers(-127, 128, (3, 3, 3, 2)), "int8", scale=[0.01, 0.02, 0.015], axis=0)
    sums = (np.float32(1 / 8192) * np.array([0.01, 0.02, 0.015], np.float32)).astype(np.float32)
    bias = w.constant(rng.integers(-20000, 20000, 3), "int64", scale=sums)
    y, z = w.tensor((1,), "int16", scale=1 / 4096), w.tensor((1,), "int16", scale=1 / 32768)
    w.op("CONV_2D", [x, weights, bias], [y], padding=SAME, stride_w=1, stride_h=1, activation=RELU)
    w.op("LOGISTIC", [y], [z])
    return [y, z]


@network
def weights_of_bytes_data_of_floats(w, rng):
    x = w.input((1, 12))
    weights = w.constant(rng.integers(-127, 128, (5, 12)), "int8", scale=0.01)
    return [w.op("FULLY_CONNECTED", [x, weights, w.constant(_weights(rng, 5))], activation=RELU)]


@network
def detection(w, rng):
    encoded = w.input((1, 12, 4))
    scores = w.op("LOGISTIC", [w.input((1, 12, 4))])
    anchors = w.constant(np.concatenate([rng.random((12, 2)), rng.random((12, 2)) * 0.4 + 0.1], 1).astype(np.float32))
    made = [w.tensor() for _ in range(4)]
    w.op("CUSTOM TFLite_Detection_PostProcess", [encoded, scores, anchors], made, custom=flexible(
        max_detections=6, max_classes_per_detection=1, detections_per_class=100, nms_score_threshold=0.3,
        nms_iou_threshold=0.4, num_classes=3, y_scale=10.0, x_scale=10.0, h_scale=5.0, w_scale=5.0,
        use_regular_nms=False,
    ))  # fmt: skip
    return made


def flexible(**options: Any) -> bytes:
    """A map of numbers as a FlexBuffer: keys, their offsets, values of 4 bytes, types."""
    keys, offsets = b"", {}
    for name in sorted(options):
        offsets[name] = len(keys)
        keys += name.encode() + b"\0"
    out = bytearray(keys + b"\0" * (-len(keys) % 4))
    out += len(options).to_bytes(4, "little")
    start = len(out)
    for index, name in enumerate(sorted(options)):
        out += (start + 4 * index - offsets[name]).to_bytes(4, "little")
    out += (len(out) - start).to_bytes(4, "little") + (4).to_bytes(4, "little") + len(options).to_bytes(4, "little")
    place, types = len(out), b""
    for name in sorted(options):
        value = options[name]
        out += np.float32(value).tobytes() if isinstance(value, float) else int(value).to_bytes(4, "little")
        kind = 26 if isinstance(value, bool) else 3 if isinstance(value, float) else 1
        types += bytes([kind << 2 | 2])
    out += types
    return bytes(out) + bytes([len(out) - place, 9 << 2 | 2, 1])
