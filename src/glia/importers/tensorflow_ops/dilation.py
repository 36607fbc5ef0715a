"""Dilated convolutions as TensorFlow wrote them for years: space to batch, a plain convolution, batch to space.

The padding of the first and the crop of the last are, together, the padding of one dilated convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from glia.importers.tensorflow_ops.nodes import Node, Source

Integers = Callable[[Source], list[int] | None]
"""The integers of a constant tensor; None for anything else."""


def with_dilations(nodes: Mapping[str, Node], integers: Integers) -> dict[str, Node]:
    """The nodes, with one convolution in place of each three."""
    return {name: _dilated(node, nodes, integers) or node for name, node in nodes.items()}


def _dilated(node: Node, nodes: Mapping[str, Node], integers: Integers) -> Node | None:
    """The convolution that ends in this BatchToSpaceND; None for all other nodes."""
    if node.op != "BatchToSpaceND" or len(node.inputs) != 3:
        return None
    convolution = nodes.get(node.inputs[0][0])
    if convolution is None or not _is_plain(convolution):
        return None
    space = nodes.get(convolution.inputs[0][0])
    if space is None or space.op != "SpaceToBatchND" or len(space.inputs) != 3:
        return None
    block, pads = integers(space.inputs[1]), integers(space.inputs[2])
    same, crops = integers(node.inputs[1]), integers(node.inputs[2])
    if block is None or pads is None or crops is None or block != same or not len(pads) == len(crops) == 4:
        return None
    left = [pad - crop for pad, crop in zip(pads, crops, strict=True)]
    if len(block) != 2 or min(left) < 0 or min(block) < 1:
        return None
    attributes = {
        **convolution.attributes,
        "dilations": [1, *block, 1],
        "padding": "EXPLICIT",
        "explicit_paddings": [0, 0, *left, 0, 0],
    }
    inputs = (space.inputs[0], convolution.inputs[1])
    return replace(convolution, name=node.name, inputs=inputs, attributes=attributes)


def _is_plain(node: Node) -> bool:
    """Whether it is a convolution of stride 1 that pads nothing, channels last."""
    ways = node.attributes
    ones = all(set(ways.get(key) or [1]) == {1} for key in ("strides", "dilations"))
    plain = node.op in ("Conv2D", "DepthwiseConv2dNative") and len(node.inputs) == 2 and ways.get("padding") == "VALID"
    return plain and ones and ways.get("data_format", "NHWC") == "NHWC"
