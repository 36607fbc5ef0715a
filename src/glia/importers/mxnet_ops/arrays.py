"""Operators on arrays: arithmetic, shapes, reductions, choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.mxnet_ops.files import Node
from glia.importers.mxnet_ops.rules import Build, rule
from glia.importers.sizes import Dim
from glia.importers.windows import MAX_WINDOW

_UNARY = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs",
    "negative": "Neg", "floor": "Floor", "ceil": "Ceil", "sin": "Sin", "cos": "Cos", "erf": "Erf", "sign": "Sign",
    "reciprocal": "Reciprocal", "softsign": "Softsign", "_npi_relu": "Relu",
}  # fmt: skip


@rule(*_UNARY)
def unary(build: Build, node: Node) -> str:
    """Operators that ONNX has by another name."""
    return build.node(_UNARY[node.op], [build.input()])


@rule("square", "rsqrt", "hard_sigmoid", "clip")
def unary_made(build: Build, node: Node) -> str:
    """Operators that take two of ONNX's, or parameters."""
    x = build.input()
    if node.op == "square":
        return build.node("Mul", [x, x])
    if node.op == "rsqrt":
        return build.node("Reciprocal", [build.graph.node("Sqrt", [x])])
    if node.op == "hard_sigmoid":
        return build.node("HardSigmoid", [x], alpha=node.number("alpha", 0.2), beta=node.number("beta", 0.5))
    return build.node("Clip", [x, build.scalar(node.number("a_min", 0)), build.scalar(node.number("a_max", 0))])


_BINARY = {
    "Add": ("elemwise_add", "_plus", "_Plus", "_add", "broadcast_add", "broadcast_plus", "_grad_add"),
    "Sub": ("elemwise_sub", "_minus", "_Minus", "_sub", "broadcast_sub", "broadcast_minus"),
    "Mul": ("elemwise_mul", "_mul", "_Mul", "broadcast_mul"),
    "Div": ("elemwise_div", "_div", "_Div", "broadcast_div"),
    "Max": ("_maximum", "_Maximum", "broadcast_maximum"),
    "Min": ("_minimum", "_Minimum", "broadcast_minimum"),
    "Pow": ("_power", "_Power", "broadcast_power"),
}
_BINARY_OPS = {name: op for op, names in _BINARY.items() for name in names}


@rule(*_BINARY_OPS)
def binary(build: Build, node: Node) -> str:
    """Two tensors, number by number."""
    return build.node(_BINARY_OPS[node.op], [build.input(0), build.input(1)])


@rule("add_n", "ElementWiseSum", "_sum")
def add_all(build: Build, node: Node) -> str:
    """The sum of several."""
    result = build.input()
    for other in build.tensors[1:]:
        result = build.node("Add", [result, other])
    return result


_SCALAR = {
    "plus": "Add",
    "minus": "Sub",
    "mul": "Mul",
    "div": "Div",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
}
_SCALAR_OPS: Mapping[str, tuple[str, bool]] = {
    f"_{'r' * turned}{name}_scalar": (op, turned)
    for name, op in _SCALAR.items()
    for turned in (False, True)
    if not turned or name in ("minus", "div", "power")
} | {f"_{name.title()}Scalar": (op, False) for name, op in _SCALAR.items()} | {
    f"_R{name.title()}Scalar": (_SCALAR[name], True) for name in ("minus", "div", "power")
}  # fmt: skip


@rule(*_SCALAR_OPS)
def with_scalar(build: Build, node: Node) -> str:
    """A tensor and a number, in one order or the other."""
    op, turned = _SCALAR_OPS[node.op]
    pair = [build.input(), build.scalar(node.number("scalar", 0))]
    return build.node(op, pair[::-1] if turned else pair)


@rule("Flatten", "flatten", "batch_flatten")
def flatten(build: Build, node: Node) -> str:
    """Everything behind the first axis as one."""
    return build.node("Flatten", [build.input()], axis=1)


@rule("Concat", "concat")
def concat(build: Build, node: Node) -> str:
    """Joined along an axis."""
    axis = build.axis(node.integer("dim", 1), build.graph.rank(build.input()))
    return build.node("Concat", build.tensors, axis=axis)


