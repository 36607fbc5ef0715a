"""Convolutions: 1-D to 3-D, grouped, depthwise, separable, transposed; kernels of Keras 1, and of Theano.

Keras 2 keeps kernels as (sizes..., in, out), whatever the layout of the data; Keras 1 with `th` as (out, in, sizes...).
Theano turns kernels by 180 degrees, so what was trained there is turned once more.
"""

from __future__ import annotations

from math import prod

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.keras_layers.activations import activate
from glia.importers.keras_layers.scope import Applied, Array, Rule
from glia.importers.keras_layers.windows import Window, deconvolution, pads

MAX_LOCAL = 4096
"""Numbers in a window of a locally connected layer: a square of so many is written."""


def _window(call: Applied, rank: int) -> Window:
    return Window(
        call.integers("kernel_size", rank),
        call.integers("strides", rank, 1),
        call.integers("dilation_rate", rank, 1),
    )


def kernel_of(call: Applied, window: Window, out: int, rank: int) -> Array:
    """The kernel as (sizes..., in, out), from whatever order the file keeps it in."""
    kernel = call.weight(0, None, "the kernel")
    sizes = tuple(window.kernel)
    if rank == 1 and kernel.ndim == 4:  # Keras 1
        if kernel.shape[:2] == (*sizes, 1):
            kernel = kernel[:, 0]
        elif kernel.shape[0] == out and kernel.shape[2:] == (*sizes, 1):
            kernel = kernel[:, :, :, 0].transpose(2, 1, 0)
    elif kernel.ndim == rank + 2 and not (kernel.shape[:rank] == sizes and kernel.shape[-1] == out):
        if kernel.shape[2:] == sizes and kernel.shape[0] == out:  # Keras 1 with `th`
            kernel = kernel.transpose(*range(2, rank + 2), 1, 0)
    elif kernel.ndim == rank + 2 and _is_old(call) and not call.is_last() and kernel.shape[2:] == sizes:
        kernel = kernel.transpose(*range(2, rank + 2), 1, 0)  # the shape tells nothing: the version does
    if kernel.ndim != rank + 2 or kernel.shape[:rank] != sizes or kernel.shape[-1] != out:
        raise ImportFailed(
            f"expected a kernel of {list(sizes)} with {out} outputs, received the shape {list(call.weights[0].shape)}"
        )
    if call.scope.is_theano:
        kernel = np.flip(kernel, tuple(range(rank)))
    return kernel


def _is_old(call: Applied) -> bool:
    return "nb_filter" in call.config


def _bias(call: Applied, index: int, out: int) -> list[str]:
    if not call.flag("use_bias", True):
        return []
    return [call.constant("bias", call.vector(index, out))]


def _convolution(rank: int) -> Rule:
    def rule(call: Applied) -> str:
        window, out = _window(call, rank), call.integer("filters", least=1)
        kernel = kernel_of(call, window, out, rank)
        group = call.integer("groups", 1, least=1)
        x = call.first(call.x, rank + 2)
        into = call.graph.shape(x)[1]
        if kernel.shape[rank] * group != into or out % group:
            raise ImportFailed(f"its kernel takes {kernel.shape[rank] * group} channels, it is given {into}")
        weight = call.constant("kernel", kernel.transpose(rank + 1, rank, *range(rank)))
        y = call.graph.node(
            "Conv",
            [x, weight, *_bias(call, 1, out)],
            call.hint,
            kernel_shape=window.kernel,
            strides=window.strides,
            dilations=window.dilation,
            group=group,
            **pads(call, window, call.graph.shape(x)[2:]),
        )
        return activate(call, call.given(y), call.config.get("activation"))

    return rule


def _depthwise_weight(call: Applied, window: Window, rank: int, into: object) -> tuple[str, int]:
    """The kernel (sizes..., in, multiplier) as that of a convolution in groups, and its channels."""
    kernel = call.weight(0, rank + 2, "the depthwise kernel")
    if kernel.shape[rank] != into or list(kernel.shape[:rank]) != window.kernel:
        if list(kernel.shape[2:]) != window.kernel or kernel.shape[1] != into:
            raise ImportFailed(f"its depthwise kernel has the shape {list(kernel.shape)}, it is given {into} channels")
        kernel = kernel.transpose(*range(2, rank + 2), 1, 0)  # Keras 1 with `th`: (multiplier, in, sizes...)
    channels = kernel.shape[rank] * kernel.shape[rank + 1]
    weight = kernel.transpose(rank, rank + 1, *range(rank)).reshape(channels, 1, *window.kernel)
    return call.constant("depthwise_kernel", weight), channels


def _depthwise(rank: int) -> Rule:
    def rule(call: Applied) -> str:
        window = _window(call, rank)
        x = call.first(call.x, rank + 2)
        into = call.graph.shape(x)[1]
        weight, channels = _depthwise_weight(call, window, rank, into)
        y = call.graph.node(
            "Conv",
            [x, weight, *_bias(call, 1, channels)],
            call.hint,
            kernel_shape=window.kernel,
            strides=window.strides,
            dilations=window.dilation,
            group=into,
            **pads(call, window, call.graph.shape(x)[2:]),
        )
        return activate(call, call.given(y), call.config.get("activation"))

    return rule


