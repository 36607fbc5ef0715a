"""How windows slide: the pads of `valid`, `same` and `causal`, in TensorFlow's way and in Theano's.

TensorFlow pads as much as makes the output ceil(size / stride), the odd pixel at the end. Theano pads a fixed number at
the beginning and cuts the output to the same size. With a stride of 1 pads do not depend on the size; beyond, the size
must be known, or be left to ONNX's SAME_UPPER.

Source: keras/backend/theano_backend.py (_preprocess_padding, pool2d) and tensorflow_backend.py of Keras 2.0.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glia.importers.faults import unsupported
from glia.importers.keras_layers.scope import Applied
from glia.importers.sizes import Dims


@dataclass(frozen=True)
class Window:
    """Sizes of a window, axis by axis."""

    kernel: list[int]
    strides: list[int]
    dilation: list[int]

    @property
    def reach(self) -> list[int]:
        """The window with its holes."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]


def pads(call: Applied, window: Window, sizes: Dims, pooling: bool = False) -> dict[str, Any]:
    """The attribute of an ONNX operator that pads as the setting `padding` says; `sizes` without batch and channels."""
    mode = call.text("padding", "valid")
    if mode == "valid":
        return {}
    if mode == "causal" and not pooling and len(window.kernel) == 1:
        return {"pads": [window.reach[0] - 1, 0]}
    if mode not in {"same", "half"}:
        raise unsupported(f"the padding {mode[:50]!r}")
    found = [_same(call, one, pooling) for one in zip(window.reach, window.strides, sizes, strict=True)]
    if any(pair is None for pair in found):
        if call.scope.is_theano:
            raise unsupported("Theano's padding `same` with a stride, for an input of open size: give `input_size`;")
        return {"auto_pad": "SAME_UPPER"}
    known = [pair for pair in found if pair is not None]
    return {"pads": [pair[0] for pair in known] + [pair[1] for pair in known]}


def _same(call: Applied, axis: tuple[int, int, Any], pooling: bool) -> tuple[int, int] | None:
    """Pads before and after along one axis; None where they depend on an open size."""
    reach, stride, size = axis
    if stride == 1:
        total = reach - 1
    elif isinstance(size, int):
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    else:
        return None
    if not call.scope.is_theano:
        return total // 2, total - total // 2
    before = reach // 2
    if pooling:
        before = reach - 2 if reach > 2 and reach % 2 else reach - 1
    return before, max(total - before, 0)


def deconvolution(call: Applied, window: Window) -> dict[str, Any]:
    """Pads and more of a transposed convolution, such that its output has Keras' size.

    What the full output has too much is cut, as the forward convolution would have padded it: half of it before.
    """
    mode, rank = call.text("padding", "valid"), len(window.kernel)
    if mode not in {"valid", "same"}:
        raise unsupported(f"the padding {mode[:50]!r}")
    extra: Sequence[int] | None = None
    if call.config.get("output_padding") is not None:
        extra = call.integers("output_padding", rank, least=0)
    begins, ends, more = [], [], []
    for axis, (reach, stride) in enumerate(zip(window.reach, window.strides, strict=True)):
        if extra is not None:
            surplus = (2 * (reach // 2) if mode == "same" else 0) - extra[axis]
        else:
            surplus = reach - stride if mode == "same" else min(reach - stride, 0)
        begin = max(surplus, 0) // 2 if mode == "same" else 0
        begins.append(begin)
        ends.append(max(surplus - begin, 0))
        more.append(max(begin - surplus, 0))
    return {"pads": begins + ends, "output_padding": more}