@rule("stack")
def stack(build: Build, node: Node) -> str:
    """Joined along an axis of their own."""
    axis = build.graph.ints("axes", [build.axis(node.integer("axis", 0), build.graph.rank(build.input()) + 1)])
    parts = [build.graph.node("Unsqueeze", [tensor, axis]) for tensor in build.tensors]
    return build.node("Concat", parts, axis=node.integer("axis", 0))


@rule("Reshape", "reshape")
def reshape(build: Build, node: Node) -> str:
    """Sizes anew: 0 copies, -1 follows, -2 copies all that are left, -3 joins two, -4 splits one."""
    x, sizes = build.input(), node.integers("shape")
    if not sizes or node.flag("reverse") or len(sizes) > 32:
        raise unsupported("a reshape from the end, or without sizes")
    old, new, at = build.graph.shape(x), list[Dim](), 0
    places = iter(sizes)
    for size in places:
        if size > 0:
            new.append(size)
            at += 1
        elif size == -1:
            new.append(-1)
            at += 1
        elif size == -2:
            new += old[at:]
            at = len(old)
        elif at + (size == -3) >= len(old):
            raise ImportFailed(f"it gives {len(old)} axes the sizes {sizes}, which cannot be")
        elif size == 0:
            new.append(old[at])
            at += 1
        elif size == -3:
            a, b = old[at : at + 2]
            new.append(a * b if isinstance(a, int) and isinstance(b, int) else None)
            at += 2
        else:
            new += [next(places, -1), next(places, -1)]
            at += 1
    return to_shape(build, x, new)


def to_shape(build: Build, x: str, new: Sequence[Dim]) -> str:
    """To sizes of which some are those of x: an open one is copied where it stands at its own place."""
    old, sizes = build.graph.shape(x), []
    for at, size in enumerate(new):
        same = at < len(old) and isinstance(size, str) and old[at] == size
        sizes.append(0 if same else size if isinstance(size, int) else -1)
    if sizes.count(-1) > 1:
        raise ImportFailed("several of its sizes are open. Give the option input_size")
    return build.graph.reshape(x, sizes, build.hint("Reshape"))


@rule("transpose")
def transpose(build: Build, node: Node) -> str:
    """The axes in another order; turned about if none is given."""
    rank = build.graph.rank(build.input())
    axes = [build.axis(axis, rank) for axis in node.integers("axes")] or list(range(rank))[::-1]
    if sorted(axes) != list(range(rank)):
        raise ImportFailed(f"it orders {rank} axes as {axes[:20]}")
    return build.graph.transpose(build.input(), axes, build.hint("Transpose"))


@rule("SwapAxis", "swapaxes")
def swap(build: Build, node: Node) -> str:
    """Two axes, each in the other's place."""
    rank = build.graph.rank(build.input())
    order = list(range(rank))
    a, b = (build.axis(node.integer(key, 0), rank) for key in ("dim1", "dim2"))
    order[a], order[b] = order[b], order[a]
    return build.graph.transpose(build.input(), order, build.hint("Transpose"))


@rule("expand_dims", "squeeze")
def axes_of_one(build: Build, node: Node) -> str:
    """Axes of size 1, put in or taken out."""
    x, rank = build.input(), build.graph.rank(build.input())
    if node.op == "expand_dims":
        axes = [build.axis(node.integer("axis", 0), rank + 1)]
        return build.node("Unsqueeze", [x, build.graph.ints("axes", axes)])
    axes = [build.axis(axis, rank) for axis in node.integers("axis")]
    axes = axes or [at for at, size in enumerate(build.graph.shape(x)) if size == 1]
    return build.node("Squeeze", [x, build.graph.ints("axes", axes)]) if axes else x