def _separable(rank: int) -> Rule:
    def rule(call: Applied) -> str:
        window, out = _window(call, rank), call.integer("filters", least=1)
        x = call.first(call.x, rank + 2)
        into = call.graph.shape(x)[1]
        weight, channels = _depthwise_weight(call, window, rank, into)
        pointwise = call.weight(1, rank + 2, "the pointwise kernel")
        if pointwise.shape[0] == out and pointwise.shape[1] == channels and _is_old(call):
            pointwise = pointwise.transpose(*range(2, rank + 2), 1, 0)
        if pointwise.shape != (*(1,) * rank, channels, out):
            raise ImportFailed(
                f"its pointwise kernel has the shape {list(pointwise.shape)}, expected {channels} to {out}"
            )
        spread = call.graph.node(
            "Conv",
            [x, weight],
            f"{call.name}/depthwise",
            kernel_shape=window.kernel,
            strides=window.strides,
            dilations=window.dilation,
            group=into,
            **pads(call, window, call.graph.shape(x)[2:]),
        )
        mixing = call.constant("pointwise_kernel", pointwise.transpose(rank + 1, rank, *range(rank)))
        y = call.graph.node("Conv", [spread, mixing, *_bias(call, 2, out)], call.hint)
        return activate(call, call.given(y), call.config.get("activation"))

    return rule


def _transposed(rank: int) -> Rule:
    def rule(call: Applied) -> str:
        window, out = _window(call, rank), call.integer("filters", least=1)
        kernel = call.weight(0, rank + 2, "the kernel")
        x = call.first(call.x, rank + 2)
        into = call.graph.shape(x)[1]
        if "nb_filter" in call.config and call.config.get("output_shape") is not None:
            raise unsupported("a deconvolution of Keras 1, whose output's size is set,")
        if kernel.shape != (*window.kernel, out, into):
            raise ImportFailed(f"its kernel has the shape {list(kernel.shape)}, expected {window.kernel} {out} {into}")
        if call.scope.is_theano:
            kernel = np.flip(kernel, tuple(range(rank)))
        y = call.graph.node(
            "ConvTranspose",
            [x, call.constant("kernel", kernel.transpose(rank + 1, rank, *range(rank))), *_bias(call, 1, out)],
            call.hint,
            kernel_shape=window.kernel,
            strides=window.strides,
            dilations=window.dilation,
            **deconvolution(call, window),
        )
        return activate(call, call.given(y), call.config.get("activation"))

    return rule


def _local(rank: int) -> Rule:
    """A convolution with other weights at each place: kernel (places, window * in, out), bias (places..., out)."""

    def rule(call: Applied) -> str:
        window, out = _window(call, rank), call.integer("filters", least=1)
        if not call.is_last() or call.text("padding", "valid") != "valid" or call.integer("implementation", 1) != 1:
            raise unsupported("a locally connected layer with channels first, pads, or another `implementation`,")
        x = call.first(call.x, rank + 2)
        (into,) = call.graph.known_shape(x, [1])
        size, kernel = prod(window.kernel) * into, call.weight(0, 3, "the kernel")
        if kernel.shape[1:] != (size, out) or size > MAX_LOCAL:
            raise ImportFailed(f"its kernel has the shape {list(kernel.shape)}, expected {[size, out]} at each place")
        # A convolution with a kernel of ones and zeros lays each window's numbers in its channels, in Keras' order.
        picking = np.eye(size, dtype=np.float32).reshape(size, *window.kernel, into)
        ones = call.constant("window", picking.transpose(0, rank + 1, *range(1, rank + 1)))
        laid = call.graph.node("Conv", [x, ones], strides=window.strides)
        places = call.graph.known_shape(laid, range(2, rank + 2))
        if kernel.shape[0] != prod(places):
            raise ImportFailed(f"its kernel is for {kernel.shape[0]} places, there are {prod(places)}")
        rows = call.graph.reshape(laid, [0, size, prod(places)])
        y = call.graph.node("Einsum", [rows, call.constant("kernel", kernel)], equation="npo,opf->nof")
        y = call.graph.reshape(y, [0, *places, out], call.hint)
        if call.flag("use_bias", True):
            bias = call.vector(1, prod(places) * out).reshape(1, *places, out)
            y = call.graph.node("Add", [y, call.constant("bias", bias)])
        return activate(call, y, call.config.get("activation"))

    return rule


RULES: dict[str, Rule] = {
    **{f"LocallyConnected{rank}D": _local(rank) for rank in (1, 2)},
    **{f"Conv{rank}D": _convolution(rank) for rank in (1, 2, 3)},
    **{f"Conv{rank}DTranspose": _transposed(rank) for rank in (1, 2, 3)},
    **{f"SeparableConv{rank}D": _separable(rank) for rank in (1, 2)},
    **{f"DepthwiseConv{rank}D": _depthwise(rank) for rank in (1, 2)},
}
