"""What slides over pictures, and what multiplies by a matrix: convolutions, pools, fully connected layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.tflite_ops.model import Operator
from glia.importers.tflite_ops.network import Network

Rule = Callable[[Network, Operator], None]
SAME, VALID = 0, 1


def _steps(op: Operator, kinds: str = "hw", what: str = "stride") -> list[int]:
    """Strides or dilations along the spatial axes."""
    steps = [int(op.options[f"{what}_{axis}"]) for axis in kinds]
    if min(steps) < 1 or max(steps) > 1 << 16:
        raise ImportFailed(f"its {what}s are {steps}, expected numbers above 0. The file is damaged.")
    return steps


def same_pads(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Pads before and after an axis so that the output has ceil(size / stride): the odd one comes after."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def window(
    net: Network, op: Operator, handle: str, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> dict[str, Any]:
    """The attributes of ONNX for a window that slides over the spatial axes."""
    found: dict[str, Any] = {"kernel_shape": list(kernel), "strides": list(strides)}
    if max(dilations) > 1:
        found["dilations"] = list(dilations)
    if op.options["padding"] == VALID:
        return found
    if op.options["padding"] != SAME:
        raise unsupported(f"Padding {op.options['padding']}")
    sizes = net.layout.shape(handle)[1:-1]
    if len(sizes) != len(kernel):
        raise ImportFailed(f"its input has {len(sizes)} spatial axes, expected {len(kernel)}.")
    if not all(isinstance(size, int) for size in sizes):
        return found | {"auto_pad": "SAME_UPPER"}
    pairs = [same_pads(int(size or 0), *rest) for size, *rest in zip(sizes, kernel, strides, dilations, strict=True)]
    pads = [before for before, _ in pairs] + [after for _, after in pairs]
    return found | ({"pads": pads} if any(pads) else {})


def _channels(net: Network, handle: str) -> int:
    return net.layout.known_shape(handle, [len(net.layout.shape(handle)) - 1])[0]


def _convolve(net: Network, op: Operator, weights: str, kernel: Sequence[int], group: int, axes: str = "hw") -> None:
    handle = net.handle(op)
    attributes = window(net, op, handle, kernel, _steps(op, axes), _steps(op, axes, "dilation"))
    inputs = [net.layout.first(handle), weights]
    if (bias := net.bias(op, 2)) is not None:
        inputs.append(bias)
    made = net.node("Conv", inputs, group=group, **attributes)
    net.give(op, net.layout.promise(made), activation=op.options["activation"])


def conv_2d(net: Network, op: Operator) -> None:
    """Weights (out, h, w, in); fewer channels in them than in the input: groups."""
    shape = net.shape(op, 1)
    if len(shape) != 4:
        raise ImportFailed(f"its weights have the shape {list(shape)}, expected (out, height, width, in).")
    channels = _channels(net, net.handle(op))
    if not shape[3] or channels % shape[3]:
        raise ImportFailed(f"its weights take {shape[3]} channels, its input has {channels}.")
    _convolve(net, op, net.weights(op, 1, [0, 3, 1, 2]), shape[1:3], channels // shape[3])


def depthwise(net: Network, op: Operator) -> None:
    """Weights (1, h, w, channels times multiplier): each channel has filters of its own."""
    shape = net.shape(op, 1)
    if len(shape) != 4 or shape[0] != 1:
        raise ImportFailed(f"its weights have the shape {list(shape)}, expected (1, height, width, channels).")
    _convolve(net, op, net.weights(op, 1, [3, 0, 1, 2]), shape[1:3], _channels(net, net.handle(op)))


def conv_3d(net: Network, op: Operator) -> None:
    """Weights (depth, height, width, in, out)."""
    shape = net.shape(op, 1)
    if len(shape) != 5:
        raise ImportFailed(f"its weights have the shape {list(shape)}, expected (depth, height, width, in, out).")
    _convolve(net, op, net.weights(op, 1, [4, 3, 0, 1, 2]), shape[:3], 1, "dhw")


def transpose_conv(net: Network, op: Operator) -> None:
    """Inputs: the output's shape, weights (out, h, w, in), the data, perhaps a bias."""
    shape, handle = net.shape(op, 1), net.handle(op, 2)
    if len(shape) != 4:
        raise ImportFailed(f"its weights have the shape {list(shape)}, expected (out, height, width, in).")
    kernel, strides, padding = shape[1:3], _steps(op), op.options["padding"]
    sizes = net.layout.known_shape(handle, [1, 2])
    wanted = net.sizes(op, 0)
    goal = [size for size in wanted[1:3] if isinstance(size, int)]
    if len(wanted) != 4 or len(goal) != 2:
        raise ImportFailed(f"its output's shape is {list(wanted)}, expected 4 numbers.")
    begins, ends, more = [], [], []
    for size, out, width, stride in zip(sizes, goal, kernel, strides, strict=True):
        whole = (size - 1) * stride + width
        total = max((-(-out // stride) - 1) * stride + width - out, 0) if padding == SAME else 0
        begins.append(total // 2)
        # What is missing at the end is filled: with the bias alone, as no filter reaches there.
        ends.append(max(whole - begins[-1] - out, 0))
        more.append(max(out - (whole - begins[-1] - ends[-1]), 0))
        if more[-1] >= max(stride, 2):
            raise ImportFailed(f"its output's shape is {list(wanted)}, which an input of {list(sizes)} does not give.")
    inputs = [net.layout.first(handle), net.weights(op, 1, [3, 0, 1, 2])]
    if (bias := net.bias(op, 3, 2)) is not None:
        inputs.append(bias)
    made = net.node(
        "ConvTranspose", inputs, kernel_shape=list(kernel), strides=strides, pads=begins + ends, output_padding=more
    )
    net.give(op, net.layout.promise(made), activation=op.options["activation"])


def _pool(kind: str) -> Rule:
    def rule(net: Network, op: Operator) -> None:
        handle, kernel = net.handle(op), _steps(op, what="filter")
        attributes = window(net, op, handle, kernel, _steps(op), [1, 1])
        data = net.layout.first(handle)
        if kind == "MaxPool":
            made = net.node("MaxPool", [data], **attributes)
        elif kind == "AveragePool":
            made = net.node("AveragePool", [data], **attributes)
        else:
            made = net.node("Sqrt", [net.node("AveragePool", [net.node("Mul", [data, data])], **attributes)])
        net.give(op, net.layout.promise(made), activation=op.options["activation"])

    return rule


def fully_connected(net: Network, op: Operator) -> None:
    """Weights (out, in); the input's axes, but the first ones that make up the batch, are flattened."""
    if op.options["format"]:
        raise unsupported("Weights that are shuffled for one processor")
    shape = net.shape(op, 1)
    if len(shape) != 2 or not shape[1]:
        raise ImportFailed(f"its weights have the shape {list(shape)}, expected (out, in).")
    net.keep_apart(op, 1)
    bias, activation = net.bias(op, 2), op.options["activation"]
    sizes = net.layout.shape(net.handle(op))
    if op.options["keep_rank"] and len(sizes) > 2:
        made = net.node("MatMul", [net.last(op), net.weights(op, 1, [1, 0])])
        net.give(op, net.node("Add", [made, bias]) if bias is not None else made, activation=activation)
        return
    data = net.last(op)
    inner = [size for size in sizes[1:] if isinstance(size, int)]
    if len(sizes) != 2:
        whole = len(inner) == len(sizes) - 1 and prod(inner) == shape[1]
        data = net.node("Flatten", [data], axis=1) if whole else net.graph.reshape(data, [-1, shape[1]], net.hint)
    inputs = [data, net.weights(op, 1, [0, 1])]
    net.give(op, net.node("Gemm", inputs if bias is None else [*inputs, bias], transB=1), activation=activation)


def batch_matmul(net: Network, op: Operator) -> None:
    """Matrices in the last two axes, either of them transposed first."""
    operands = []
    for position, flipped in enumerate((op.options["adjoint_x"], op.options["adjoint_y"])):
        tensor, rank = net.last(op, position), net.rank(op, position)
        if rank < 2:
            raise ImportFailed(f"its input {position} has {rank} axes, expected 2 or more.")
        if position == 1 and rank == 2:
            net.keep_apart(op, position)
        perm = [*range(rank - 2), rank - 1, rank - 2] if flipped else list(range(rank))
        operands.append(net.graph.transpose(tensor, perm, net.hint))
    net.give(op, net.node("MatMul", operands))


RULES: dict[str, Rule] = {
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "BATCH_MATMUL": batch_matmul,
    "CONV_2D": conv_2d,
    "CONV_3D": conv_3d,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": fully_connected,
    "L2_POOL_2D": _pool("L2"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "TRANSPOSE_CONV": transpose_conv,
}
