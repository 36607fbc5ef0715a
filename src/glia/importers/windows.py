"""Windows that slide over pictures, as Caffe and its descendants count them: pooling whose sizes are rounded up.

ONNX rounds up as well (`ceil_mode`), but drops other windows and divides means by other counts. So each window is
written with the padding that makes rounding down give the size wanted, which also holds where sizes are open:
ceil(x / s) = floor((x + s - 1) / s).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.graph import GraphWriter
from glia.importers.sizes import Dim

MAX_WINDOW = 1 << 16
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Window:
    """A window over the axes behind the second: its size, its steps, and the same padding on both sides."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...] = ()

    def check(self) -> None:
        """Raise ImportFailed for sizes that cannot be."""
        rank = len(self.kernel)
        right = all(0 < size <= MAX_WINDOW for size in (*self.kernel, *self.stride, *self.dilation))
        right = right and all(0 <= size <= MAX_WINDOW for size in self.pad)
        if not right or not len(self.stride) == len(self.pad) == rank:
            raise ImportFailed(
                f"a window of {list(self.kernel)} with steps {list(self.stride)} and padding {list(self.pad)} cannot be"
            )


def reach(size: Dim, kernel: int, stride: int, pad: int, *, up: bool, clip: bool) -> int:
    """Padding at the end of an axis, at least `pad`, with which rounding down gives the number of windows wanted.

    `up`: the number is rounded up; `clip`: a last window that would begin in the padding is dropped. Raises
    ImportFailed where the size is open and decides.
    """
    if not isinstance(size, int):
        if up and clip and pad and stride > kernel - pad:
            raise ImportFailed("the number of its windows depends on the size of the input. Give the option input_size")
        return pad + stride - 1 if up else pad
    room = size + 2 * pad - kernel
    if room < 0:
        raise ImportFailed(f"a window of {kernel} is larger than its input of {size} with padding {pad}")
    count = (-(-room // stride) if up else room // stride) + 1
    if up and clip and pad and (count - 1) * stride >= size + pad:
        count -= 1
    return max(pad, (count - 1) * stride + kernel - size - pad)


def reaches(graph: GraphWriter, tensor: str, window: Window, *, up: bool, clip: bool) -> list[int]:
    """Padding at the end of each axis behind the second, as `reach` has it. Raises ImportFailed."""
    window.check()
    sizes = graph.shape(tensor)[2:]
    if len(sizes) != len(window.kernel):
        raise ImportFailed(f"a window of {len(window.kernel)} axes does not fit its input of {len(sizes) + 2} axes")
    axes = zip(sizes, window.kernel, window.stride, window.pad, strict=True)
    return [reach(size, kernel, stride, pad, up=up, clip=clip) for size, kernel, stride, pad in axes]


def pool(
    graph: GraphWriter, op: str, tensor: str, window: Window, *, up: bool, clip: bool, counts_pad: bool, hint: str = ""
) -> str:
    """`MaxPool` or `AveragePool`. A mean counts the padding if `counts_pad`, but never what rounding up added to it."""
    ends = reaches(graph, tensor, window, up=up, clip=clip)
    begins = list(window.pad)
    more = {"kernel_shape": list(window.kernel), "strides": list(window.stride)}
    inner = all(pad < kernel for pad, kernel in zip((*begins, *ends), window.kernel * 2, strict=True))
    if op == "MaxPool":
        if not inner:
            tensor, begins, ends = pad_axes(graph, tensor, begins, ends, LOWEST), [0] * len(begins), [0] * len(ends)
        return graph.node(op, [tensor], hint, pads=[*begins, *ends], **more)
    over = [end - pad for end, pad in zip(ends, begins, strict=True)]
    if any(extra >= kernel for extra, kernel in zip(over, window.kernel, strict=True)):
        raise ImportFailed("windows that lie wholly outside their input have no mean")
    if not counts_pad:
        if not inner:
            raise ImportFailed("windows that lie wholly in the padding have no mean")
        return graph.node(op, [tensor], hint, pads=[*begins, *ends], count_include_pad=0, **more)
    if any(begins) and (any(over) or not inner):
        tensor, begins, ends = pad_axes(graph, tensor, begins, begins, 0.0), [0] * len(begins), over
    return graph.node(op, [tensor], hint, pads=[*begins, *ends], count_include_pad=int(not any(over)), **more)


def pad_axes(graph: GraphWriter, tensor: str, begins: Sequence[int], ends: Sequence[int], value: float) -> str:
    """Constants around the axes behind the second; negative numbers cut off."""
    if not any((*begins, *ends)):
        return tensor
    pads = graph.ints("pads", [0, 0, *begins, 0, 0, *ends])
    return graph.node("Pad", [tensor, pads, graph.scalar("value", value)], mode="constant")


def resize(graph: GraphWriter, tensor: str, sizes: Sequence[int], hint: str = "", **how: str) -> str:
    """The axes behind the second at other sizes; theirs must be known. `how`: attributes of ONNX's Resize."""
    old = graph.known_shape(tensor, range(2, 2 + len(sizes)))
    if min(*old, *sizes) < 1 or max(sizes) > MAX_WINDOW:
        raise ImportFailed(f"a picture of {list(old)} cannot become one of {list(sizes)}")
    return scale(graph, tensor, [_ratio(a, b) for a, b in zip(old, sizes, strict=True)], hint, **how)


def scale(graph: GraphWriter, tensor: str, factors: Sequence[int | float], hint: str = "", **how: str) -> str:
    """The axes behind the second, so many times larger."""
    scales = graph.constant("scales", np.array([1, 1, *factors], np.float32))
    return graph.node("Resize", [tensor, "", scales], hint, **how)


def _ratio(old: int, new: int) -> float:
    """new / old as float32, rounded so that floor(old * ratio) is `new`: that is how ONNX counts."""
    ratio = np.float32(new / old)
    while int(np.floor(np.float32(old) * ratio)) < new:
        ratio = np.nextafter(ratio, np.float32(np.inf))
    return float(ratio)
