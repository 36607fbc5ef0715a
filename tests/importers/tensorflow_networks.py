"""Tiny random networks, one for each way of each operator; what TensorFlow 2.21 gives for them is in `fixtures`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from importers.tensorflow_writer import BOOL, DOUBLE, FLOAT, INT32, INT64, UINT8, Frozen, Function, Type, type_of

Network = tuple[Frozen, list[str]]
"""The graph, and the tensors that are compared."""
T = Type(FLOAT)
I32, I64 = Type(INT32), Type(INT64)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).standard_normal(shape).astype(np.float32)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return (rng(seed).random(shape) + 0.5).astype(np.float32)


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def lone(value: int) -> np.ndarray:
    return np.array(value, np.int32)


def one(op: str, value: np.ndarray, *more: Any, first: bool = False, opened: bool = True, **attributes: Any) -> Network:
    """A single operator on an input, whose batch is open; further inputs are constants.

    `first`: the input passes a pooling before, so that its channels lie first.
    """
    graph = Frozen()
    name = graph.input("x", value, (-1, *value.shape[1:]) if opened and value.ndim else value.shape)
    if first:
        name = graph.node("p", "MaxPool", name, ksize=[1, 1, 1, 1], strides=[1, 1, 1, 1], padding="VALID", T=T)
    attributes = {"T": type_of(value), **attributes}
    graph.node("y", op, name, *more, **{key: value for key, value in attributes.items() if value is not None})
    return graph, ["y"]


def two(op: str, a: np.ndarray, b: np.ndarray, **attributes: Any) -> Network:
    """An operator on two inputs."""
    graph = Frozen()
    graph.input("a", a)
    graph.input("b", b)
    graph.node("y", op, "a", "b", **{"T": type_of(a), **attributes})
    return graph, ["y"]


PICTURE = normal(2, 7, 5, 3)
STRIDES = {"strides": [1, 2, 2, 1]}
ONES = {"strides": [1, 1, 1, 1]}
UNARY = {
    "Acosh": positive(2, 5) + 1, "Asinh": PICTURE, "Atanh": np.tanh(PICTURE) * np.float32(0.9),
    "Abs": PICTURE, "Acos": np.tanh(PICTURE), "Asin": np.tanh(PICTURE), "Atan": PICTURE, "Ceil": PICTURE,
    "Cos": PICTURE, "Cosh": PICTURE, "Elu": PICTURE, "Erf": PICTURE, "Erfc": PICTURE, "Exp": PICTURE, "Expm1": PICTURE,
    "Floor": PICTURE, "Log": positive(2, 5), "Log1p": positive(2, 5), "LogSoftmax": normal(3, 5), "Neg": PICTURE,
    "Reciprocal": positive(2, 5), "Relu": PICTURE, "Relu6": PICTURE * 5, "Rint": PICTURE * 3, "Round": PICTURE * 3,
    "Rsqrt": positive(2, 5), "Selu": PICTURE, "Sigmoid": PICTURE, "Sign": PICTURE, "Sin": PICTURE, "Sinh": PICTURE,
    "Softmax": normal(3, 5), "Softplus": PICTURE, "Softsign": PICTURE, "Sqrt": positive(2, 5), "Square": PICTURE,
    "Tan": np.tanh(PICTURE), "Tanh": PICTURE, "ZerosLike": PICTURE, "OnesLike": PICTURE, "L2Loss": PICTURE,
}  # fmt: skip
BINARY = {
    "Add": 0, "AddV2": 0, "Sub": 0, "Mul": 0, "RealDiv": 0, "Div": 0, "Maximum": 0, "Minimum": 0,
    "SquaredDifference": 0, "FloorDiv": 0, "FloorMod": 0, "DivNoNan": 0, "Atan2": 0, "Greater": 0, "GreaterEqual": 0,
    "Less": 0, "LessEqual": 0, "Equal": 0, "NotEqual": 0,
}  # fmt: skip
BUILDERS: dict[str, Callable[[], Network]] = {}


def network(name: str) -> Callable[[Callable[[], Network]], Callable[[], Network]]:
    def add(build: Callable[[], Network]) -> Callable[[], Network]:
        assert name not in BUILDERS, name
        BUILDERS[name] = build
        return build

    return add


def networks() -> Iterator[tuple[str, Network]]:
    """Every network by its name."""
    for op, value in UNARY.items():
        yield op, one(op, value)
        if value.ndim == 4 and op not in ("ZerosLike", "OnesLike", "L2Loss"):
            yield f"{op} of channels first", one(op, value, first=True)
    for op in BINARY:
        right = np.round(normal(3, seed=1) * 2) / 2 if op in ("Equal", "NotEqual", "DivNoNan") else normal(3, seed=1)
        left = PICTURE if op == "Atan2" else np.round(PICTURE * 2) / 2
        yield op, two(op, left, right)
        yield f"{op} of channels first", one(op, left, right, first=True)
        yield f"{op} of a whole picture", one(op, left, np.round(normal(7, 5, 3, seed=4) * 2) / 2, first=True)
    for op in ("FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod", "Maximum", "Mul"):
        yield f"{op} of integers", two(op, ints(7, -7, 7, -7), ints(3, 3, -3, -3))
    for op in ("Mean", "Sum", "Max", "Min", "Prod"):
        for keep in (False, True):
            for axes in ([1, 2], [-1], [0, 3], [1]):
                name = f"{op} over {axes}{' kept' if keep else ''}"
                yield name, one(op, PICTURE, ints(*axes), first=True, keep_dims=keep, Tidx=I32)
    for op in ("ArgMax", "ArgMin"):
        yield op, one(op, PICTURE, lone(3), first=True, output_type=I64, Tidx=I32)
    for name, build in BUILDERS.items():
        yield name, build()


# -- windows -----------------------------------------------------------------------------------------------------------

for _padding in ("SAME", "VALID"):
    for _stride in (1, 2, 3):
        for _size in ((9, 7), (8, 8)):
            BUILDERS[f"Conv2D {_padding} stride {_stride} of {_size}"] = lambda p=_padding, s=_stride, z=_size: one(
                "Conv2D", normal(2, *z, 3), normal(3, 4, 3, 5, seed=1), strides=[1, s, s, 1], padding=p
            )
            BUILDERS[f"AvgPool {_padding} stride {_stride} of {_size}"] = lambda p=_padding, s=_stride, z=_size: one(
                "AvgPool", normal(2, *z, 3), ksize=[1, 3, 2, 1], strides=[1, s, s, 1], padding=p
            )
            BUILDERS[f"MaxPool {_padding} stride {_stride} of {_size}"] = lambda p=_padding, s=_stride, z=_size: one(
                "MaxPool", normal(2, *z, 3), ksize=[1, 3, 2, 1], strides=[1, s, s, 1], padding=p
            )
            BUILDERS[f"Depthwise {_padding} stride {_stride} of {_size}"] = lambda p=_padding, s=_stride, z=_size: one(
                "DepthwiseConv2dNative", normal(2, *z, 3), normal(3, 3, 3, 2, seed=1), strides=[1, s, s, 1], padding=p
            )
    for _dilation in (2, 3):
        BUILDERS[f"Conv2D {_padding} dilated {_dilation}"] = lambda p=_padding, d=_dilation: one(
            "Conv2D", normal(2, 12, 11, 3), normal(3, 2, 3, 5, seed=1), **ONES, padding=p, dilations=[1, d, d, 1]
        )
    for _stride in (1, 2, 3):
        for _kernel in (1, 2, 3, 4):
            BUILDERS[f"transposed {_padding} stride {_stride} kernel {_kernel}"] = (
                lambda p=_padding, s=_stride, k=_kernel: _transposed(p, s, k)
            )
    BUILDERS[f"Conv3D {_padding}"] = lambda p=_padding: one(
        "Conv3D", normal(2, 5, 6, 7, 3), normal(2, 3, 3, 3, 4, seed=1), strides=[1, 1, 2, 2, 1], padding=p
    )
    BUILDERS[f"ExtractImagePatches {_padding}"] = lambda p=_padding: one(
        "ExtractImagePatches", PICTURE, ksizes=[1, 3, 2, 1], **STRIDES, rates=[1, 1, 1, 1], padding=p
    )


def _transposed(padding: str, stride: int, kernel: int) -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 4, 5, 3))
    out = [4 * stride, 5 * stride] if padding == "SAME" else [(n - 1) * stride + max(kernel, stride) for n in (4, 5)]
    filters = normal(kernel, kernel, 6, 3, seed=1)
    strides = [1, stride, stride, 1]
    graph.node("y", "Conv2DBackpropInput", ints(2, *out, 6), filters, "x", strides=strides, padding=padding, T=T)
    return graph, ["y"]


@network("Conv2D with explicit padding")
def _() -> Network:
    pads = [0, 0, 1, 2, 3, 0, 0, 0]
    filters = normal(3, 3, 3, 4, seed=1)
    return one("Conv2D", PICTURE, filters, **ONES, padding="EXPLICIT", explicit_paddings=pads)


@network("Conv2D in groups")
def _() -> Network:
    return one("Conv2D", normal(2, 6, 6, 6), normal(3, 3, 2, 9, seed=1), **ONES, padding="SAME")


@network("a transposed convolution whose size is computed")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 4, 5, 3), (-1, 4, 5, 3))
    graph.node("s", "Shape", "x", T=T)
    graph.node("n", "StridedSlice", "s", ints(0), ints(1), ints(1), shrink_axis_mask=1, T=I32, Index=I32)
    graph.node("d", "Pack", "n", lone(8), lone(10), lone(6), N=4, T=I32, axis=0)
    filters = normal(3, 3, 6, 3, seed=1)
    graph.node("y", "Conv2DBackpropInput", "d", filters, "x", strides=[1, 2, 2, 1], padding="SAME", T=T)
    return graph, ["y"]


@network("two convolutions, a sum and a bias")
def _() -> Network:
    graph = Frozen()
    graph.input("x", PICTURE, (-1, 7, 5, 3))
    graph.node("c", "Conv2D", "x", normal(3, 3, 3, 4, seed=1), strides=[1, 2, 2, 1], padding="SAME", T=T)
    graph.node("b", "BiasAdd", "c", normal(4, seed=2), T=T)
    graph.node("r", "Relu", "b", T=T)
    graph.node("d", "Conv2D", "r", normal(1, 1, 4, 4, seed=3), **ONES, padding="SAME", T=T)
    graph.node("a", "Add", "d", "r", T=T)
    graph.node("j", "ConcatV2", "a", "b", lone(-1), N=2, T=T, Tidx=I32)
    graph.node("m", "Mean", "j", ints(1, 2), T=T, Tidx=I32)
    graph.node("y", "Softmax", "m", T=T)
    return graph, ["y", "j"]


@network("FusedBatchNorm")
def _() -> Network:
    values = [positive(3), normal(3, seed=1), normal(3, seed=2), positive(3, seed=3)]
    return one("FusedBatchNorm", PICTURE, *values, is_training=False, epsilon=0.01)


@network("FusedBatchNormV3 in training")
def _() -> Network:
    values = [positive(3), normal(3, seed=1), np.zeros(0, np.float32), np.zeros(0, np.float32)]
    graph, _ = one("FusedBatchNormV3", PICTURE, *values, is_training=True, epsilon=0.01, U=T, opened=False)
    return graph, ["y", "y:1", "y:2"]


@network("LRN")
def _() -> Network:
    return one("LRN", normal(2, 4, 4, 9), depth_radius=2, bias=1.5, alpha=0.3, beta=0.75)


@network("MaxPoolWithArgmax")
def _() -> Network:
    graph, _ = one("MaxPoolWithArgmax", PICTURE, ksize=[1, 2, 2, 1], **STRIDES, padding="SAME", Targmax=I64)
    return graph, ["y", "y:1"]


@network("a window over dilated space")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 8, 8, 3), (-1, 8, 8, 3))
    kinds = {"T": T, "Tblock_shape": I32}
    graph.node("s", "SpaceToBatchND", "x", ints(2, 2), np.array([[2, 2], [2, 2]], np.int32), Tpaddings=I32, **kinds)
    graph.node("c", "Conv2D", "s", normal(3, 3, 3, 4, seed=1), **ONES, padding="VALID", T=T)
    graph.node("y", "BatchToSpaceND", "c", ints(2, 2), np.array([[0, 1], [1, 0]], np.int32), Tcrops=I32, **kinds)
    return graph, ["y"]


# -- shapes ------------------------------------------------------------------------------------------------------------

for _perm in ([0, 3, 1, 2], [0, 2, 3, 1], [3, 2, 1, 0], [0, 2, 1, 3], [1, 0, 2, 3]):
    for _first in (False, True):
        BUILDERS[f"Transpose {_perm}{' of channels first' if _first else ''}"] = lambda p=_perm, f=_first: one(
            "Transpose", PICTURE, ints(*p), first=f, Tperm=I32
        )
for _axes in ([], [1], [1, 2], [2], [3], [-2]):
    BUILDERS[f"Squeeze {_axes}"] = lambda a=_axes: one(
        "Squeeze", normal(2, 1, 1, 1) if a in ([], [3]) else normal(2, 1, 1, 5), first=True, squeeze_dims=a
    )
for _axis in (0, 1, 2, 3, 4, -1, -2):
    BUILDERS[f"ExpandDims {_axis}"] = lambda a=_axis: one("ExpandDims", PICTURE, lone(a), first=True, Tdim=I32)
for _axis in (0, 1, 2, 3, -1):
    BUILDERS[f"ConcatV2 {_axis}"] = lambda a=_axis: _joined("ConcatV2", a)
    BUILDERS[f"Concat {_axis}"] = lambda a=_axis: _joined("Concat", a)
    BUILDERS[f"Split {_axis}"] = lambda a=_axis: _parts("Split", a)
    BUILDERS[f"SplitV {_axis}"] = lambda a=_axis: _parts("SplitV", a)
    BUILDERS[f"Unpack {_axis}"] = lambda a=_axis: _parts("Unpack", a)
    BUILDERS[f"Pack {_axis}"] = lambda a=_axis: _stacked(a)


def _joined(op: str, axis: int) -> Network:
    graph = Frozen()
    graph.input("a", normal(2, 4, 6, 8))
    graph.input("b", normal(2, 4, 6, 8, seed=1))
    graph.node("p", "Conv2D", "a", normal(1, 1, 8, 8), **ONES, padding="SAME", T=T)
    kinds = {"N": 2, "T": T, **({"Tidx": I32} if op == "ConcatV2" else {})}
    operands = ["p", "b", lone(axis)] if op == "ConcatV2" else [lone(axis % 4), "p", "b"]
    graph.node("y", op, *operands, **kinds)
    return graph, ["y"]


def _parts(op: str, axis: int) -> Network:
    graph = Frozen()
    graph.input("a", normal(2, 4, 6, 8))
    graph.node("p", "Conv2D", "a", normal(1, 1, 8, 8), **ONES, padding="SAME", T=T)
    size = (2, 4, 6, 8)[axis]
    if op == "Split":
        graph.node("y", "Split", lone(axis), "p", num_split=2, T=T)
        return graph, ["y", "y:1"]
    if op == "SplitV":
        graph.node("y", "SplitV", "p", ints(1, -1), lone(axis), num_split=2, T=T, Tlen=I32)
        return graph, ["y", "y:1"]
    graph.node("y", "Unpack", "p", num=size, axis=axis, T=T)
    return graph, ["y", f"y:{size - 1}"]


def _stacked(axis: int) -> Network:
    graph = Frozen()
    graph.input("a", normal(2, 4, 6))
    graph.input("b", normal(2, 4, 6, seed=1))
    graph.node("y", "Pack", "a", "b", N=2, T=T, axis=axis)
    return graph, ["y"]


_SLICES: dict[str, dict[str, Any]] = {
    "plain": {"bounds": ([0, 1, 2], [2, 5, 6], [1, 2, 1])},
    "backwards": {"bounds": ([0, -1, 5], [2, -6, 0], [1, -2, -1])},
    "masks": {"bounds": ([0, 1, 2], [0, 0, 0], [1, 1, 1]), "begin_mask": 3, "end_mask": 7},
    "backwards with masks": {"bounds": ([0, 0, 0], [0, 0, 0], [1, -1, -2]), "begin_mask": 7, "end_mask": 7},
    "one index": {"bounds": ([0, -1, 2], [0, 0, 3], [1, 1, 1]), "begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 6},
    "an ellipsis": {"bounds": ([0, 2], [0, 3], [1, 1]), "ellipsis_mask": 1, "shrink_axis_mask": 2},
    "a new axis": {"bounds": ([0, 0, 1], [0, 0, 3], [1, 1, 1]), "begin_mask": 1, "end_mask": 1, "new_axis_mask": 2},
    "an ellipsis in the middle": {"bounds": ([0, 0, 1], [1, 0, 4], [1, 1, 1]), "ellipsis_mask": 2},
}
for _name, _spec in _SLICES.items():
    BUILDERS[f"StridedSlice, {_name}"] = lambda s=_spec: one(
        "StridedSlice",
        normal(2, 6, 7),
        *(ints(*part) for part in s["bounds"]),
        **{key: value for key, value in s.items() if key != "bounds"},
        Index=I32,
    )
for _mode in ("REFLECT", "SYMMETRIC"):
    for _first in (False, True):
        BUILDERS[f"MirrorPad {_mode}{' of channels first' if _first else ''}"] = lambda m=_mode, f=_first: one(
            "MirrorPad", PICTURE, np.array([[0, 0], [1, 2], [2, 0], [0, 1]], np.int32), first=f, mode=m, Tpaddings=I32
        )
for _first in (False, True):
    BUILDERS[f"Pad{' of channels first' if _first else ''}"] = lambda f=_first: one(
        "Pad", PICTURE, np.array([[0, 1], [1, 2], [2, 0], [0, 1]], np.int32), first=f, Tpaddings=I32
    )
    BUILDERS[f"PadV2{' of channels first' if _first else ''}"] = lambda f=_first: one(
        "PadV2", PICTURE, np.array([[0, 0], [1, 2], [2, 0], [0, 1]], np.int32), np.float32(-3), first=f, Tpaddings=I32
    )


@network("Slice")
def _() -> Network:
    return one("Slice", PICTURE, ints(0, 1, 2, 0), ints(-1, 4, -1, 2), first=True, Index=I32)


@network("Reshape by a computed shape")
def _() -> Network:
    graph = Frozen()
    graph.input("x", PICTURE, (-1, 7, 5, 3))
    graph.node("p", "Relu", "x", T=T)
    graph.node("s", "Shape", "p", T=T)
    graph.node("n", "StridedSlice", "s", ints(0), ints(1), ints(1), shrink_axis_mask=1, T=I32, Index=I32)
    graph.node("d", "Pack", "n", lone(-1), N=2, T=I32, axis=0)
    graph.node("y", "Reshape", "p", "d", T=T, Tshape=I32)
    return graph, ["y", "s"]


@network("the shape of channels first")
def _() -> Network:
    return one("Shape", PICTURE, first=True)


@network("Rank and Size")
def _() -> Network:
    graph, _ = one("Rank", PICTURE, first=True)
    graph.node("z", "Size", "x", T=T)
    return graph, ["y", "z"]


@network("DepthToSpace")
def _() -> Network:
    return one("DepthToSpace", normal(2, 3, 4, 12), block_size=2)


@network("SpaceToDepth")
def _() -> Network:
    return one("SpaceToDepth", normal(2, 4, 6, 3), block_size=2)


@network("SpaceToBatchND")
def _() -> Network:
    pads = np.array([[1, 1], [0, 1]], np.int32)
    return one("SpaceToBatchND", PICTURE, ints(3, 2), pads, Tblock_shape=I32, Tpaddings=I32)


@network("BatchToSpaceND")
def _() -> Network:
    crops = np.array([[1, 0], [0, 2]], np.int32)
    return one("BatchToSpaceND", normal(12, 3, 4, 2), ints(2, 3), crops, opened=False, Tblock_shape=I32, Tcrops=I32)


@network("Tile")
def _() -> Network:
    return one("Tile", PICTURE, ints(1, 2, 1, 3), first=True, Tmultiples=I32)


@network("ReverseV2")
def _() -> Network:
    return one("ReverseV2", PICTURE, ints(1, -1), Tidx=I32)


@network("BroadcastTo")
def _() -> Network:
    return one("BroadcastTo", normal(2, 1, 3), ints(4, 2, 5, 3), opened=False, Tidx=I32)


# -- products and picks ------------------------------------------------------------------------------------------------

for _a in (False, True):
    for _b in (False, True):
        BUILDERS[f"MatMul {_a} {_b}"] = lambda a=_a, b=_b: one(
            "MatMul", normal(*((4, 3) if a else (3, 4))), normal(*((5, 4) if b else (4, 5)), seed=1),
            transpose_a=a, transpose_b=b, opened=not a,
        )  # fmt: skip
        BUILDERS[f"BatchMatMulV2 {_a} {_b}"] = lambda a=_a, b=_b: two(
            "BatchMatMulV2", normal(2, 1, *((4, 3) if a else (3, 4))), normal(6, *((5, 4) if b else (4, 5)), seed=1),
            adj_x=a, adj_y=b,
        )  # fmt: skip


@network("Einsum")
def _() -> Network:
    graph = Frozen()
    graph.input("a", normal(2, 3, 4))
    graph.node("y", "Einsum", "a", normal(4, 5, seed=1), equation="bij,jk->bik", N=2, T=T)
    return graph, ["y"]


@network("Gather")
def _() -> Network:
    return one("Gather", normal(5, 3), np.array([[0, 4], [2, 2]], np.int32), T=None, Tparams=T, Tindices=I32)


@network("GatherV2")
def _() -> Network:
    kinds = {"Tparams": T, "Tindices": I32, "Taxis": I32}
    return one("GatherV2", PICTURE, ints(0, 2, 1, 1), lone(-1), first=True, T=None, **kinds)


@network("GatherV2 with a batch")
def _() -> Network:
    kinds = {"Tparams": T, "Tindices": I32, "Taxis": I32, "batch_dims": 1}
    return one("GatherV2", normal(2, 5, 3), np.array([[0, 4], [2, 2]], np.int32), lone(1), T=None, **kinds)


@network("GatherNd")
def _() -> Network:
    return one("GatherNd", normal(3, 4, 5), np.array([[0, 1], [2, 3]], np.int32), T=None, Tparams=T, Tindices=I32)


@network("ScatterNd")
def _() -> Network:
    graph = Frozen()
    graph.input("u", normal(3, 2))
    graph.node("y", "ScatterNd", np.array([[0], [3], [0]], np.int32), "u", ints(5, 2), T=T, Tindices=I32)
    return graph, ["y"]


@network("OneHot")
def _() -> Network:
    values = [lone(4), np.float32(2), np.float32(-1)]
    return one("OneHot", np.array([[0, 3, -1], [2, 7, 1]], np.int32), *values, T=T, TI=I32, axis=1, opened=False)


@network("TopKV2")
def _() -> Network:
    graph, _ = one("TopKV2", normal(3, 9), lone(4), sorted=True)
    return graph, ["y", "y:1"]


@network("Cumsum")
def _() -> Network:
    return one("Cumsum", normal(3, 5), lone(1), exclusive=True, reverse=True, Tidx=I32)


@network("Select of rows")
def _() -> Network:
    graph = Frozen()
    graph.input("a", normal(3, 4))
    graph.node("y", "Select", np.array([True, False, True]), "a", normal(3, 4, seed=1), T=T)
    return graph, ["y"]


@network("SelectV2 broadcasts")
def _() -> Network:
    graph = Frozen()
    graph.input("a", normal(3, 4))
    graph.node("y", "SelectV2", np.array([True, False, True, False]), "a", np.float32(7), T=T)
    return graph, ["y"]


@network("Where, Greater and LogicalAnd")
def _() -> Network:
    graph = Frozen()
    graph.input("a", normal(3, 4))
    graph.node("g", "Greater", "a", np.float32(-1), T=T)
    graph.node("l", "Less", "a", np.float32(1), T=T)
    graph.node("n", "LogicalAnd", "g", "l")
    graph.node("y", "Where", "n", T=Type(BOOL))
    graph.node("z", "All", "n", ints(1), keep_dims=True, Tidx=I32)
    graph.node("w", "Any", "n", ints(0), keep_dims=False, Tidx=I32)
    return graph, ["y", "z", "w"]


@network("Fill, Range and Pow")
def _() -> Network:
    graph = Frozen()
    graph.input("a", positive(3, 4), (-1, 4))
    graph.node("s", "Shape", "a", T=T)
    graph.node("f", "Fill", "s", np.float32(2), T=T, index_type=I32)
    graph.node("r", "Range", lone(0), lone(4), lone(1), Tidx=I32)
    graph.node("c", "Cast", "r", SrcT=I32, DstT=T)
    graph.node("p", "Pow", "a", "c", T=T)
    graph.node("y", "Mul", "p", "f", T=T)
    return graph, ["y", "f"]


@network("Cast of pixels")
def _() -> Network:
    value = rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    return one("Cast", value, T=None, SrcT=Type(UINT8), DstT=T)


@network("Cast down to integers")
def _() -> Network:
    return one("Cast", normal(3, 4) * 5, T=None, SrcT=T, DstT=I32)


@network("numbers of double precision")
def _() -> Network:
    return one("MatMul", normal(3, 4).astype(np.float64), normal(4, 2, seed=1).astype(np.float64), T=Type(DOUBLE))


@network("FakeQuantWithMinMaxVars")
def _() -> Network:
    return one("FakeQuantWithMinMaxVars", normal(3, 40), np.float32(-1.3), np.float32(2.1), T=None, num_bits=8)


@network("FakeQuantWithMinMaxVars in a narrow range")
def _() -> Network:
    bounds = [np.float32(-1.3), np.float32(2.1)]
    return one("FakeQuantWithMinMaxVars", normal(3, 40), *bounds, T=None, num_bits=4, narrow_range=True)


@network("LeakyRelu")
def _() -> Network:
    return one("LeakyRelu", PICTURE, first=True, alpha=0.3)


@network("ClipByValue")
def _() -> Network:
    return one("ClipByValue", PICTURE, np.float32(-0.5), np.float32(0.25), first=True)


@network("AddN")
def _() -> Network:
    return one("AddN", PICTURE, normal(1, 7, 5, 3, seed=1).repeat(2, 0), PICTURE, N=3, opened=False)


@network("MatrixBandPart")
def _() -> Network:
    return one("MatrixBandPart", normal(2, 4, 5), np.int64(1), np.int64(-1), Tindex=I64)


# -- pictures ----------------------------------------------------------------------------------------------------------

for _op in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic"):
    for _kind in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
        for _target in ((14, 10), (5, 9), (4, 3), (13, 20), (1, 1)):
            if _op == "ResizeBicubic" and (_target != (14, 10) or "align_corners" in _kind):
                continue  # TensorFlow rounds its weights to 1/1024: only what falls on them is equal
            BUILDERS[f"{_op} to {_target} {' '.join(_kind)}"] = lambda o=_op, k=_kind, t=_target: one(
                o, PICTURE, ints(*t), **k
            )


@network("NonMaxSuppressionV3")
def _() -> Network:
    random = rng(1)
    corner = random.random((12, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + 0.3], 1)
    graph = Frozen()
    graph.input("b", boxes)
    graph.input("s", random.random(12).astype(np.float32))
    limits = [lone(5), np.float32(0.4), np.float32(0.2)]
    graph.node("y", "NonMaxSuppressionV3", "b", "s", *limits, T=T, T_threshold=T)
    return graph, ["y"]


for _version in ("", "V2", "V4", "V5"):
    BUILDERS[f"NonMaxSuppression{_version}"] = lambda v=_version: _suppressed(v)


def _suppressed(version: str) -> Network:
    random = rng(1)
    corner = random.random((12, 2)).astype(np.float32)
    graph = Frozen()
    graph.input("b", np.concatenate([corner, corner + 0.3], 1).astype(np.float32))
    graph.input("s", random.random(12).astype(np.float32))
    if not version:
        graph.node("y", "NonMaxSuppression", "b", "s", lone(5), iou_threshold=0.4)
        return graph, ["y"]
    limits = [lone(5), np.float32(0.4), np.float32(0.2), np.float32(0)][
        : 2 if version == "V2" else 3 + (version == "V5")
    ]
    more = {} if version == "V5" else {"T_threshold": T}
    graph.node("y", f"NonMaxSuppression{version}", "b", "s", *limits, T=T, **more)
    return graph, {"V2": ["y"], "V4": ["y", "y:1"], "V5": ["y", "y:1", "y:2"]}[version]


# -- what the optimiser of graphs writes -------------------------------------------------------------------------------

for _steps in (["BiasAdd"], ["BiasAdd", "Relu"], ["BiasAdd", "Relu6"], ["BiasAdd", "Elu"], ["BiasAdd", "LeakyRelu"]):
    BUILDERS[f"_FusedConv2D with {' and '.join(_steps)}"] = lambda s=_steps: one(
        "_FusedConv2D", PICTURE, normal(3, 3, 3, 4, seed=1), normal(4, seed=2), **STRIDES, padding="SAME",
        fused_ops=s, num_args=1, TArgs=[T], epsilon=0.001, leakyrelu_alpha=0.3,
    )  # fmt: skip
BUILDERS["_FusedConv2D with a normalisation"] = lambda: one(
    "_FusedConv2D", PICTURE, normal(3, 3, 3, 4, seed=1), positive(4), normal(4, seed=2), normal(4, seed=3),
    positive(4, seed=4), **ONES, padding="VALID", fused_ops=["FusedBatchNorm", "Relu"], num_args=4, TArgs=[T] * 4,
    epsilon=0.01,
)  # fmt: skip
BUILDERS["_FusedDepthwiseConv2dNative"] = lambda: one(
    "_FusedDepthwiseConv2dNative", PICTURE, normal(3, 3, 3, 2, seed=1), normal(6, seed=2), **ONES, padding="SAME",
    fused_ops=["BiasAdd", "Relu6"], num_args=1,
)  # fmt: skip
BUILDERS["_FusedMatMul"] = lambda: one(
    "_FusedMatMul", normal(3, 4), normal(4, 5, seed=1), normal(5, seed=2), fused_ops=["BiasAdd", "Relu"], num_args=1,
    transpose_a=False, transpose_b=False, epsilon=0.0,
)  # fmt: skip


# -- old and odd -------------------------------------------------------------------------------------------------------


@network("a network as of 2015")
def inception_2015() -> Network:
    """The vocabulary of Inception: BatchNormWithGlobalNormalization, Concat with its axis first, LRN, poolings."""
    graph = Frozen()
    graph.input("x", normal(1, 16, 16, 3))
    graph.node("s", "Sub", "x", np.float32(0.5), T=T)
    graph.node("c", "Conv2D", "s", normal(3, 3, 3, 8, seed=1), strides=[1, 2, 2, 1], padding="VALID", T=T)
    for name, scaled in (("n", True), ("m", False)):
        values = [normal(8, seed=2), positive(8, seed=3), normal(8, seed=4), positive(8, seed=5)]
        more = {"variance_epsilon": 0.001, "scale_after_normalization": scaled}
        graph.node(name, "BatchNormWithGlobalNormalization", "c" if scaled else "n", *values, T=T, **more)
    graph.node("k", "CheckNumerics", "m", T=T, message="bad")
    graph.node("r", "Relu", "k", T=T)
    graph.node("l", "LRN", "r", depth_radius=2, bias=1.0, alpha=0.01, beta=0.5, T=T)
    graph.node("p", "MaxPool", "l", ksize=[1, 3, 3, 1], strides=[1, 1, 1, 1], padding="SAME", T=T)
    graph.node("a", "AvgPool", "l", ksize=[1, 3, 3, 1], strides=[1, 1, 1, 1], padding="SAME", T=T)
    graph.node("j", "Concat", lone(3), "p", "a", "r", N=3, T=T)
    graph.node("g", "AvgPool", "j", ksize=[1, 7, 7, 1], strides=[1, 1, 1, 1], padding="VALID", T=T)
    graph.node("f", "Reshape", "g", ints(1, 24), T=T, Tshape=I32)
    graph.node("d", "MatMul", "f", normal(24, 5, seed=6), T=T)
    graph.node("b", "BiasAdd", "d", normal(5, seed=7), T=T)
    graph.node("softmax", "Softmax", "b", T=T)
    return graph, ["softmax", "j"]


@network("channels first all along")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 3, 9, 7), (-1, 3, 9, 7))
    first = {"data_format": "NCHW", "T": T}
    graph.node("t", "Transpose", "x", ints(0, 2, 3, 1), T=T, Tperm=I32)
    graph.node("c", "Conv2D", "t", normal(3, 3, 3, 4, seed=1), **STRIDES, padding="SAME", T=T)
    graph.node("u", "Transpose", "c", ints(0, 3, 1, 2), T=T, Tperm=I32)
    graph.node("y", "BiasAdd", "u", normal(4, seed=2), **first)
    return graph, ["y"]


@network("a branch that is decided")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 4))
    graph.node("s", "Switch", "x", np.array(False), T=T)
    graph.node("a", "Mul", "s", np.float32(3), T=T)
    graph.node("b", "Exp", "s:1", T=T)
    graph.node("y", "Merge", "a", "b", N=2, T=T)
    return graph, ["y"]


@network("a loop of five steps")
def loop() -> Network:
    """x = tanh(x * w) five times, counting."""
    graph = Frozen()
    graph.input("x", normal(2, 4), (-1, 4))
    frame = {"frame_name": "loop", "T": T}
    graph.node("ei", "Enter", lone(0), frame_name="loop", T=I32)
    graph.node("ex", "Enter", "x", **frame)
    graph.node("ew", "Enter", normal(4, 4, seed=1), **frame, is_constant=True)
    graph.node("en", "Enter", lone(5), frame_name="loop", T=I32, is_constant=True)
    graph.node("mi", "Merge", "ei", "ni", N=2, T=I32)
    graph.node("mx", "Merge", "ex", "nx", N=2, T=T)
    graph.node("l", "Less", "mi", "en", T=I32)
    graph.node("c", "LoopCond", "l")
    graph.node("si", "Switch", "mi", "c", T=I32)
    graph.node("sx", "Switch", "mx", "c", T=T)
    graph.constant("one", lone(1))
    graph.nodes[-1].input.append("^si")
    graph.node("ai", "Add", "si:1", "one", T=I32)
    graph.node("d", "MatMul", "sx:1", "ew", T=T)
    graph.node("ax", "Tanh", "d", T=T)
    graph.node("ni", "NextIteration", "ai", T=I32)
    graph.node("nx", "NextIteration", "ax", T=T)
    graph.node("y", "Exit", "sx", T=T)
    return graph, ["y"]


@network("a recurrent layer over an array of tensors")
def recurrent() -> Network:
    """h = tanh(concat(x_t, h) * w) for each step t, as tf.nn.dynamic_rnn writes it; all of them, and the last."""
    graph = Frozen()
    graph.input("x", normal(2, 6, 3), (-1, 6, 3))
    graph.node("t", "Transpose", "x", ints(1, 0, 2), T=T, Tperm=I32)
    graph.node("s", "Shape", "t", T=T)
    index = {"shrink_axis_mask": 1, "T": I32, "Index": I32}
    graph.node("steps", "StridedSlice", "s", ints(0), ints(1), ints(1), **index)
    graph.node("batch", "StridedSlice", "s", ints(1), ints(2), ints(1), **index)
    graph.node("zs", "Pack", "batch", lone(4), N=2, T=I32, axis=0)
    graph.node("zero", "Fill", "zs", np.float32(0), T=T, index_type=I32)
    graph.node("all", "Range", lone(0), "steps", lone(1), Tidx=I32)
    for name in ("in", "out"):
        graph.node(name, "TensorArrayV3", "steps", dtype=T, tensor_array_name=name, clear_after_read=True)
    graph.node("filled", "TensorArrayScatterV3", "in", "all", "t", "in:1", T=T)
    frame = {"frame_name": "rnn/while"}
    graph.node("ei", "Enter", lone(0), **frame, T=I32)
    graph.node("eh", "Enter", "zero", **frame, T=T)
    graph.node("eo", "Enter", "out:1", **frame, T=T)
    fixed = {**frame, "is_constant": True}
    graph.node("en", "Enter", "steps", **fixed, T=I32)
    graph.node("ein", "Enter", "in", **fixed, T=Type(20))
    graph.node("efl", "Enter", "filled", **fixed, T=T)
    graph.node("eout", "Enter", "out", **fixed, T=Type(20))
    graph.node("ew", "Enter", normal(7, 4, seed=1), **fixed, T=T)
    for name, kind in (("i", I32), ("h", T), ("o", T)):
        graph.node(f"m{name}", "Merge", f"e{name}", f"n{name}", N=2, T=kind)
    graph.node("l", "Less", "mi", "en", T=I32)
    graph.node("c", "LoopCond", "l")
    for name, kind in (("i", I32), ("h", T), ("o", T)):
        graph.node(f"s{name}", "Switch", f"m{name}", "c", T=kind)
    graph.constant("one", lone(1))
    graph.nodes[-1].input.append("^si")
    graph.constant("axis", lone(1))
    graph.nodes[-1].input.append("^si")
    graph.node("next", "Add", "si:1", "one", T=I32)
    graph.node("read", "TensorArrayReadV3", "ein", "si:1", "efl", dtype=T)
    graph.node("both", "ConcatV2", "read", "sh:1", "axis", N=2, T=T, Tidx=I32)
    graph.node("product", "MatMul", "both", "ew", T=T)
    graph.node("h", "Tanh", "product", T=T)
    graph.node("written", "TensorArrayWriteV3", "eout", "si:1", "h", "so:1", T=T)
    graph.node("ni", "NextIteration", "next", T=I32)
    graph.node("nh", "NextIteration", "h", T=T)
    graph.node("no", "NextIteration", "written", T=T)
    graph.node("last", "Exit", "sh", T=T)
    graph.node("flow", "Exit", "so", T=T)
    graph.node("size", "TensorArraySizeV3", "out", "flow")
    graph.node("places", "Range", lone(0), "size", lone(1), Tidx=I32)
    graph.node("every", "TensorArrayGatherV3", "out", "places", "flow", dtype=T)
    graph.node("y", "Transpose", "every", ints(1, 0, 2), T=T, Tperm=I32)
    return graph, ["y", "last"]


@network("odds and ends")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 4), (-1, 4))
    last = "x"
    for op in ("Identity", "StopGradient", "PreventGradient", "Snapshot", "DeepCopy"):
        last = graph.node(op, op, last, T=T)
    graph.node("e", "EnsureShape", last, shape=(-1, 4), T=T)
    graph.node("n", "IsNan", "e", T=T)
    graph.node("i", "IsInf", "e", T=T)
    graph.node("o", "LogicalOr", "n", "i")
    graph.node("z", "LogicalNot", "o")
    graph.node("b", "Bitcast", "e", T=T, type=T)
    graph.node("w", "LinSpace", np.float32(1), np.float32(3), lone(4), T=T, Tidx=I32)
    graph.node("y", "Mul", "b", "w", T=T)
    graph.node("q", "FakeQuantWithMinMaxArgs", "y", min=-2.0, max=2.5)
    graph.node("norm", "EuclideanNorm", "y", ints(1), T=T, Tidx=I32, keep_dims=False)
    graph.node("p", "Pow", "y", np.float32(2), T=T)
    graph.node("s", "SparseMatMul", "y", normal(4, 3), transpose_a=False, transpose_b=False, Ta=T, Tb=T)
    return graph, ["y", "z", "q", "norm", "p", "s"]


@network("indices")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(4, 3))
    graph.input("u", normal(2, 3, seed=1))
    where = np.array([[1], [3]], np.int32)
    kinds = {"T": T, "Tindices": I32}
    graph.node("y", "TensorScatterUpdate", "x", where, "u", **kinds)
    graph.node("z", "TensorScatterAdd", "x", where, "u", **kinds)
    graph.input("k", ints(3, 1, 3, 2, 1))
    graph.node("w", "Unique", "k", T=I32, out_idx=I32)
    graph.node("v", "InvertPermutation", ints(2, 0, 1), T=I32)
    graph.node("t", "Transpose", "x", ints(1, 0), T=T, Tperm=I32)
    graph.node("s", "ShapeN", "x", "t", N=2, T=T)
    graph.node("m", "BatchMatMul", "x", "t", T=T)
    return graph, ["y", "z", "w", "w:1", "v", "s", "s:1", "m"]


@network("truths")
def _() -> Network:
    graph = Frozen()
    graph.input("a", np.array([True, True, False]))
    graph.input("b", np.array([True, False, False]))
    graph.node("y", "LogicalOr", "a", "b")
    graph.node("n", "NotEqual", "a", "b", T=Type(BOOL))
    graph.node("i", "IdentityN", "a", "y", T=[Type(BOOL), Type(BOOL)])
    return graph, ["y", "n", "i:1"]


@network("volumes")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 5, 6, 7, 3))
    ways = {"strides": [1, 1, 2, 2, 1], "padding": "SAME", "T": T}
    graph.node("m", "MaxPool3D", "x", ksize=[1, 2, 3, 3, 1], **ways)
    graph.node("a", "AvgPool3D", "x", ksize=[1, 2, 3, 3, 1], **ways)
    graph.node(
        "t", "Conv3DBackpropInputV2", ints(2, 5, 6, 8, 4), normal(2, 3, 3, 4, 3, seed=1), "m", **ways, Tshape=I32
    )
    return graph, ["m", "a", "t"]


@network("old names")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 8, 8, 3))
    graph.node("p", "MaxPoolV2", "x", ints(1, 3, 3, 1), ints(1, 2, 2, 1), padding="SAME", T=T)
    pads = np.array([[1, 1], [1, 1]], np.int32)
    graph.node("s", "SpaceToBatch", "x", pads, block_size=2, T=T, Tpaddings=I32)
    graph.node("b", "BatchToSpace", "s", pads, block_size=2, T=T, Tidx=I32)
    graph.node("v", "BiasAddV1", "p", normal(3, seed=1), T=T)
    values = [positive(3), normal(3, seed=1), normal(3, seed=2), positive(3, seed=3)]
    graph.node("n", "FusedBatchNormV2", "v", *values, is_training=False, T=T, U=T)
    graph.node("m", "Mod", ints(7, -7), ints(3, 3), T=I32)
    return graph, ["p", "b", "v", "n", "m"]


@network("a recurrent layer of TensorFlow 2")
def recurrent_2() -> Network:
    """h = tanh(x_t * w + h) in a While whose body is a function, over lists of tensors; inside a call."""
    variant, boolean = Type(21), Type(BOOL)
    state = [("i", I32), ("h", T), ("o", variant), ("x", variant), ("n", I32)]
    condition, body, call, graph = Frozen(), Frozen(), Frozen(), Frozen()
    condition.node("less", "Less", "i", "n", T=I32)
    graph.function("rnn_cond", state, [("less:z:0", boolean)], condition)
    body.constant("one", lone(1))
    body.constant("shape", ints(-1, 4))
    body.constant("w", normal(4, 4, seed=1))
    body.node("next", "AddV2", "i", "one:output:0", T=I32)
    body.node("item", "TensorListGetItem", "x", "i", "shape:output:0", element_dtype=T)
    body.node("product", "MatMul", "item:item:0", "w:output:0", T=T)
    body.node("sum", "AddV2", "product:product:0", "h", T=T)
    body.node("tanh", "Tanh", "sum:z:0", T=T)
    body.node("set", "TensorListSetItem", "o", "i", "tanh:y:0", element_dtype=T)
    body.node("same", "Identity", "x", T=variant)
    body.node("steps", "Identity", "n", T=I32)
    kinds = [kind for _, kind in state]
    results = ["next:z:0", "tanh:y:0", "set:output_handle:0", "same:output:0", "steps:output:0"]
    graph.function("rnn_body", state, list(zip(results, kinds, strict=True)), body)
    call.constant("perm", ints(1, 0, 2))
    call.constant("zero", lone(0))
    call.constant("six", lone(6))
    call.constant("sizes", ints(-1, 4))
    call.constant("start", np.zeros((2, 4), np.float32))
    call.node("t", "Transpose", "v", "perm:output:0", T=T, Tperm=I32)
    lists = {"element_dtype": T, "shape_type": I32}
    call.node("in", "TensorListFromTensor", "t:y:0", "sizes:output:0", **lists)
    call.node("out", "TensorListReserve", "sizes:output:0", "six:output:0", **lists)
    call.node("length", "TensorListLength", "in:output_handle:0")
    initial = ["zero:output:0", "start:output:0", "out:handle:0", "in:output_handle:0", "length:length:0"]
    functions = {"cond": Function("rnn_cond"), "body": Function("rnn_body")}
    call.node("loop", "StatelessWhile", *initial, T=kinds, **functions)
    call.node("all", "TensorListStack", "loop:output:2", "sizes:output:0", element_dtype=T, num_elements=-1)
    call.node("top", "TopKV2", "loop:output:1", "two:output:0", T=T, sorted=True)
    call.constant("two", lone(2))
    gives = [("all:tensor:0", T), ("top:values:0", T), ("top:indices:0", I32)]
    graph.function("rnn", [("v", T)], gives, call)
    graph.input("x", normal(2, 6, 4))
    graph.node("c", "PartitionedCall", "x", Tin=[T], Tout=[T, T, I32], f=Function("rnn"))
    graph.node("y", "Transpose", "c", ints(1, 0, 2), T=T, Tperm=I32)
    graph.node("z", "Neg", "c:1", T=T)
    graph.node("p", "Neg", "c:2", T=I32)
    return graph, ["y", "z", "p"]


@network("a branch of TensorFlow 2")
def _() -> Network:
    graph = Frozen()
    for name, op in (("then", "Neg"), ("other", "Exp")):
        branch = Frozen()
        branch.node("r", op, "v", T=T)
        graph.function(name, [("v", T)], [("r:y:0", T)], branch)
    graph.input("x", normal(2, 4))
    functions = {"then_branch": Function("then"), "else_branch": Function("other")}
    graph.node("y", "StatelessIf", np.array(False), "x", Tcond=Type(BOOL), Tin=[T], Tout=[T], **functions)
    return graph, ["y"]


for _peeps in (False, True):
    BUILDERS[f"LSTMBlockCell{' with peepholes' if _peeps else ''}"] = lambda p=_peeps: _cell("LSTMBlockCell", p)
    BUILDERS[f"BlockLSTM{' with peepholes' if _peeps else ''}"] = lambda p=_peeps: _cell("BlockLSTM", p)
    BUILDERS[f"BlockLSTMV2{' with peepholes' if _peeps else ''}"] = lambda p=_peeps: _cell("BlockLSTMV2", p)


def _cell(op: str, peeps: bool) -> Network:
    graph = Frozen()
    whole = op != "LSTMBlockCell"
    graph.input("x", normal(5, 2, 3) if whole else normal(2, 3))
    graph.input("c", normal(2, 4, seed=1))
    graph.input("h", normal(2, 4, seed=2))
    weights = [normal(7, 16, seed=3), *(normal(4, seed=seed) for seed in (4, 5, 6)), normal(16, seed=7)]
    first = [np.int64(5)] if whole else []
    ways = {"use_peephole": peeps, "cell_clip": 0.8, **({} if op == "BlockLSTMV2" else {"forget_bias": 0.5})}
    graph.node("y", op, *first, "x", "c", "h", *weights, T=T, **ways)
    return graph, [f"y:{index}" if index else "y" for index in range(7)]


@network("GRUBlockCell")
def _() -> Network:
    graph = Frozen()
    graph.input("x", normal(2, 3))
    graph.input("h", normal(2, 4, seed=1))
    weights = [normal(7, 8, seed=2), normal(7, 4, seed=3), normal(8, seed=4), normal(4, seed=5)]
    graph.node("y", "GRUBlockCell", "x", "h", *weights, T=T)
    return graph, ["y", "y:1", "y:2", "y:3"]


@network("ReverseSequence")
def _() -> Network:
    return one("ReverseSequence", normal(3, 5, 2), ints(2, 5, 1), seq_dim=1, batch_dim=0, Tlen=I32, opened=False)


@network("Roll")
def _() -> Network:
    return one("Roll", normal(3, 5), ints(2, -1), ints(1, 0), opened=False, Tshift=I32, Taxis=I32)


@network("CheckNumericsV2")
def _() -> Network:
    return one("CheckNumericsV2", PICTURE, first=True, message="bad")