@rule("slice_axis", "slice", "crop")
def slice_(build: Build, node: Node) -> str:
    """A part along one axis, or along the first ones."""
    x, rank = build.input(), build.graph.rank(build.input())
    if node.op == "slice_axis":
        axes, begins = [build.axis(node.integer("axis", 0), rank)], [node.integer("begin", 0)]
        ends, steps = ([node.integer("end", 0)] if node.has("end") else [1 << 40]), [1]
    else:
        begins, ends = (_with_none(node, key, value) for key, value in (("begin", 0), ("end", 1 << 40)))
        steps = _with_none(node, "step", 1) or [1] * len(begins)
        axes = list(range(len(begins)))
    if not len(begins) == len(ends) == len(steps) <= rank or any(step < 1 for step in steps):
        raise unsupported("a slice with these steps and bounds")
    bounds = [build.graph.ints("bounds", values) for values in (begins, ends, axes, steps)]
    return build.node("Slice", [x, *bounds])


@rule("slice_like")
def slice_like(build: Build, node: Node) -> str:
    """As much of x, from its front, as a second input has; along some axes, or all."""
    x, graph = build.input(), build.graph
    axes = [build.axis(axis, graph.rank(x)) for axis in node.integers("axes")] or list(range(graph.rank(x)))
    which = graph.ints("axes", axes)
    ends = graph.node("Gather", [graph.node("Shape", [build.input(1)]), which], axis=0)
    return build.node("Slice", [x, graph.ints("starts", [0] * len(axes)), ends, which])


@rule("take")
def take(build: Build, node: Node) -> str:
    """Entries along an axis, by numbers that MXNet holds as floats."""
    if node.text("mode", "clip") not in ("clip", "raise"):
        raise unsupported("numbers that begin anew behind the last")
    index = build.graph.node("Cast", [build.input(1)], to=7)
    return build.node("Gather", [build.input(), index], axis=node.integer("axis", 0))


def _with_none(node: Node, key: str, missing: int) -> list[int]:
    """Numbers of which some may be None."""
    words = [word for word in node.text(key).strip("()[] ").split(",") if word.strip()]
    try:
        return [missing if word.strip() == "None" else int(word.strip().rstrip("L")) for word in words[:32]]
    except ValueError:
        raise ImportFailed(f"its option {key} is {node.text(key)[:50]!r}, expected numbers") from None


@rule("SliceChannel", "split")
def split(build: Build, node: Node) -> list[str]:
    """Equal parts along an axis."""
    x, graph, count = build.input(), build.graph, node.integer("num_outputs", 0)
    axis = build.axis(node.integer("axis", 1), graph.rank(x))
    size = graph.shape(x)[axis]
    if not 0 < count <= MAX_WINDOW or (isinstance(size, int) and size % count):
        raise ImportFailed(f"{size} does not divide into {count} equal parts")
    parts = [x] if count == 1 else graph.nodes("Split", [x], count, build.hint("Split"), axis=axis)
    if not node.flag("squeeze_axis"):
        return parts
    return [graph.node("Squeeze", [part, graph.ints("axes", [axis])]) for part in parts]


_REDUCTIONS = {"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
               "sum_axis": "ReduceSum", "max_axis": "ReduceMax", "min_axis": "ReduceMin"}  # fmt: skip


@rule(*_REDUCTIONS)
def reduction(build: Build, node: Node) -> str:
    """Axes as one number; all axes if none is named."""
    x, graph = build.input(), build.graph
    rank = graph.rank(x)
    axes = [build.axis(axis, rank) for axis in node.integers("axis")] or list(range(rank))
    if node.flag("exclude"):
        axes = [axis for axis in range(rank) if axis not in axes]
    op, keep = _REDUCTIONS[node.op], int(node.flag("keepdims"))
    if op == "ReduceSum":
        return build.node(op, [x, graph.ints("axes", axes)], keepdims=keep)
    return build.node(op, [x], axes=axes, keepdims=keep)


@rule("argmax", "argmin")
def places(build: Build, node: Node) -> str:
    """Where the largest or least lies, as floats."""
    if not node.has("axis"):
        raise unsupported("the place in everything")
    axis, keep = node.integer("axis", 0), int(node.flag("keepdims"))
    op = "ArgMax" if node.op == "argmax" else "ArgMin"
    found = build.graph.node(op, [build.input()], axis=build.axis(axis, build.graph.rank(build.input())), keepdims=keep)
    return build.node("Cast", [found], to=1)


@rule("Cast", "cast", "amp_cast")
def cast(build: Build, node: Node) -> str:
    """Another type; halves stay whole, since the graph runs in float32."""
    kinds = {"float16": 1, "float32": 1, "float64": 1, "int32": 6, "int64": 7, "uint8": 2, "int8": 3, "bool": 9}
    kind = node.text("dtype")
    if kind not in kinds:
        raise unsupported(f"the type {kind[:20]!r}")
    return build.node("Cast", [build.input()], to=kinds[kind])


@rule("Pad", "pad")
def pad(build: Build, node: Node) -> str:
    """Numbers around: constants, the edge, or a mirror."""
    x, widths, mode = build.input(), node.integers("pad_width"), node.text("mode", "constant")
    rank = build.graph.rank(x)
    if len(widths) != 2 * rank or not all(0 <= width <= MAX_WINDOW for width in widths):
        raise ImportFailed(f"it pads {rank} axes by {widths[:20]}")
    if mode not in ("constant", "edge", "reflect"):
        raise unsupported(f"the padding {mode[:20]!r}")
    inputs = [x, build.graph.ints("pads", [*widths[::2], *widths[1::2]])]
    if mode == "constant":
        inputs.append(build.scalar(node.number("constant_value", 0)))
    return build.node("Pad", inputs, mode=mode)


@rule("tile")
def tile(build: Build, node: Node) -> str:
    """So many copies along each axis."""
    reps, rank = node.integers("reps"), build.graph.rank(build.input())
    if len(reps) > rank or not all(0 < count <= MAX_WINDOW for count in reps):
        raise unsupported(f"{reps[:20]} copies of {rank} axes")
    repeats = [1] * (rank - len(reps)) + reps
    return build.node("Tile", [build.input(), build.graph.ints("repeats", repeats)])


@rule("dot", "batch_dot")
def dot(build: Build, node: Node) -> str:
    """Matrix product of two matrices, or of each pair in two batches."""
    pair = []
    for at, key in enumerate(("transpose_a", "transpose_b")):
        tensor = build.input(at)
        rank = build.graph.rank(tensor)
        if rank != (2 if node.op == "dot" else 3):
            raise unsupported(f"a product of {rank} axes")
        order = [*range(rank - 2), rank - 1, rank - 2]
        pair.append(build.graph.transpose(tensor, order) if node.flag(key) else tensor)
    return build.node("MatMul", pair)


@rule("Crop")
def crop(build: Build, node: Node) -> str:
    """Rows and columns as many as a second input has, or as the graph says, from an offset on or in the middle."""
    x, graph = build.input(), build.graph
    like = build.tensors[1:2]
    sizes = graph.known_shape(like[0], [2, 3]) if like else tuple(node.integers("h_w"))
    old = graph.known_shape(x, [2, 3])
    offset = node.integers("offset", [0, 0])
    if node.flag("center_crop"):
        offset = [(a - b) // 2 for a, b in zip(old, sizes, strict=True)]
    ends = [a + b for a, b in zip(offset, sizes, strict=True)] if len(sizes) == len(offset) == 2 else [1 << 40]
    if any(begin < 0 or end > size for begin, end, size in zip(offset, ends, old, strict=False)):
        raise ImportFailed(f"it crops {list(sizes)} from {offset} on out of {list(old)}")
    return build.node("Slice", [x, *(graph.ints("bounds", values) for values in (offset, ends, [2, 3]))])


@rule("zeros_like", "ones_like")
def filled(build: Build, node: Node) -> str:
    """A constant of the size of the input."""
    value = build.scalar(0.0 if node.op == "zeros_like" else 1.0)
    return build.node("Expand", [value, build.graph.node("Shape", [build.input()])])


@rule("_zeros", "_ones")
def made(build: Build, node: Node) -> str:
    """A constant."""
    shape = node.integers("shape")
    if not shape or min(shape) < 1 or np.prod(shape, dtype=np.float64) > 1 << 24:
        raise unsupported(f"a constant of shape {shape[:20]}")
    return build.constant("value", np.full(shape, 0 if node.op == "_zeros" else 1, np.float32))
